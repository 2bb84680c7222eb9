/*
 * store_repair.h - a queue that is damaged: how that is found out, and what is done about it.
 *
 * At each start the store looks at the log's checksums, the header, the schema, and the first and
 * last rows of tables and indexes: repair_look(), which costs no more on a large queue. All of it
 * is read by store_check(), when someone asks for it, and at the start after SQLite found damage
 * while dld was running: repair_note() leaves a file beside the queue that says so. A damaged queue
 * is not started with, and nothing is written to it: whether to restore a backup or to go on with
 * what can be read is for a person to say.
 *
 * store_recover() reads the rows of all pages that make sense, makes a new queue of them, and keeps
 * the damaged one aside. Every job that it finds keeps its id, state and results; what is derived
 * from jobs (counters, lanes, numbers of batches) is counted anew. The new queue is marked as a
 * backup is, so that no id is given again.
 */
#ifndef DLD_STORE_REPAIR_H
#define DLD_STORE_REPAIR_H

#include <sqlite3.h>

#include "daemon/job.h"

/* Checks all of state_dir/queue.db, which nobody has open: every page, and that all numbers are
 * those of the rows. 0: it is sound; -EUCLEAN: it is damaged, or another negative errno, with a new
 * string for the log in *ret_why (NULL: out of memory). */
int store_check(const char *state_dir, char **ret_why);

struct store_recovered {
    uint64_t counts[JOB_STATE_MAX_]; /* of jobs, by state */
    uint64_t jobs;                   /* their sum */
    uint64_t lost;                   /* jobs that were there by the old counters and are not now */
    bool lost_known;                 /* the old counters could be read */
    uint64_t batches, pieced;        /* batches, and those of which only jobs were found */
    uint64_t unreadable;             /* pages and rows that made no sense */
    char kept[512];                  /* the path of the damaged file */
};

/* Makes a new queue of what can be read of state_dir/queue.db, which nobody has open. On failure
 * the queue is as it was, with a new string for the log in *ret_why (NULL: out of memory). */
int store_recover(const char *state_dir, struct store_recovered *ret, char **ret_why);

/* ---- private to the store ---- */

/* Before the file at path is opened by SQLite: is it there (1), not yet (0), or damaged (-EUCLEAN)?
 * -EUCLEAN and other errors come with a sentence in *ret_why. */
int repair_look(const char *path, char **ret_why);

/* The cheap part that needs the rows. 0, -EUCLEAN, or another negative errno where they can't be
 * read. */
int repair_look_rows(sqlite3 *sqlite, char **ret_why);

/* SQLite has found damage in the file that is open: the next start checks all of it. */
void repair_note(sqlite3 *sqlite);

/* What to say of a damaged file: what was found, and what to do. */
char *repair_advice(const char *path, const char *found);

#endif
