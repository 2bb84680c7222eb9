/*
 * store_batch.h - batches as rows: found, written, their numbers kept, and which ids their jobs
 * have.
 *
 * Private to the store. All functions return 0 or a negative errno unless they say otherwise.
 */
#ifndef DLD_STORE_BATCH_H
#define DLD_STORE_BATCH_H

#include "daemon/store_schema.h"
#include "daemon/store_sqlite.h"

#define BATCH_COLUMNS                                                                              \
    "id, uid, phase, created, touched, finished, count, done, failed, cancelled, bytes, first_id," \
    " last_id, cursor"

/* A row of the table batches. Its jobs have ascending ids in order of their index; where chunks of
 * other batches came in between there are gaps, and the table batch_runs says where. */
struct batch {
    struct store_batch seen; /* what is shown of it */
    uid_t uid;
    enum batch_phase phase;
    uint64_t touched; /* usec since the epoch: its last chunk, or the last step of the thread */
    int64_t first_id, last_id; /* of its jobs; 0, 0: it has none */
    int64_t cursor;            /* the thread has been at the ids up to this one */
};

/* 1: found, 0: there is none. What was noted in this transaction is in it. */
int batch_by_id(struct db *db, int64_t id, struct batch *ret);
int batch_by_key(struct db *db, uid_t uid, const char *submit_key, struct batch *ret);
/* The one in a phase (not VISIBLE) that was touched longest ago. */
int batch_first(struct db *db, enum batch_phase phase, struct batch *ret);

/* Who submitted it. -EUCLEAN: there is none. */
int batch_uid(struct db *db, int64_t id, uid_t *ret);

/* Writes the row, new or not, without the numbers of ended jobs: those are only ever added to.
 * submit_key may be NULL, and is looked at only when the row is new. */
int batch_put(struct db *db, const struct batch *b, const char *submit_key);
/* Writes phase, cursor and touched alone. One that is EXPIRED gives its submit_key free. */
int batch_put_phase(struct db *db, const struct batch *b);
/* Deletes the row, when its jobs are gone. */
int batch_delete(struct db *db, int64_t id);

/* Its jobs first..last are about to be added; counts them and keeps the runs. */
int batch_extend(struct db *db, struct batch *b, int64_t first, int64_t last);

/* The next ids of the batch's jobs above `after`, without a gap: 1, or 0: there are none. */
int batch_run_next(struct db *db, const struct batch *b, int64_t after, int64_t *ret_first,
                   int64_t *ret_last);

/* A job of the batch goes from a state to another, at least one of them ended. 0 or -ENOMEM. */
int batch_note_end(struct db *db, int64_t batch, enum job_state from, enum job_state to,
                   uint64_t bytes);

/* The row of one of its jobs that have ended is deleted. 0 or -ENOMEM. */
int batch_note_purged(struct db *db, int64_t batch);

/* Writes what was noted; forgets it. */
int batch_deltas_write(struct db *db);
void batch_deltas_drop(struct db *db);

#endif
