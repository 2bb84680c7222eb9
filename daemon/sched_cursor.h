/*
 * sched_cursor.h - how far a line of the store (jobs by rank, lanes by turn) has been read into the
 * window, and what must be read again. Pure.
 *
 * Everything up to (at, at_id) has been read; `more` lies behind it. What becomes ready before that
 * place is read again alone, from the first to the last of what did, without going back for all.
 */
#ifndef DLD_SCHED_CURSOR_H
#define DLD_SCHED_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

struct sched_cursor {
    int64_t at, at_id;
    bool more;

    bool again; /* something behind (low, low_id) up to (high, high_id) is ready, none of it behind at */
    int64_t low, low_id, high, high_id;

    enum { CURSOR_IDLE, CURSOR_READS_ON, CURSOR_READS_AGAIN } reads;
    bool seen; /* these, both included, became ready during the reading: it may have missed them */
    int64_t seen_low, seen_low_id, seen_high, seen_high_id;
};

#define CURSOR_ANY_ID INT64_MIN

/* At the very beginning; nobody knows what the store has. */
void sched_cursor_init(struct sched_cursor *c);

/* Something became ready between these places, both included: that id, or any of the key. */
void sched_cursor_ready(struct sched_cursor *c, int64_t first, int64_t first_id, int64_t last,
                        int64_t last_id);

/* Did something become ready here, since the reading began of which the answer is just taken? */
bool sched_cursor_missed(const struct sched_cursor *c, int64_t key, int64_t id);

/* What was read at (key, id) has left the window, and is still there in the store. */
void sched_cursor_back(struct sched_cursor *c, int64_t key, int64_t id);

/* There may be something to read. */
bool sched_cursor_pending(const struct sched_cursor *c);

/* Begins to read behind (*ret_after, *ret_id): again where there is something, else on. */
void sched_cursor_begin(struct sched_cursor *c, int64_t *ret_after, int64_t *ret_id);

/* What was asked for is there, up to (last, last_id); more: the store has others behind that. */
void sched_cursor_answered(struct sched_cursor *c, bool more, int64_t last, int64_t last_id);

/* There is no room for all that is ready again: goes back to there, to read on when there is. */
void sched_cursor_give_up(struct sched_cursor *c);

#endif
