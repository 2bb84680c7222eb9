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

#include "daemon/access.h"
#include "daemon/attempt.h"
#include "daemon/job_json.h"
#include "daemon/pool.h"
#include "daemon/rates.h"
#include "daemon/sched.h"
#include "daemon/store.h"

struct dispatch;

struct dispatch_settings {
    struct sched_settings sched;
    struct attempt_policy policy; /* retries: where the job doesn't say */
    struct access_settings access;
    struct rates *rates; /* outlives the dispatcher */
    /* A job's end is durable. The job is valid until this returns. */
    void (*ended)(void *userdata, const struct job *job);
    /* Numbers of jobs have changed, by whatever happened. */
    void (*moved)(void *userdata);
    void *userdata;
};

int dispatch_new(struct dispatch **ret, sd_event *event, const struct dispatch_settings *settings);
/* When the store is closed. Takes NULL, returns NULL. */
struct dispatch *dispatch_free(struct dispatch *d);

/* What attempts are made and judged by from now on, and sched.policy answers as another
 * configuration says. */
void dispatch_configure(struct dispatch *d, const struct attempt_policy *policy,
                        const struct access_settings *access);

/* Begins to give out jobs. Both must outlive d. */
void dispatch_start(struct dispatch *d, struct store *store, struct pool *pool);

/* Gives out nothing from now on. */
void dispatch_stop(struct dispatch *d);

/* While draining, what is active goes on to its end, and nothing else is given out. */
void dispatch_drain(struct dispatch *d, bool on);
bool dispatch_draining(const struct dispatch *d);

/* For struct store_settings and struct pool_handlers; userdata is the struct dispatch. */
void dispatch_on_ready(void *userdata, const struct store_ready *ready);
void dispatch_on_room(void *userdata);
struct pool_job *dispatch_on_find(void *userdata, int64_t id);
void dispatch_on_fetched(void *userdata, struct pool_job *job, const struct wire_fetched *fetched);
void dispatch_on_widen(void *userdata, struct pool_job *job, unsigned wanted);
void dispatch_on_checkpoint(void *userdata, struct pool_job *job, const struct wire_kept *kept);
void dispatch_on_result(void *userdata, struct pool_job *job, const struct wire_result *result);
void dispatch_on_stuck(void *userdata, struct pool_job *job, uint64_t usec);
void dispatch_on_lost(void *userdata, struct pool_job *job, bool to_blame);
void dispatch_on_leftover(void *userdata);
void dispatch_on_discarded(void *userdata, int64_t id);
void dispatch_on_gone(void *userdata, unsigned worker);

/* ---- changes from outside ---- */

/* Which jobs. */
struct dispatch_choice {
    const int64_t *ids; /* NULL: any */
    size_t n_ids;
    int64_t batch;    /* 0: any */
    const char *tag;  /* NULL: any */
    const char *host; /* NULL: any */
};

/* What is to become of active jobs. */
enum dispatch_wish {
    WISH_NONE,  /* go on */
    WISH_PAUSE, /* end as PAUSED, with what they have fetched */
    WISH_CANCEL /* end as CANCELLED */
};

/* Has the workers drop the active jobs chosen; they end as wished unless they come to another end
 * first. WISH_NONE takes back a pause that no worker has answered yet. Returns the ids of those
 * that the wish is for in order, a new array of *ret_n, or NULL when out of memory (and nothing was
 * done). */
int64_t *dispatch_wish(struct dispatch *d, const struct dispatch_choice *choice,
                       enum dispatch_wish wish, size_t *ret_n);

/* These were changed in the store: cancelled or paused (as the wish says), or given another place
 * in the line (WISH_NONE). */
void dispatch_changed(struct dispatch *d, const int64_t *ids, size_t n, enum dispatch_wish wish);

/* These were resumed in the store: active ones go on if they were to be paused. */
void dispatch_resumed(struct dispatch *d, const int64_t *ids, size_t n);

/* These have a rate limit of their own from now on, bytes a second, 0: none. */
void dispatch_set_rate(struct dispatch *d, const int64_t *ids, size_t n, uint64_t rate);

/* ---- for showing ---- */

/* Makes a row of the store show what is known here: if the job is active, its state, attempts,
 * worker, and *ret (returns true). */
bool dispatch_overlay(const struct dispatch *d, struct job *job, struct job_progress *ret);

/* The ids of active jobs above after, in order: a new array of *ret_n, or NULL when out of memory.
 */
int64_t *dispatch_active_ids(const struct dispatch *d, int64_t after, size_t *ret_n);

/* A host's health, and when it may be asked; false: nothing is known of it here. */
bool dispatch_host_info(const struct dispatch *d, const char *host, struct sched_host_info *ret);

/* The lanes of active jobs, in order, one entry for each job: a new array of *ret_n, or NULL when
 * out of memory. */
int64_t *dispatch_active_lanes(const struct dispatch *d, size_t *ret_n);

/* What is under way. */
struct dispatch_activity {
    unsigned jobs;
    unsigned queued, paused; /* those of them that are so in the store; the rest is cancelled */
    uint64_t bytes;          /* that these have so far */
    uint64_t speed;          /* bytes a second */
};

/* Of the active jobs of a batch; 0: of all. */
struct dispatch_activity dispatch_activity(const struct dispatch *d, int64_t batch);

#endif
