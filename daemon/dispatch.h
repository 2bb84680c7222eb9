/*
 * dispatch.h - takes jobs from the store to the workers and their ends back into the store.
 *
 * It holds the live jobs: those in the scheduler's window, those with a worker, and those whose end
 * is being written. All others are in the store alone. In the store a job stays QUEUED while it is
 * active, so that whatever happens to this process, it is still there to be done.
 */
#ifndef DLD_DISPATCH_H
#define DLD_DISPATCH_H

#include <systemd/sd-event.h>

#include "daemon/attempt.h"
#include "daemon/job_json.h"
#include "daemon/pool.h"
#include "daemon/rates.h"
#include "daemon/sched.h"
#include "daemon/store.h"

struct dispatch;

struct dispatch_settings {
    struct sched_limits limits;
    struct attempt_policy policy; /* retries: where the job doesn't say */
    struct rates *rates;          /* outlives the dispatcher */
    /* A job's end is durable. The job is valid until this returns. */
    void (*ended)(void *userdata, const struct job *job);
    /* Numbers of jobs have changed, by whatever happened. */
    void (*moved)(void *userdata);
    void *userdata;
};

int dispatch_new(struct dispatch **ret, sd_event *event, const struct dispatch_settings *settings);
struct dispatch *dispatch_free(struct dispatch *d); /* takes NULL, returns NULL */

/* Begins to give out jobs. Both must outlive d. */
void dispatch_start(struct dispatch *d, struct store *store, struct pool *pool);

/* Gives out nothing from now on. */
void dispatch_stop(struct dispatch *d);

/* For struct store_handlers and struct pool_handlers; userdata is the struct dispatch. */
void dispatch_on_ready(void *userdata, const char *host, int64_t rank);
void dispatch_on_room(void *userdata);
struct pool_job *dispatch_on_find(void *userdata, int64_t id);
void dispatch_on_fetched(void *userdata, struct pool_job *job);
void dispatch_on_checkpoint(void *userdata, struct pool_job *job, const struct wire_kept *kept);
void dispatch_on_result(void *userdata, struct pool_job *job, const struct wire_result *result);
void dispatch_on_lost(void *userdata, struct pool_job *job, bool to_blame);

/* Which jobs of those that are active. */
struct dispatch_choice {
    const int64_t *ids; /* NULL: any */
    size_t n_ids;
    int64_t batch; /* 0: any */
};

/* Has the workers drop the active jobs chosen; they end as CANCELLED unless they come to another
 * end first. Returns their ids in order, a new array of *ret_n, or NULL when out of memory (and nothing was
 * done). */
int64_t *dispatch_cancel(struct dispatch *d, const struct dispatch_choice *choice, size_t *ret_n);

/* These were cancelled in the store. */
void dispatch_cancelled(struct dispatch *d, const int64_t *ids, size_t n);

/* For dispatch_set_rate() and the method `set`: what was configured, or the job asked for. */
#define RATE_DEFAULT UINT64_MAX

/* A limit of an active job's own (bytes a second, 0: none, RATE_DEFAULT), which holds at once and
 * until this attempt ends; *ret becomes what it is now. 0; -ENOENT: it is not active; -ENOMEM. */
int dispatch_set_rate(struct dispatch *d, int64_t id, uint64_t rate, uint64_t *ret);

/* ---- for showing ---- */

/* Makes a row of the store show what is known here: if the job is active, its state, attempts,
 * worker, and *ret (returns true). */
bool dispatch_overlay(const struct dispatch *d, struct job *job, struct job_progress *ret);

/* The ids of active jobs above after, in order: a new array of *ret_n, or NULL when out of memory.
 */
int64_t *dispatch_active_ids(const struct dispatch *d, int64_t after, size_t *ret_n);

/* Active jobs (of a batch; 0: all) and the sum of their speeds. */
unsigned dispatch_n_active(const struct dispatch *d, int64_t batch, uint64_t *ret_speed);

#endif
