/*
 * store_lane.h - lanes as rows: found, made, and their numbers kept.
 *
 * Private to the store. All functions return 0 or a negative errno unless they say otherwise.
 *
 * What jobs do to their lanes in a transaction is gathered in memory and written once, before the
 * commit or when someone reads lanes. From the same entries come the notices of lanes that are
 * ready: at most one for each lane and transaction. A transaction should end when it has met
 * LANES_MET_MAX lanes, so that what is gathered stays small.
 */
#ifndef DLD_STORE_LANE_H
#define DLD_STORE_LANE_H

#include "daemon/store_sqlite.h"

#define LANES_MET_MAX 20000

#define LANE_COLUMNS "id, uid, host, turn, queued, waiting, paused, due, failures"

/* The numbers of a row, in order of its columns. */
enum lane_number {
    LANE_QUEUED,
    LANE_WAITING,
    LANE_PAUSED,
    LANE_STAGED, /* nobody sees these, but while there are any the row stays */
    LANE_NUMBER_MAX_
};

/* In which of a lane's numbers a job in that state is; -1: it has ended and is in none. */
int lane_number(enum job_state state);

/* By this the rows of a host are found; other hosts may have the same. */
int32_t lane_hash(const struct db *db, const char *host);

/* The lane of a user for a host, made if there is none, with turn as its turn, gets so many more
 * jobs. It is told of, if some are queued, with the ranks of the first and the last of these. */
int lane_add(struct db *db, uid_t uid, int32_t hash, const char *host, int64_t turn,
             const uint64_t added[LANE_NUMBER_MAX_], int64_t first_rank, int64_t last_rank,
             int64_t *ret_lane);

/* A job of this lane goes from a state to another: what is QUEUED then is told of. */
int lane_note_move(struct db *db, int64_t lane, enum job_state from, enum job_state to,
                   int64_t rank);
/* It stands in its line no further back than a new lane of that rank. */
int lane_hurry(struct db *db, int64_t lane, int64_t rank);
/* The lane is told of, with these ranks at least. */
int lane_note_ready(struct db *db, int64_t lane, int64_t first_rank, int64_t last_rank);
/* The row was changed otherwise. */
void lane_note_changed(struct db *db, int64_t lane);

/* Writes what was noted, so that reading the table shows it; deletes lanes without jobs. */
int lanes_write(struct db *db);
/* All of it, and makes db->ready of who is to be told of: lanes that stand in their line. */
int lanes_finish(struct db *db);
/* How many lanes the transaction has met. */
size_t lanes_met(const struct db *db);
/* Forgets what was noted: the transaction has ended. */
void lanes_drop(struct db *db);

/* Lanes that wait for longer than any host is left alone wait no more: the clock was wrong when they
 * were put off. 0 or a negative errno. */
int lanes_hasten(struct db *db);

/* Reads a row of LANE_COLUMNS; host is the caller's to free. 0 or -ENOMEM. */
int lane_read(sqlite3_stmt *st, struct store_lane *ret);
/* The lane of this number: 1, or 0: there is none. */
int lane_by_id(struct db *db, int64_t id, struct store_lane *ret);

#endif
