/*
 * transfer.h - one attempt at one job: a slot's easy handle, its sink, and its row of the
 * scoreboard.
 *
 * A transfer is made once for each slot and used for one job after the other. It doesn't know the
 * master: how an attempt ended is in the task.
 */
#ifndef DLD_WORKER_TRANSFER_H
#define DLD_WORKER_TRANSFER_H

#include "common/ratelimit.h"
#include "common/scoreboard.h"
#include "daemon/worker/aside.h"
#include "daemon/worker/gate.h"
#include "daemon/worker/session.h"
#include "daemon/worker/sink.h"
#include "daemon/worker/task.h"
#include "daemon/worker/throttle.h"

struct transfer;

/* The callers', outlive the transfers. */
struct transfer_settings {
    struct session *session;
    struct asides *asides;
    const struct wire_config *config;
    const struct sink_settings *sink;
    /* What was kept of the file is not there any more: kept.offset is 0 now. */
    void (*restarted)(void *userdata, struct task *t);
    /* It is time to make durable what has come; transfer_save() may follow. */
    void (*save)(void *userdata, struct task *t);
    /* The file may have so many connections besides the one it has; transfer_widen() may follow. */
    void (*widen)(void *userdata, struct task *t, unsigned n);
    void *userdata;
    const struct gate *gate;
    const struct ratelimit *rates;
    struct throttle *throttle; /* releases by transfer_go_on() */
    struct scoreboard *board;  /* whole */
};

/* row is this slot's. NULL when out of memory. */
struct transfer *transfer_new(const struct transfer_settings *settings, struct scoreboard_row *row);

/* Gives up what it is at. Takes NULL, returns NULL. */
struct transfer *transfer_free(struct transfer *t);

/* Begins with the task. True: it is under way, and session_ended_fn will be called for it. False:
 * it has failed already, as the task says. */
bool transfer_start(struct transfer *t, struct task *task);

/* The transfer that an easy handle belongs to. */
struct transfer *transfer_of(CURL *easy);

/* The transfer, to be finished with *code, that has ended because curl is through with t; NULL:
 * none has, for it was only one of the connections over which a file comes. */
struct transfer *transfer_over(struct transfer *t, CURLcode *code);

/* These connections may be used for the file now, but no more than most of them. */
void transfer_widen(struct transfer *t, const struct wire_widened *widened, unsigned most);

/* curl is through with it. True: the file is complete and in task->parcel. False: nothing is to be
 * published: it failed, as the task says, and what came of it may be in task->parcel as
 * PARCEL_KEEP; or the file that is there is up to date (not_modified). The handle is free for
 * another job, but the row still shows this one. */
bool transfer_finish(struct transfer *t, CURLcode code);

/* Is how it ended, as transfer_finish() found, to be believed? */
enum transfer_trust {
    TRANSFER_TRUSTED,
    TRANSFER_HELD,     /* once every item in task->holds has been found right (line.h) */
    TRANSFER_WRONG,    /* it may be another request's answer: to be done again, with task->alone set */
};

/* To be asked once, right after transfer_finish(), with the same code. What is wrong too often is
 * made a failure. */
enum transfer_trust transfer_trust(struct transfer *t, CURLcode code);

/* Gives up what is under way. The part file is removed, unless keep and it is worth it: then it may
 * be in task->parcel as PARCEL_KEEP. */
void transfer_abort(struct transfer *t, bool keep);

/* Has it ended without a connection that others of its host may have been waiting for, to share it? */
bool transfer_failed_to_connect(const struct transfer *t, CURLcode code);

/* If t waits for the connection that the failed one did not get, it makes one of its own. */
void transfer_not_connected(struct transfer *t, const struct transfer *failed);

/* A second descriptor of the part file for the parcel, and in *ret_kept what is in the file; ranges
 * is room for RANGES_TEXT_MAX bytes of that. 0 or a negative errno. transfer_saved() must follow.
 */
int transfer_save(struct transfer *t, struct parcel *ret, struct wire_kept *ret_kept, char *ranges);

/* That much is durable (or not: 0). */
void transfer_saved(struct transfer *t, uint64_t offset);

/* The job's own limit from now on, bytes a second; 0: none. */
void transfer_set_rate(struct transfer *t, uint64_t rate);

/* For throttle_new(): one that was held back may go on. */
void transfer_go_on(struct throttled *x);

/* The slot is free: clears its row. */
void transfer_release(struct transfer *t);

/* The task it is at; NULL: none. */
struct task *transfer_task(const struct transfer *t);

#endif
