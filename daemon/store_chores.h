/*
 * store_chores.h - what the store's thread does without being asked, in small steps: jobs whose
 * time has come are queued, lanes whose time has come stand in their line again, jobs of batches
 * that are complete are released, batches that nobody completes are deleted, and so is history that
 * isn't kept; pages that this leaves free go back to the file system.
 *
 * Private to the store. When there is something to do is in db->chores_at.
 */
#ifndef DLD_STORE_CHORES_H
#define DLD_STORE_CHORES_H

#include "daemon/store_request.h"
#include "daemon/store_sqlite.h"

/* One step of each, in a transaction; run() sets db->chores_at. */
extern const struct request_kind chores_kind;

/* A batch is open since then, and may have to be deleted some day. */
void chores_note_open(struct db *db, uint64_t touched);

/* A job has ended: history is longer by one. */
void chores_note_ended(struct db *db);

/* Rows were deleted. */
void chores_note_free(struct db *db);

/* A job or a lane waits for this time. */
void chores_note_due(struct db *db, uint64_t due);

#endif
