/*
 * desk.h - the jobs in this worker's hands, from the master's message to the report.
 *
 *     JOB -> waiting (queue) -> running (a slot's transfer) -> publishing (publisher) -> RESULT
 *
 * What came over a connection that had been used before waits, without a slot, until the answer is
 * known to be its own (line.h); if it is not, the job runs again.
 *
 * The desk is the only part that knows the others: it gives out slots, passes complete files on,
 * and answers for every job exactly once. A slot is free again when the body is complete and the
 * publisher has room for it; FETCHED tells the master so, unless the RESULT follows in the same
 * turn.
 */
#ifndef DLD_WORKER_DESK_H
#define DLD_WORKER_DESK_H

#include <systemd/sd-event.h>

#include "common/ratelimit.h"
#include "common/scoreboard.h"
#include "common/wire.h"
#include "daemon/worker/link.h"

/* Jobs in hand at most: many times what any master has reason to send. */
#define DESK_TASKS_MAX 65536

struct desk;

/* root_fd stays the caller's; config is copied; link, board and rates outlive the desk. 0 or a
 * negative errno. */
int desk_new(struct desk **ret, sd_event *event, struct link *link, struct scoreboard *board,
             const struct ratelimit *rates, int root_fd, const struct wire_config *config);

/* Gives up what is left, without a word to the master. Takes NULL, returns NULL. */
struct desk *desk_free(struct desk *d);

/* For struct link_handlers. -EBADMSG: the job is here already, or they are too many, or
 * its bucket is none. */
int desk_job(struct desk *d, const struct wire_job *job);
int desk_cancel(struct desk *d, int64_t id);
/* Of a job that is not here. */
int desk_discard(struct desk *d, const struct wire_discard *message);

int desk_widened(struct desk *d, const struct wire_widened *widened);
int desk_rate(struct desk *d, const struct wire_rate *rate);

/* Gives the job back, with what there is of its file. */
int desk_release(struct desk *d, int64_t id);

/* Takes no more jobs, gives back those that wait for a slot, goes on with the others, and ends the
 * loop with WORKER_OK after the last. */
int desk_drain(struct desk *d);

/* Gives up every job but those that are being published or wait for it, waits for these, and ends
 * the loop with WORKER_OK. */
int desk_stop(struct desk *d);

#endif
