/*
 * pool_worker.h - one of the pool: the life of its worker process, and of those that follow when it
 * dies. Private to pool*.c.
 *
 *     down -> starting (spawned) -> ready (HELLO exchanged) -> dying (killed or gone, not reaped)
 * -> down
 *
 * What happens to a worker is recorded where it is seen (channel closed, bad message, child exited)
 * and acted upon in one place, when the child is reaped.
 */
#ifndef DLD_POOL_WORKER_H
#define DLD_POOL_WORKER_H

#include "common/chan.h"
#include "daemon/pool.h"
#include "daemon/pool_voice.h"

#define AFFINITY_HOSTS 1024

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_READY, WORKER_DYING };

/* Also those being replaced. */
#define POOL_PROCESSES_MAX (2 * POOL_WORKERS_MAX)

/* Connections that a worker is thought to have to the hosts whose names hash here. */
struct affinity {
    uint32_t hash;
    uint16_t active; /* transfers running */
    uint16_t open;   /* the most that ran at once: so many connections it has */
};

struct pool_worker {
    struct pool *pool;
    unsigned number; /* from 1; one that is being replaced and its successor have the same */
    enum worker_state state;
    pid_t pid;
    struct chan *chan;
    struct scoreboard *scoreboard;
    uint32_t n_rows; /* of that: its slots */
    struct voice voice;
    sd_event_source *child; /* its exit */
    sd_event_source *timer; /* end of a wait: for HELLO, until it may be started again, for its end */
    uint64_t started;       /* CLOCK_MONOTONIC usec */
    unsigned failures;      /* short lives in a row */
    unsigned restarts;
    bool stopping; /* it was told to end, and gets no more jobs */

    const char *killed_for; /* NULL: it was not; else by us, for that */
    bool at_fault;          /* and it had not deserved better */
    int64_t culprit;        /* the job to blame, 0: all that ran */

    /* pool_watch.c */
    uint64_t beat;     /* the last heartbeat seen */
    uint64_t still;    /* usec that it has not moved for */
    bool warned;       /* of that */
    unsigned n_served; /* jobs of this process */
    const char *due;   /* why it is to be replaced; NULL: it isn't */
    struct pool_worker *successor; /* NULL: none yet */

    struct pool_job *jobs;
    unsigned n_jobs;
    unsigned n_slots_used; /* jobs not fetched */
    unsigned n_discards;   /* part files that it is to remove */

    /* Results lately, for how much it may be given ahead. */
    uint64_t rate_since; /* CLOCK_MONOTONIC usec */
    unsigned rate_now, rate_before;
    uint64_t n_done;
    struct affinity affinity[AFFINITY_HOSTS];
};

struct pool {
    sd_event *event;
    struct pool_settings settings;
    struct pool_handlers handlers;
    char *store_id;
    char *program;
    bool announced; /* ready() was called */
    bool stopping;
    sd_event_source *look; /* pool_watch.c: timer */
    bool looking;
    uint64_t looked; /* CLOCK_MONOTONIC usec */
    unsigned n_workers;
    struct pool_worker *workers[POOL_PROCESSES_MAX]; /* by number; of two, the older one first */
};

/* A new one, without a process. NULL: out of memory, or there are too many. */
struct pool_worker *worker_add(struct pool *p, unsigned number);

/* It has no process, and is none of the pool's any more. Frees it. */
void worker_remove(struct pool_worker *w);

/* Spawns the process. 0 or a negative errno. */
int worker_start(struct pool_worker *w);

/* Likewise, and where it fails, again after a back-off. */
void worker_start_or_wait(struct pool_worker *w);

/* Starts those that the settings want and that are not there, or are to end. */
void workers_start_missing(struct pool *p);

/* Kills it at once; the rest happens when it is reaped. */
void worker_kill(struct pool_worker *w);

/* Tells it to end: with what it has begun, for which it has so long; or at once. It is killed if it
 * doesn't. */
void worker_drain(struct pool_worker *w, uint64_t grace_usec);
void worker_release(struct pool_worker *w);

/* Forgets everything about a process, without callbacks. */
void worker_clear(struct pool_worker *w);

/* A job is out of the worker's hands. */
void worker_drop_job(struct pool_worker *w, struct pool_job *job);

/* A record from the worker: defined in pool.c. */
int worker_record(void *userdata, uint8_t type, const void *payload, size_t len);

#endif
