/*
 * store_schema.h - the tables of queue.db, their version, and how to get from one version to the
 * next.
 *
 * Private to the store.
 */
#ifndef DLD_STORE_SCHEMA_H
#define DLD_STORE_SCHEMA_H

#include <sqlite3.h>

#include "daemon/job.h"

/* "DLDQ", in the file's header: `file queue.db` shows it. */
#define SCHEMA_APPLICATION_ID 0x444c4451

/* Checks that the file at path is a queue (or empty), and brings it up to date, one version at a
 * time, each in a transaction of its own. 0, or a negative errno with a sentence for the log in
 * *ret_why (NULL: out of memory); -ENOTSUP: it was written by a newer dld. The file is not changed
 * unless it is a queue or empty. */
int schema_prepare(sqlite3 *sqlite, const char *path, char **ret_why);

/* The same with recipes of one's own: recipes[v] makes version v + 1 out of version v, n is the
 * newest. */
int schema_migrate(sqlite3 *sqlite, const char *path, const char *const *recipes, size_t n,
                   char **ret_why);

/* Where a batch stands; in batches.phase. Append, never renumber. */
enum batch_phase {
    BATCH_OPEN = 0,      /* more chunks to come */
    BATCH_RELEASING = 1, /* complete; its jobs are made QUEUED in steps, up to its cursor so far */
    BATCH_VISIBLE = 2,   /* complete, and none of its jobs is STAGED */
    BATCH_EXPIRED = 3,   /* never completed; being deleted in steps, from its cursor on */
};

#endif
