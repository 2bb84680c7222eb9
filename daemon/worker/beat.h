/*
 * beat.h - shows the master, in the scoreboard, that this worker's loop turns, and which job it is
 * at.
 *
 * The heartbeat moves with every turn in which curl is called, and by a timer for as long as there
 * are jobs, so that a worker whose servers are all silent is told from one that hangs. Without jobs
 * nothing wakes up.
 */
#ifndef DLD_WORKER_BEAT_H
#define DLD_WORKER_BEAT_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/scoreboard.h"
#include "common/util.h"

struct beat;

/* busy: are there jobs? board outlives it. 0 or a negative errno. */
int beat_new(struct beat **ret, sd_event *event, struct scoreboard *board,
             bool (*busy)(void *userdata), void *userdata);
struct beat *beat_free(struct beat *b); /* takes NULL, returns NULL */

/* There is a job: it beats until there is none. */
void beat_on(struct beat *b);

/* What comes now is for this job: if the loop turns no more, it is the one to blame. */
static inline void beat_at(struct scoreboard *board, int64_t job) {
    atomic_store_explicit(&board->at, job, memory_order_relaxed);
}

/* The turn is over. */
static inline void beat_turned(struct scoreboard *board) {
    beat_at(board, 0);
    atomic_store_explicit(&board->heartbeat, now_usec(CLOCK_MONOTONIC), memory_order_relaxed);
}

#endif
