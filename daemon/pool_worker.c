#include "daemon/pool_worker.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <utlist.h>

#include "common/backoff.h"
#include "common/exitcode.h"
#include "common/log.h"
#include "daemon/pool_watch.h"
#include "daemon/spawn.h"

#define HELLO_TIMEOUT (10 * USEC_PER_SEC)
#define SHORT_LIFE                                                                                 \
    (10 * USEC_PER_SEC) /* a worker that dies sooner is started again more slowly   \
                                        */
#define RESTART_BASE (200 * USEC_PER_MSEC)
#define RESTART_MAX (30 * USEC_PER_SEC)

#define RELEASE_TIME (5 * USEC_PER_SEC) /* for a worker to give up its jobs */
#define DEATH_JOBS 20                   /* named when their worker dies */

struct pool_worker *worker_add(struct pool *p, unsigned number) {
    struct pool_worker *w = p->n_workers < POOL_PROCESSES_MAX ? calloc(1, sizeof(*w)) : NULL;
    unsigned at = p->n_workers;

    if (!w)
        return NULL;
    w->pool = p;
    w->number = number;
    w->voice.fd = -1;
    for (; at > 0 && p->workers[at - 1]->number > number; at--)
        p->workers[at] = p->workers[at - 1];
    p->workers[at] = w;
    p->n_workers++;
    return w;
}

void worker_remove(struct pool_worker *w) {
    struct pool *p = w->pool;
    struct pool_worker *heir = NULL; /* the newest of its number */
    unsigned left = 0;

    for (unsigned i = 0; i < p->n_workers; i++) {
        struct pool_worker *other = p->workers[i];

        if (other == w)
            continue;
        if (other->successor == w)
            other->successor = NULL;
        if (other->number == w->number)
            heir = other;
        p->workers[left++] = other;
    }
    p->n_workers = left;
    if (heir)
        heir->n_done += w->n_done;
    worker_clear(w);
    free(w);
}

void worker_clear(struct pool_worker *w) {
    w->chan = chan_free(w->chan);
    w->scoreboard = scoreboard_unmap(w->scoreboard, w->n_rows);
    voice_close(&w->voice);
    w->child = sd_event_source_disable_unref(w->child);
    w->timer = sd_event_source_disable_unref(w->timer);
    w->pid = 0;
    w->state = WORKER_DOWN;
    w->stopping = w->at_fault = w->warned = false;
    w->killed_for = w->due = NULL;
    w->culprit = 0;
    w->beat = w->still = 0;
    w->n_served = w->n_discards = 0;
    memset(w->affinity, 0, sizeof(w->affinity));
}

void worker_kill(struct pool_worker *w) {
    if (w->pid > 0 && w->state != WORKER_DYING) {
        kill(w->pid, SIGKILL);
        w->state = WORKER_DYING;
    }
}

void worker_drop_job(struct pool_worker *w, struct pool_job *job) {
    DL_DELETE(w->jobs, job);
    w->n_jobs--;
    job->worker = NULL;
}

/* "41, 42, 43 and 2 more" */
static void describe_jobs(const struct pool_worker *w, struct buf *b) {
    const struct pool_job *job;
    unsigned n = 0;

    DL_FOREACH(w->jobs, job) {
        if (n == DEATH_JOBS) {
            buf_addf(b, " and %u more", w->n_jobs - n);
            break;
        }
        buf_addf(b, "%s%" PRId64, n++ > 0 ? ", " : "", job->id);
    }
    if (n == 0)
        buf_adds(b, "none");
}

/* It was told to end, and did, or had nothing to lose. */
static bool ended_as_told(const struct pool_worker *w, const siginfo_t *si) {
    if (!w->stopping || w->killed_for)
        return false;
    return si->si_code == CLD_EXITED ? si->si_status == 0 : w->n_jobs == 0;
}

static void log_death(const struct pool_worker *w, const siginfo_t *si) {
    struct log_about about = {
        .job = w->culprit, .worker = (int)w->number, .msg_id = MSG_WORKER_DIED};
    _cleanup_(buf_done) struct buf b = BUF_INIT(4 * KIB);

    if (ended_as_told(w, si))
        return;
    buf_addf(&b, "worker %u (pid %d) ", w->number, w->pid);
    if (si->si_code == CLD_EXITED)
        buf_addf(&b, "exited with %d (%s)", si->si_status, worker_exit_meaning(si->si_status));
    else
        buf_addf(&b, "was killed by signal %d (%s)", si->si_status, strsignal(si->si_status));
    if (w->killed_for)
        buf_addf(&b, ", for %s", w->killed_for);
    if (w->culprit)
        buf_addf(&b, " while at job %" PRId64, w->culprit);
    buf_adds(&b, "; it held jobs: ");
    describe_jobs(w, &b);
    if (*w->voice.last)
        buf_addf(&b, "; it said: %s", w->voice.last);
    log_about(LOG_WARNING, &about, "%s", buf_cstr(&b) ? buf_cstr(&b) : "a worker died");
}

