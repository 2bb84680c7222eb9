/*
 * waiter.h - prints each job as it ends, once, and then the sum.
 *
 * It subscribes to the jobs' ends first and lists those that had ended before, so that none is
 * missed; a set of what was printed makes sure that none comes twice, also over broken connections.
 */
#ifndef DLD_CLIENT_WAITER_H
#define DLD_CLIENT_WAITER_H

#include <jansson.h>

#include "client/dlctl.h"
#include "client/idset.h"
#include "client/options.h"
#include "client/progress.h"
#include "client/rpc.h"

struct waiter {
    const struct dlctl *c;
    struct rpc *rpc;
    const struct selection *jobs; /* borrowed; may get its batch after the waiter was made */
    struct idset printed;         /* indices in the batch, or IDs */
    json_t *sum;                  /* the daemon's, when all have ended */
    bool watched;                 /* notifications come already: a submit with watch */

    /* requests in flight, 0: none */
    int64_t wait_id, page_id, status_id;
    bool paging;    /* those that had ended before are still being listed */
    bool rechecked; /* they were listed once more at the end */
    int64_t after;  /* where the next page starts */
    size_t next_id; /* which of jobs->ids to show next */

    /* own count of what was printed; bytes of those done */
    uint64_t done, failed, cancelled, bytes;
    uint64_t started;    /* usec of CLOCK_MONOTONIC */
    double started_wall; /* seconds since the epoch */

    struct progress progress;
    double first_seconds; /* when progress was first asked for, after started; -1: not yet */
    int64_t first_ended;  /* how many jobs had ended then */
};

void waiter_init(struct waiter *w, const struct dlctl *c, struct rpc *rpc,
                 const struct selection *jobs);
void waiter_done(struct waiter *w);

/* Takes a notification that came before waiter_run(). < 0: -ENOMEM. userdata is the waiter. */
int waiter_notify(void *userdata, const struct rpc_message *m);

/* Waits until all have ended; on SIGINT says how to go on. Returns the exit status. */
int waiter_run(struct waiter *w);

#endif
