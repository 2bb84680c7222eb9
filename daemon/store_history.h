/*
 * store_history.h - jobs that have ended: how many and which are kept, and room given back.
 *
 * Private to the store. All functions return 0 or a negative errno unless they say otherwise.
 */
#ifndef DLD_STORE_HISTORY_H
#define DLD_STORE_HISTORY_H

#include "daemon/store_sqlite.h"

/* Deletes the row of a job that has ended, and its attempts. One that has a part file waits, as if
 * it ended now, until that is gone: history_delete_forgotten() deletes it then. */
int history_delete(struct db *db, int64_t id, int64_t batch, enum job_state state);
int history_delete_forgotten(struct db *db, int64_t id);

/* Deletes up to db->step_rows jobs of those that are not kept, the oldest first, and batches that
 * are as old and have no jobs any more. *next becomes the time of the next step when that is
 * earlier (0: at once). */
int history_step(struct db *db, uint64_t now, uint64_t *next);

/* When a job that ends now makes a step worth it. */
uint64_t history_next(const struct db *db, uint64_t now);

/* Where much of the file is free, gives some of it back, until `end` (monotonic usec). */
int vacuum_step(struct db *db, uint64_t end, uint64_t *next);

#endif