/* Did the process die by a fault of its own? SIGKILL and SIGTERM come from outside. */
static bool died_of_itself(const struct pool_worker *w, const siginfo_t *si) {
    if (w->killed_for)
        return w->at_fault;
    if (si->si_code == CLD_EXITED)
        return !w->stopping || si->si_status != 0;
    return si->si_status != SIGKILL && si->si_status != SIGTERM && si->si_status != SIGINT;
}

static bool job_running(const struct pool_job *job) {
    struct pool_progress p;

    return pool_progress(job, &p) == 0;
}

static void return_jobs(struct pool_worker *w, bool at_fault) {
    const struct pool_job_handlers *jobs = &w->pool->handlers.jobs;

    while (w->jobs) {
        struct pool_job *job = w->jobs;
        bool to_blame = at_fault && (w->culprit ? job->id == w->culprit : job_running(job));

        worker_drop_job(w, job);
        jobs->lost(jobs->userdata, job, to_blame);
    }
    w->n_slots_used = 0;
    jobs->gone(jobs->userdata, w->number);
}

static bool pool_all_down(const struct pool *p) {
    for (unsigned i = 0; i < p->n_workers; i++)
        if (p->workers[i]->state != WORKER_DOWN)
            return false;
    return true;
}

/* What comes after a worker: the end, nothing, or another. */
static void follow(struct pool_worker *w, bool told) {
    struct pool *p = w->pool;

    if (p->stopping) {
        if (pool_all_down(p))
            p->handlers.stopped(p->handlers.userdata);
    } else if (told || w->successor) {
        worker_remove(w);
        workers_start_missing(p); /* for which there was no room */
        watch_replace_next(p);
    } else if (!p->announced && w->failures >= p->settings.start_failures) {
        p->handlers.failed(p->handlers.userdata);
    } else {
        w->restarts++;
        worker_start_or_wait(w);
    }
}

/* The one place where a worker's end is acted upon. */
static int on_child(sd_event_source *source, const siginfo_t *si, void *userdata) {
    struct pool_worker *w = userdata;
    bool told = w->stopping, at_fault;

    (void)source;
    chan_drain(w->chan); /* what it said before it died still counts */
    voice_finish(&w->voice);
    at_fault = died_of_itself(w, si);
    log_death(w, si);
    w->failures = now_usec(CLOCK_MONOTONIC) - w->started < SHORT_LIFE ? w->failures + 1 : 0;
    return_jobs(w, at_fault);
    worker_clear(w);
    follow(w, told);
    return 0;
}

static void on_chan_closed(void *userdata, int error) {
    struct pool_worker *w = userdata;

    if (error < 0 && w->state != WORKER_DYING && (!w->stopping || error == -EBADMSG)) {
        w->killed_for =
            error == -EBADMSG ? "a message that makes no sense" : "an error on its channel";
        w->at_fault = true;
    }
    /* One that stops closes its end on its way out, and is left to finish. */
    if (!w->stopping || error < 0)
        worker_kill(w);
}

static int on_hello_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
    struct pool_worker *w = userdata;

    (void)source;
    (void)usec;
    w->killed_for = "it did not say hello in time";
    w->at_fault = true;
    worker_kill(w);
    return 0;
}

static int on_restart(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    worker_start_or_wait(userdata);
    return 0;
}

static int worker_timer(struct pool_worker *w, uint64_t delay, sd_event_time_handler_t fn) {
    w->timer = sd_event_source_disable_unref(w->timer);
    return sd_event_add_time_relative(w->pool->event, &w->timer, CLOCK_MONOTONIC, delay, 0, fn, w);
}

/* ---- an orderly end ---- */

static int on_release_over(sd_event_source *source, uint64_t usec, void *userdata) {
    struct pool_worker *w = userdata;

    (void)source;
    (void)usec;
    w->killed_for = "it did not end when told to";
    worker_kill(w);
    return 0;
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    worker_release(userdata);
    return 0;
}

void worker_release(struct pool_worker *w) {
    if (w->state == WORKER_DYING || w->state == WORKER_DOWN)
        return;
    w->stopping = true;
    if (w->state == WORKER_STARTING || wire_put_stop(chan_buf(w->chan)) < 0) {
        worker_kill(w);
        return;
    }
    chan_queued(w->chan);
    if (worker_timer(w, RELEASE_TIME, on_release_over) < 0)
        worker_kill(w);
}

