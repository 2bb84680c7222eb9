#include "daemon/pool.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/fault.h"
#include "common/log.h"
#include "daemon/pool_watch.h"
#include "daemon/spawn.h"

#define RATE_WINDOW (50 * USEC_PER_MSEC)

int pool_new(struct pool **ret, sd_event *event, const struct pool_settings *settings,
             const struct pool_handlers *handlers) {
    struct pool *p = calloc(1, sizeof(*p));
    int r = 0;

    if (!p)
        return -ENOMEM;
    p->event = event;
    p->settings = *settings;
    p->handlers = *handlers;
    for (unsigned i = 0; i < settings->n_workers && r == 0; i++)
        r = worker_add(p, i + 1) ? 0 : -ENOMEM;
    p->store_id = strdup(settings->config.store_id);
    if (!p->store_id)
        r = -ENOMEM;
    if (r == 0)
        r = spawn_find_worker(&p->program);
    for (unsigned i = 0; i < p->n_workers && r >= 0; i++)
        r = worker_start(p->workers[i]);
    if (r < 0) {
        pool_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct pool *pool_free(struct pool *p) {
    if (!p)
        return NULL;
    while (p->n_workers > 0) {
        struct pool_worker *w = p->workers[p->n_workers - 1];

        if (w->pid > 0) {
            kill(w->pid, SIGKILL);
            waitpid(w->pid, NULL, 0);
        }
        worker_remove(w);
    }
    watch_done(p);
    free(p->store_id);
    free(p->program);
    free(p);
    return NULL;
}

/* ---- what workers say ---- */

static void announce_when_ready(struct pool *p) {
    if (p->announced)
        return;
    for (unsigned i = 0; i < p->n_workers; i++)
        if (p->workers[i]->state != WORKER_READY)
            return;
    p->announced = true;
    p->handlers.ready(p->handlers.userdata);
}

static int worker_hello(struct pool_worker *w, const void *payload, size_t len) {
    struct wire_hello m;
    int r = wire_get_hello(payload, len, &m);

    if (r < 0)
        return r;
    if (m.wire_version != WIRE_VERSION) {
        log_error("%s is version %s and speaks protocol %u, this is dld " DLD_VERSION
                  " with protocol %u: is an upgrade half done? Install both and restart",
                  w->pool->program, m.program_version, m.wire_version, WIRE_VERSION);
        return -EPROTO;
    }
    w->state = WORKER_READY;
    w->timer = sd_event_source_disable_unref(w->timer);
    announce_when_ready(w->pool);
    watch_ready(w);
    w->pool->handlers.jobs.room(w->pool->handlers.jobs.userdata);
    return 0;
}

/* The job of that id, if this worker holds it. */
static struct pool_job *worker_job(struct pool_worker *w, int64_t id) {
    struct pool_job *job = w->pool->handlers.jobs.find(w->pool->handlers.jobs.userdata, id);

    return job && job->worker == w ? job : NULL;
}

static void slot_freed(struct pool_worker *w, struct pool_job *job) {
    struct affinity *a = &w->affinity[job->affinity % AFFINITY_HOSTS];

    if (job->fetched)
        return;
    job->fetched = true;
    w->n_slots_used--;
    w->rate_now++;
    if (a->hash == job->affinity && a->active > 0)
        a->active--;
}

static int worker_fetched(struct pool_worker *w, const void *payload, size_t len) {
    struct pool *p = w->pool;
    struct wire_fetched m;
    struct pool_job *job;
    int r = wire_get_fetched(payload, len, &m);

    if (r < 0)
        return r;
    job = worker_job(w, m.id);
    if (!job || job->fetched)
        return -EBADMSG;
    slot_freed(w, job);
    p->handlers.jobs.fetched(p->handlers.jobs.userdata, job, &m);
    p->handlers.jobs.room(p->handlers.jobs.userdata);
    return 0;
}

static int worker_widen(struct pool_worker *w, const void *payload, size_t len) {
    const struct pool_job_handlers *jobs = &w->pool->handlers.jobs;
    struct wire_widen m;
    struct pool_job *job;
    int r = wire_get_widen(payload, len, &m);

    if (r < 0)
        return r;
    job = worker_job(w, m.id);
    if (!job || job->fetched)
        return -EBADMSG;
    jobs->widen(jobs->userdata, job, m.n);
    return 0;
}

static int worker_checkpoint(struct pool_worker *w, const void *payload, size_t len) {
    const struct pool_job_handlers *jobs = &w->pool->handlers.jobs;
    struct wire_checkpoint m;
    struct pool_job *job;
    int r = wire_get_checkpoint(payload, len, &m);

    if (r < 0)
        return r;
    job = worker_job(w, m.id);
    if (!job)
        return -EBADMSG;
    jobs->checkpoint(jobs->userdata, job, &m.kept);
    return 0;
}

static int worker_result(struct pool_worker *w, const void *payload, size_t len) {
    struct pool *p = w->pool;
    struct wire_result m;
    struct pool_job *job;
    int r = wire_get_result(payload, len, &m);

    if (r < 0)
        return r;
    job = worker_job(w, m.id);
    if (!job)
        return -EBADMSG;
    slot_freed(w, job);
    worker_drop_job(w, job);
    p->handlers.jobs.result(p->handlers.jobs.userdata, job, &m);
    if (m.outcome != OUTCOME_RELEASED) {
        w->n_done++;
        watch_served(w);
    }
    p->handlers.jobs.room(p->handlers.jobs.userdata);
    return 0;
}

static int worker_discarded(struct pool_worker *w, const void *payload, size_t len) {
    const struct pool_job_handlers *jobs = &w->pool->handlers.jobs;
    int64_t id;
    int r = wire_get_id(payload, len, &id);

    if (r < 0)
        return r;
    if (w->n_discards == 0)
        return -EBADMSG;
    w->n_discards--;
    jobs->discarded(jobs->userdata, id);
    return 0;
}

int worker_record(void *userdata, uint8_t type, const void *payload, size_t len) {
    struct pool_worker *w = userdata;

    if (w->state == WORKER_DYING)
        return 0;
    if (w->state == WORKER_STARTING)
        return type == WIRE_HELLO ? worker_hello(w, payload, len) : -EBADMSG;
    switch (type) {
    case WIRE_FETCHED:
        return worker_fetched(w, payload, len);
    case WIRE_WIDEN:
        return worker_widen(w, payload, len);
    case WIRE_CHECKPOINT:
        return worker_checkpoint(w, payload, len);
    case WIRE_RESULT:
        return worker_result(w, payload, len);
    case WIRE_DISCARDED:
        return worker_discarded(w, payload, len);
    default:
        return -EBADMSG;
    }
}

/* ---- giving out jobs ---- */

/* Jobs that it may have beyond its slots: as many as it went through in the last window, so that a
 * fast one never idles and none wait behind slow transfers. */
static unsigned worker_ahead(struct pool_worker *w) {
    uint64_t now;

    if (sd_event_now(w->pool->event, CLOCK_MONOTONIC, &now) < 0)
        return 0;
    if (now - w->rate_since >= RATE_WINDOW) {
        w->rate_before = now - w->rate_since < 2 * RATE_WINDOW ? w->rate_now : 0;
        w->rate_now = 0;
        w->rate_since = now;
    }
    return MIN(MAX(w->rate_before, w->rate_now), w->n_rows);
}

/* How many more jobs the worker takes: first into free slots, then ahead. */
static unsigned worker_room(struct pool_worker *w, bool ahead) {
    unsigned slots = w->n_rows + (ahead ? worker_ahead(w) : 0);

    if (w->state != WORKER_READY || w->stopping)
        return 0;
    return slots > w->n_slots_used ? slots - w->n_slots_used : 0;
}

bool pool_has_room(struct pool *p) {
    for (unsigned i = 0; i < p->n_workers; i++)
        if (worker_room(p->workers[i], true) > 0)
            return true;
    return false;
}

static bool has_idle_connection(const struct pool_worker *w, uint32_t hash) {
    const struct affinity *a = &w->affinity[hash % AFFINITY_HOSTS];

    return a->hash == hash && a->active < a->open;
}

static struct pool_worker *choose(struct pool *p, uint32_t hash, bool ahead) {
    struct pool_worker *best = NULL;
    bool best_connected = false;

    for (unsigned i = 0; i < p->n_workers; i++) {
        struct pool_worker *w = p->workers[i];
        bool connected = has_idle_connection(w, hash);

        if (worker_room(w, ahead) == 0)
            continue;
        if (!best || connected > best_connected ||
            (connected == best_connected && w->n_slots_used < best->n_slots_used)) {
            best = w;
            best_connected = connected;
        }
    }
    return best;
}

static void affinity_note(struct pool_worker *w, uint32_t hash) {
    struct affinity *a = &w->affinity[hash % AFFINITY_HOSTS];

    if (a->hash != hash)
        *a = (struct affinity){.hash = hash};
    if (a->active < UINT16_MAX)
        a->active++;
    a->open = MAX(a->open, a->active);
}

int pool_start(struct pool *p, struct pool_job *job, const char *host,
               const struct wire_job *message) {
    struct pool_worker *w;
    uint32_t hash;
    int r;

    HASH_JEN(host, strlen(host), hash);
    w = choose(p, hash, false);
    if (!w)
        w = choose(p, hash, true);
    if (!w)
        return -EAGAIN;
    r = wire_put_job(chan_buf(w->chan), message);
    if (r < 0)
        return r;
    chan_queued(w->chan);
    job->worker = w;
    job->last_worker = w->number;
    job->affinity = hash;
    job->fetched = false;
    DL_APPEND(w->jobs, job);
    w->n_jobs++;
    w->n_slots_used++;
    affinity_note(w, hash);
    watch_on(p);
    fault_point(start_queued);
    return 0;
}

void pool_cancel(struct pool *p, struct pool_job *job) {
    (void)p;
    if (wire_put_cancel(chan_buf(job->worker->chan), job->id) < 0)
        worker_kill(job->worker);
    else
        chan_queued(job->worker->chan);
    fault_point(cancel_queued);
}

int pool_discard(struct pool *p, const struct wire_discard *message, unsigned *ret_worker) {
    struct pool_worker *best = NULL;
    int r;

    for (unsigned i = 0; i < p->n_workers; i++) {
        struct pool_worker *w = p->workers[i];

        if (w->state == WORKER_READY && !w->stopping && (!best || w->n_jobs < best->n_jobs))
            best = w;
    }
    if (!best)
        return -EAGAIN;
    r = wire_put_discard(chan_buf(best->chan), message);
    if (r < 0)
        return r;
    chan_queued(best->chan);
    best->n_discards++;
    watch_on(p);
    *ret_worker = best->number;
    fault_point(discard_queued);
    return 0;
}

void pool_release(struct pool *p, struct pool_job *job) {
    (void)p;
    if (wire_put_release(chan_buf(job->worker->chan), job->id) < 0)
        worker_kill(job->worker);
    else
        chan_queued(job->worker->chan);
}

int pool_widened(struct pool *p, struct pool_job *job, const struct wire_widened *message) {
    int r = wire_put_widened(chan_buf(job->worker->chan), message);

    (void)p;
    if (r == 0)
        chan_queued(job->worker->chan);
    return r;
}

int pool_set_rate(struct pool *p, struct pool_job *job, uint64_t rate) {
    struct wire_rate message = {.id = job->id, .rate = rate};
    int r = wire_put_rate(chan_buf(job->worker->chan), &message);

    (void)p;
    if (r == 0)
        chan_queued(job->worker->chan);
    return r;
}

/* ---- stopping ---- */

void pool_kill(struct pool *p) {
    for (unsigned i = 0; i < p->n_workers; i++) {
        if (p->workers[i]->n_jobs > 0)
            p->workers[i]->killed_for = "dld is to end at once";
        worker_kill(p->workers[i]);
    }
}

void pool_hurry(struct pool *p) {
    for (unsigned i = 0; i < p->n_workers; i++)
        worker_release(p->workers[i]);
}

void pool_stop(struct pool *p, uint64_t grace_usec) {
    bool any = false;

    p->stopping = true;
    for (unsigned i = 0; i < p->n_workers; i++) {
        struct pool_worker *w = p->workers[i];

        if (w->state == WORKER_DOWN)
            w->timer = sd_event_source_disable_unref(w->timer);
        else if (!w->stopping)
            worker_drain(w, grace_usec);
        any |= w->state != WORKER_DOWN;
    }
    if (!any)
        p->handlers.stopped(p->handlers.userdata);
}

/* ---- another configuration ---- */

/* Would workers be told the same? */
static bool same_for_workers(const struct pool *p, const struct wire_config *a,
                             const struct wire_config *b) {
    _cleanup_(buf_done) struct buf x = BUF_INIT(WIRE_RECORD_MAX), y = BUF_INIT(WIRE_RECORD_MAX);
    struct wire_config one = *a, other = *b;

    one.store_id = other.store_id = p->store_id;
    return wire_put_config(&x, &one) == 0 && wire_put_config(&y, &other) == 0 &&
           buf_size(&x) == buf_size(&y) && memcmp(buf_head(&x), buf_head(&y), buf_size(&x)) == 0;
}

static void end_surplus(struct pool *p) {
    for (unsigned i = p->n_workers; i-- > 0;) {
        struct pool_worker *w = p->workers[i];

        if (w->number <= p->settings.n_workers || w->stopping)
            continue;
        if (w->state == WORKER_DOWN)
            worker_remove(w);
        else
            worker_drain(w, p->settings.drain_usec);
    }
}

void pool_configure(struct pool *p, const struct pool_settings *settings) {
    bool same = p->settings.root_fd == settings->root_fd &&
                same_for_workers(p, &p->settings.config, &settings->config);

    p->settings = *settings;
    for (unsigned i = 0; i < p->n_workers && !same; i++)
        if (!p->workers[i]->stopping)
            worker_drain(p->workers[i], p->settings.drain_usec);
    end_surplus(p);
    workers_start_missing(p);
}

/* ---- for showing ---- */

unsigned pool_n_workers(const struct pool *p) {
    return p->n_workers;
}

void pool_worker_info(const struct pool *p, unsigned i, struct pool_worker_info *ret) {
    static const char *const states[] = {
        [WORKER_DOWN] = "backoff",
        [WORKER_STARTING] = "starting",
        [WORKER_READY] = "ready",
        [WORKER_DYING] = "stopping",
    };
    const struct pool_worker *w = p->workers[i];

    *ret = (struct pool_worker_info){
        .number = w->number,
        .pid = w->pid,
        .state = w->stopping ? "stopping" : states[w->state],
        .jobs = w->n_jobs,
        .done = w->n_done,
        .restarts = w->restarts,
    };
    for (uint32_t row = 0; w->scoreboard && row < w->n_rows; row++)
        if (atomic_load_explicit(&w->scoreboard->rows[row].job, memory_order_relaxed) > 0) {
            ret->active++;
            ret->speed +=
                atomic_load_explicit(&w->scoreboard->rows[row].speed, memory_order_relaxed);
        }
}

int pool_progress(const struct pool_job *job, struct pool_progress *ret) {
    const struct pool_worker *w = job->worker;

    if (!w || !w->scoreboard)
        return -ENOENT;
    for (uint32_t i = 0; i < w->n_rows; i++) {
        const struct scoreboard_row *row = &w->scoreboard->rows[i];

        if (atomic_load_explicit(&row->job, memory_order_relaxed) != job->id)
            continue;
        ret->bytes =
            MIN(atomic_load_explicit(&row->bytes, memory_order_relaxed), (uint64_t)INT64_MAX);
        ret->speed =
            MIN(atomic_load_explicit(&row->speed, memory_order_relaxed), (uint64_t)INT64_MAX);
        ret->total = MAX(atomic_load_explicit(&row->total, memory_order_relaxed), INT64_C(-1));
        return 0;
    }
    return -ENOENT;
}
