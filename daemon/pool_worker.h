/*
 * pool_worker.h - one place in the pool: the life of its worker process. Private to pool*.c.
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

#define AFFINITY_HOSTS 1024

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_READY, WORKER_DYING };

/* Connections that a worker is thought to have to the hosts whose names hash here. */
struct affinity {
    uint32_t hash;
    uint16_t active; /* transfers running */
    uint16_t open;   /* the most that ran at once: so many connections it has */
};

struct pool_worker {
    struct pool *pool;
    unsigned number; /* from 1 */
    enum worker_state state;
    pid_t pid;
    struct chan *chan;
    struct scoreboard *scoreboard;
    sd_event_source *child; /* its exit */
    sd_event_source *timer; /* end of a wait: for HELLO, or until it may be started again */
    uint64_t started;       /* CLOCK_MONOTONIC usec */
    unsigned failures;      /* short lives in a row */
    unsigned restarts;
    bool stopping;   /* it was told to stop */
    bool misbehaved; /* it was killed for what it sent */

    struct pool_job *jobs;
    unsigned n_jobs;
    unsigned n_slots_used; /* jobs not fetched */

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
    sd_event_source *stop_timer;
    unsigned n_workers;
    struct pool_worker workers[];
};

/* Spawns the process. 0 or a negative errno. */
int worker_start(struct pool_worker *w);

/* Likewise, and where it fails, again after a back-off. */
void worker_start_or_wait(struct pool_worker *w);

/* Kills it at once; the rest happens when it is reaped. */
void worker_kill(struct pool_worker *w);

/* Forgets everything about a process, without callbacks. */
void worker_clear(struct pool_worker *w);

/* A job is out of the worker's hands. */
void worker_drop_job(struct pool_worker *w, struct pool_job *job);

/* A record from the worker: defined in pool.c. */
int worker_record(void *userdata, uint8_t type, const void *payload, size_t len);

#endif