void worker_drain(struct pool_worker *w, uint64_t grace_usec) {
    if (w->state != WORKER_READY || grace_usec == 0 || wire_put_drain(chan_buf(w->chan)) < 0) {
        worker_release(w);
        return;
    }
    w->stopping = true;
    chan_queued(w->chan);
    if (worker_timer(w, grace_usec, on_grace_over) < 0)
        worker_release(w);
}

/* ---- starting ---- */

/* Both ends of the channel; ours becomes w->chan, the worker's is returned in *ret. */
static int worker_channel(struct pool_worker *w, int *ret) {
    _cleanup_close_ int theirs = -1;
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    theirs = fds[1];
    r = chan_new(&w->chan, w->pool->event, fds[0], worker_record, on_chan_closed, w);
    if (r < 0)
        return r;
    *ret = TAKE_FD(theirs);
    return 0;
}

static int worker_greet(struct pool_worker *w) {
    struct wire_hello hello = {.wire_version = WIRE_VERSION, .program_version = DLD_VERSION};
    struct wire_config config = w->pool->settings.config;
    int r;

    config.worker = w->number;
    config.store_id = w->pool->store_id;
    r = wire_put_hello(chan_buf(w->chan), &hello);
    if (r == 0)
        r = wire_put_config(chan_buf(w->chan), &config);
    chan_queued(w->chan);
    return r;
}

/* Again and again, not ONESHOT, which is the default: while a tracer (a debugger, the leak checker)
 * still has a dead process, its descriptor is ready, but waitid() has nothing to tell, and sd-event
 * would not look again. Between the two modes it changes only by way of OFF. */
static int worker_watch(struct pool_worker *w) {
    int r = sd_event_source_set_enabled(w->child, SD_EVENT_OFF);

    return r < 0 ? r : sd_event_source_set_enabled(w->child, SD_EVENT_ON);
}

int worker_start(struct pool_worker *w) {
    struct pool *p = w->pool;
    _cleanup_close_ int theirs = -1, board = -1, words = -1;
    int r;

    w->n_rows = p->settings.config.transfers;
    r = worker_channel(w, &theirs);
    if (r == 0)
        r = scoreboard_create(w->n_rows, &w->scoreboard, &board);
    if (r == 0)
        r = voice_open(&w->voice, p->event, w->number, &words);
    if (r == 0)
        r = worker_greet(w);
    if (r == 0) {
        int fds[] = {theirs, board, p->settings.root_fd, p->settings.lock_fd, p->settings.rates_fd};

        r = spawn_worker(p->program, fds, ELEMENTSOF(fds), words, &w->pid);
    }
    if (r == 0) {
        w->state = WORKER_STARTING;
        w->started = now_usec(CLOCK_MONOTONIC);
        r = sd_event_add_child(p->event, &w->child, w->pid, WEXITED, on_child, w);
    }
    if (r >= 0)
        r = worker_watch(w);
    if (r >= 0)
        r = worker_timer(w, HELLO_TIMEOUT, on_hello_timeout);
    if (r < 0) {
        if (w->pid > 0) {
            kill(w->pid, SIGKILL);
            waitpid(w->pid, NULL, 0);
        }
        worker_clear(w);
    }
    return r;
}

void worker_start_or_wait(struct pool_worker *w) {
    /* The first death of a worker that served well costs no time. */
    bool wait = w->failures > 1 && !w->timer;
    int r = 0;

    w->timer = sd_event_source_disable_unref(w->timer);
    if (!wait)
        r = worker_start(w);
    if (r < 0) {
        log_error("worker %u (%s) can't be started: %s; trying again", w->number, w->pool->program,
                  strerror(-r));
        w->failures++;
        wait = true;
    }
    if (wait &&
        worker_timer(w, backoff_delay(w->failures - 1, RESTART_BASE, RESTART_MAX, UINT32_MAX),
                     on_restart) < 0)
        log_error("worker %u is lost: no memory for a timer", w->number);
}

static struct pool_worker *newest(const struct pool *p, unsigned number) {
    for (unsigned i = p->n_workers; i-- > 0;)
        if (p->workers[i]->number == number)
            return p->workers[i];
    return NULL;
}

void workers_start_missing(struct pool *p) {
    for (unsigned number = 1; number <= p->settings.n_workers; number++) {
        struct pool_worker *old = newest(p, number), *w;

        if (old && !old->stopping)
            continue;
        w = worker_add(p, number);
        if (!w)
            return;
        w->restarts = old ? old->restarts + 1 : 0;
        worker_start_or_wait(w);
    }
}
