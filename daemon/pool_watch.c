#include "daemon/pool_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"

#define LOOKS_PER_HANG 8
#define LOOK_EVERY_MAX (5 * USEC_PER_SEC)
#define SERVES_FIRST (60 * USEC_PER_SEC)

/* ---- hung workers ---- */

/* The job that its loop is at, as it says; NULL: none of its. */
static struct pool_job *worker_at(const struct pool_worker *w) {
    const struct pool_job_handlers *jobs = &w->pool->handlers.jobs;
    int64_t id = atomic_load_explicit(&w->scoreboard->at, memory_order_relaxed);
    struct pool_job *job = id > 0 ? jobs->find(jobs->userdata, id) : NULL;

    return job && job->worker == w ? job : NULL;
}

static void warn(struct pool_worker *w) {
    const struct pool_job_handlers *jobs = &w->pool->handlers.jobs;
    struct log_about about = {.worker = (int)w->number, .msg_id = MSG_WORKER_STUCK};
    struct pool_job *job = worker_at(w);

    w->warned = true;
    if (job)
        jobs->stuck(jobs->userdata, job, w->still);
    else
        log_about(LOG_WARNING, &about,
                  "worker %u (pid %d) shows no life for %" PRIu64 " s now, with %u jobs", w->number,
                  w->pid, w->still / USEC_PER_SEC, w->n_jobs);
}

static void end_hung(struct pool_worker *w) {
    struct pool_job *job = worker_at(w);

    w->culprit = job ? job->id : 0;
    w->at_fault = job != NULL;
    w->killed_for = "it showed no life";
    worker_kill(w);
}

static void look_for_life(struct pool_worker *w, uint64_t elapsed) {
    uint64_t beat = atomic_load_explicit(&w->scoreboard->heartbeat, memory_order_relaxed);
    uint64_t hang = w->pool->settings.hang_usec;

    if (beat != w->beat) {
        w->beat = beat;
        w->still = 0;
        w->warned = false;
        return;
    }
    w->still += elapsed;
    if (w->still >= hang)
        end_hung(w);
    else if (w->still >= hang / 2 && !w->warned)
        warn(w);
}

/* ---- workers to be replaced ---- */

/* Bytes of memory that the process has, 0: unknown. */
static uint64_t resident(pid_t pid) {
    char path[64];
    unsigned long pages = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Where max_rss is less than any worker needs they serve all the same. */
static void look_at_size(struct pool_worker *w) {
    uint64_t max = w->pool->settings.max_rss, size;

    if (max == 0 || w->due ||
        (w->n_served == 0 && now_usec(CLOCK_MONOTONIC) - w->started < SERVES_FIRST))
        return;
    size = resident(w->pid);
    if (size <= max)
        return;
    w->due = "it has grown too large";
    log_notice("worker %u (pid %d) has %" PRIu64
               " bytes of memory, more than [worker] max_rss; it is replaced",
               w->number, w->pid, size);
}

void watch_served(struct pool_worker *w) {
    unsigned max = w->pool->settings.max_jobs;

    w->n_served++;
    if (max == 0 || w->n_served < max || w->due)
        return;
    w->due = "it has served [worker] max_jobs";
    watch_replace_next(w->pool);
}

static bool is_replacing(const struct pool *p) {
    for (unsigned i = 0; i < p->n_workers; i++)
        if (p->workers[i]->successor && p->workers[i]->successor->state != WORKER_READY)
            return true;
    return false;
}

void watch_replace_next(struct pool *p) {
    struct pool_worker *next = NULL;

    if (p->stopping || is_replacing(p))
        return;
    for (unsigned i = 0; i < p->n_workers && !next; i++) {
        struct pool_worker *w = p->workers[i];

        if (w->due && w->state == WORKER_READY && !w->stopping && !w->successor)
            next = w;
    }
    if (!next)
        return;
    next->successor = worker_add(p, next->number);
    if (!next->successor)
        return; /* the next look has to do */
    next->successor->restarts = next->restarts + 1;
    worker_start_or_wait(next->successor);
}

void watch_ready(struct pool_worker *w) {
    struct pool *p = w->pool;

    for (unsigned i = 0; i < p->n_workers; i++) {
        struct pool_worker *old = p->workers[i];

        if (old->successor != w || old->stopping)
            continue;
        log_info("worker %u (pid %d) makes way for pid %d: %s", old->number, old->pid, w->pid,
                 old->due);
        worker_drain(old, p->settings.drain_usec);
    }
    watch_replace_next(p);
}

/* ---- looking ---- */

static uint64_t look_every(const struct pool *p) {
    return MIN(p->settings.hang_usec / LOOKS_PER_HANG, LOOK_EVERY_MAX);
}

static int look_again(struct pool *p) {
    int r = sd_event_source_set_time_relative(p->look, look_every(p));

    p->looked = now_usec(CLOCK_MONOTONIC);
    return r < 0 ? r : sd_event_source_set_enabled(p->look, SD_EVENT_ONESHOT);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
    struct pool *p = userdata;
    uint64_t elapsed = MIN(now_usec(CLOCK_MONOTONIC) - p->looked, 2 * look_every(p));
    bool any = false;

    (void)source;
    (void)usec;
    for (unsigned i = 0; i < p->n_workers; i++) {
        struct pool_worker *w = p->workers[i];
        bool busy = w->n_jobs > 0 || w->n_discards > 0;

        if (w->state != WORKER_READY)
            continue;
        any |= busy;
        if (!w->stopping)
            look_at_size(w);
        if (busy)
            look_for_life(w, elapsed);
        else
            w->still = 0;
    }
    watch_replace_next(p);
    p->looking = any && look_again(p) >= 0;
    return 0;
}

void watch_on(struct pool *p) {
    int r = 0;

    if (p->looking)
        return;
    for (unsigned i = 0; i < p->n_workers; i++)
        p->workers[i]->still = 0;
    if (!p->look)
        r = sd_event_add_time_relative(p->event, &p->look, CLOCK_MONOTONIC, 0, 50 * USEC_PER_MSEC,
                                       on_look, p);
    p->looking = r >= 0 && look_again(p) >= 0;
}

void watch_done(struct pool *p) {
    p->look = sd_event_source_disable_unref(p->look);
}
