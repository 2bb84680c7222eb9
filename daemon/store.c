#include "daemon/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/util.h"
#include "daemon/store_chores.h"
#include "daemon/store_lane.h"
#include "daemon/store_repair.h"
#include "daemon/store_request.h"
#include "daemon/store_sqlite.h"

/* A transaction takes at most so many requests, and no more after so long: acknowledgements wait
 * for its end. */
#define GROUP_MAX 14000
#define GROUP_USEC (250 * USEC_PER_MSEC)

/* While requests that nobody waits for keep coming, at least so many in each step, they are taken
 * together, up to so long after the first ones: their jobs share pages, and the commit. What the
 * scheduler asks for overtakes them; the loop knows the jobs whose ends are not recorded yet. */
#define LINGER_STEP (2 * USEC_PER_MSEC)
#define LINGER_STEP_MIN 16
#define LINGER_USEC (150 * USEC_PER_MSEC)

/* So many notices that the loop has not delivered make the chores wait for it. */
#define READY_MAX 20000

/* How long the thread leaves its own chores after they failed; doubled each time. */
#define CHORES_DELAY_MIN USEC_PER_SEC
#define CHORES_DELAY_MAX (60 * USEC_PER_SEC)

/* What the thread has finished and the loop hasn't delivered. */
struct done {
    struct request *requests;
    struct store_ready *ready;
    size_t n_ready, ready_room;
    uint64_t counts[JOB_STATE_MAX_];
    bool wrote, leftovers;
    int trouble; /* negative errno of the store itself, 0: none */
    char trouble_text[256];
};

/* Waiting for more requests: until when, in usec of CLOCK_MONOTONIC. */
struct linger {
    uint64_t end;  /* at the latest; 0: it doesn't */
    uint64_t step; /* until it is looked whether enough have come, */
    size_t seen;   /* since there were so many */
};

struct store {
    /* The loop's. */
    struct store_settings settings;
    sd_event_source *wake_source, *done_source;
    uint64_t counts[JOB_STATE_MAX_];
    int trouble; /* the last one logged and not over */
    pthread_t thread;
    bool started;
    bool settled;

    /* Both sides', under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct request *pending, *overtaking;
    size_t n_pending, n_impatient;
    uint64_t n_requests; /* ever */
    bool stop;
    uint64_t keep_age, keep_count; /* what the thread is to go by */
    struct done done;

    /* The thread's. */
    struct db *db;
    struct linger linger;
    struct request chores;
    uint64_t chores_not_before, chores_delay; /* usec */
    int trouble_now;
    char trouble_text[256];

    int done_fd; /* eventfd: done has something */
};

/* ---- the thread: running ---- */

static void request_clear(struct request *r) {
    if (r->kind->clear)
        r->kind->clear(r);
    r->error = 0;
}

static void request_free(struct request *r) {
    request_clear(r);
    r->kind->free(r);
}

static void requests_free(struct request *list) {
    struct request *r, *next;

    DL_FOREACH_SAFE(list, r, next) {
        request_free(r);
    }
}

/* Runs from the front of n requests as many as the time allows in one transaction; *ret_ran is how
 * many it tried. Nothing has happened when it fails. */
static int group_try(struct store *s, struct request **reqs, size_t n, size_t *ret_ran) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + GROUP_USEC;
    int r = db_begin(s->db);
    size_t ran = 0;

    do {
        if (r >= 0)
            r = reqs[ran]->kind->run(s->db, reqs[ran]);
        ran++;
    } while (r >= 0 && ran < n && now_usec(CLOCK_MONOTONIC) < end &&
             lanes_met(s->db) < LANES_MET_MAX);
    *ret_ran = ran;
    if (r >= 0)
        r = db_commit(s->db);
    if (r >= 0)
        return 0;
    db_rollback(s->db);
    for (size_t i = 0; i < ran; i++)
        request_clear(reqs[i]);
    return r;
}

/* Adds the notices to those that wait for the loop. Where there is no memory they go with the next
 * ones. */
static void ready_post(struct db *db, struct done *d) {
    size_t n = d->n_ready + db->n_ready;

    if (n > d->ready_room) {
        size_t room = MAX(n, d->ready_room * 2);
        void *p = reallocarray(d->ready, room, sizeof(*d->ready));

        if (!p)
            return;
        d->ready = p;
        d->ready_room = room;
    }
    if (db->n_ready > 0)
        memcpy(d->ready + d->n_ready, db->ready, db->n_ready * sizeof(*d->ready));
    d->n_ready = n;
    db->n_ready = db->n_ready_sure = 0;
}

static void done_post(struct store *s, struct request **reqs, size_t n) {
    uint64_t one = 1;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++)
        if (reqs[i] != &s->chores)
            DL_APPEND(s->done.requests, reqs[i]);
    ready_post(s->db, &s->done);
    memcpy(s->done.counts, s->db->now.counts, sizeof(s->done.counts));
    s->done.wrote |= s->db->wrote;
    s->done.leftovers |= s->db->leftovers;
    s->db->leftovers = false;
    if (s->trouble_now < 0) {
        s->done.trouble = s->trouble_now;
        memcpy(s->done.trouble_text, s->trouble_text, sizeof(s->done.trouble_text));
    }
    pthread_mutex_unlock(&s->lock);
    s->trouble_now = 0;
    while (write(s->done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* The store can't do this one, alone as it was. */
static void request_fail(struct store *s, struct request *r, int error) {
    const char *text = db_error_text(s->db);

    r->error = error;
    s->trouble_now = error;
    if (error == -EUCLEAN)
        repair_note(s->db->sqlite);
    snprintf(s->trouble_text, sizeof(s->trouble_text), "%s: %s", r->kind->name,
             *text ? text : strerror(-error));
    if (r != &s->chores)
        return;
    s->chores_delay = MIN(MAX(s->chores_delay * 2, CHORES_DELAY_MIN), CHORES_DELAY_MAX);
    s->chores_not_before = now_usec(CLOCK_REALTIME) + s->chores_delay;
}

/* Runs n requests in as few transactions as it takes: where one fails, its requests are tried again
 * by halves, down to the one that it is about. */
static void group_run(struct store *s, struct request **reqs, size_t n) {
    while (n > 0) {
        size_t ran = 0;
        int r = group_try(s, reqs, n, &ran);

        if (r < 0 && ran > 1) {
            group_run(s, reqs, ran / 2);
            group_run(s, reqs + ran / 2, ran - ran / 2);
        } else {
            if (r < 0)
                request_fail(s, reqs[0], r);
            done_post(s, reqs, ran);
        }
        reqs += ran;
        n -= ran;
    }
}

/* ---- the thread: waiting ---- */

static void keep_take(struct store *s) {
    if (s->db->keep_age == s->keep_age && s->db->keep_count == s->keep_count)
        return;
    s->db->keep_age = s->keep_age;
    s->db->keep_count = s->keep_count;
    s->db->chores_at = 0;
}

static uint64_t chores_time(const struct store *s) {
    if (s->done.n_ready > READY_MAX)
        return USEC_INFINITY; /* on_done() will tell */
    return MAX(s->db->chores_at, s->chores_not_before);
}

/* Until a request is there, the store is closed, or it is time for the chores: true. */
static bool wait_for_work(struct store *s) {
    for (;;) {
        keep_take(s);
        uint64_t until = chores_time(s);
        struct timespec ts = timespec_of(until);

        if (until != USEC_INFINITY && now_usec(CLOCK_REALTIME) >= until)
            return !s->stop;
        if (s->pending || s->overtaking || s->stop)
            return false;
        if (until == USEC_INFINITY)
            pthread_cond_wait(&s->wake, &s->lock);
        else
            pthread_cond_timedwait(&s->wake, &s->lock, &ts);
    }
}

/* Not when somebody waits for what is there. */
static bool may_linger(const struct store *s) {
    return !s->stop && s->n_impatient == 0 && s->n_pending < GROUP_MAX;
}

/* With the lock held. True: the time has come for those that overtake, false: for all. */
static bool linger(struct store *s) {
    struct linger *l = &s->linger;

    while (may_linger(s)) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        struct timespec ts;

        if (l->end == 0)
            *l = (struct linger){.end = now + LINGER_USEC};
        if (now >= l->end)
            break;
        if (s->overtaking) {
            l->step = 0;
            return true;
        }
        if (now >= l->step) {
            if (l->step > 0 && s->n_pending < l->seen + LINGER_STEP_MIN)
                break;
            l->seen = s->n_pending;
            l->step = now + LINGER_STEP;
        }
        ts = timespec_of(l->step);
        pthread_cond_clockwait(&s->wake, &s->lock, CLOCK_MONOTONIC, &ts);
    }
    return false;
}

/* The next in the order in which they came; of those that overtake only, if all is false. */
static struct request *take_one(struct store *s, bool all) {
    struct request *r = s->overtaking;

    if (all && s->pending && (!r || s->pending->number < r->number)) {
        r = s->pending;
        DL_DELETE(s->pending, r);
        s->n_pending--;
        s->n_impatient -= !r->kind->patient;
    } else if (r) {
        DL_DELETE(s->overtaking, r);
    }
    return r;
}

/* Puts those of one kind that follow each other into the order that it wants. */
static void group_sort(struct request **reqs, size_t n) {
    bool sorted = true;

    for (size_t i = 0, first = 0; i < n; i++) {
        const struct request_kind *kind = reqs[first]->kind;

        if (i + 1 < n && reqs[i + 1]->kind == kind) {
            sorted = sorted && (!kind->compare || kind->compare(&reqs[i], &reqs[i + 1]) <= 0);
            continue;
        }
        if (!sorted)
            qsort(&reqs[first], i + 1 - first, sizeof(*reqs), kind->compare);
        first = i + 1;
        sorted = true;
    }
}

/* Takes the next requests; the chores are the last of them when it is time. 0: closed, and all is
 * done. */
static size_t group_take(struct store *s, struct request **reqs) {
    bool chores, all;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    chores = wait_for_work(s);
    all = chores || !linger(s);
    while (n < GROUP_MAX && (reqs[n] = take_one(s, all)))
        n++;
    if (all)
        s->linger.end = 0;
    pthread_mutex_unlock(&s->lock);
    group_sort(reqs, n);
    if (chores)
        reqs[n++] = &s->chores;
    return n;
}

static void *thread_main(void *userdata) {
    struct request *reqs[GROUP_MAX + 1];
    struct store *s = userdata;
    size_t n;

    while ((n = group_take(s, reqs)) > 0) {
        group_run(s, reqs, n);
        if (reqs[n - 1] == &s->chores && s->chores.error == 0)
            s->chores_delay = 0;
        s->chores.error = 0;
        /* Whoever waited has been told: this is for the next ones to wait for. */
        db_checkpoint(s->db);
    }
    return NULL;
}

/* ---- the loop ---- */

void store_enqueue(struct store *s, struct request *r) {
    bool first;

    pthread_mutex_lock(&s->lock);
    r->number = s->n_requests++;
    if (r->kind->overtakes) {
        first = !s->overtaking;
        DL_APPEND(s->overtaking, r);
    } else {
        first = !s->pending || (s->n_impatient == 0 && !r->kind->patient);
        DL_APPEND(s->pending, r);
        s->n_pending++;
        s->n_impatient += !r->kind->patient;
    }
    pthread_mutex_unlock(&s->lock);
    /* The thread takes them when it is through with what it has. If it sleeps it is woken once the
     * loop has done what else was ready, which may add more. */
    if (first)
        sd_event_source_set_enabled(s->wake_source, SD_EVENT_ONESHOT);
}

static int on_wake(sd_event_source *source, void *userdata) {
    struct store *s = userdata;

    (void)source;
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void trouble_log(struct store *s, const struct done *d) {
    static const struct log_about about = {.msg_id = MSG_STORE_ERROR};

    if (d->trouble < 0 && d->trouble != s->trouble) {
        s->trouble = d->trouble;
        log_about(LOG_ERR, &about, "the queue's database failed: %s%s", d->trouble_text,
                  d->trouble == -ENOSPC    ? ": make room on its file system, dld then goes on"
                  : d->trouble == -EUCLEAN ? ": it is damaged; stop dld, and restore a"
                                             " backup or run `dld --recover`"
                  : d->trouble == -EIO     ? ": look for disk errors in the kernel's log"
                                           : "");
    } else if (d->trouble == 0 && d->wrote && s->trouble < 0 && s->trouble != -EUCLEAN) {
        s->trouble = 0;
        log_about(LOG_NOTICE, &about, "the queue's database works again");
    }
}

static void ready_deliver(struct store *s, struct done *d) {
    for (size_t i = 0; i < d->n_ready; i++)
        s->settings.ready(s->settings.userdata, &d->ready[i]);
    free(d->ready);
}

static int on_done(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct store *s = userdata;
    struct request *r, *next;
    struct done d;
    uint64_t n;

    (void)source;
    (void)events;
    if (read(fd, &n, sizeof(n)) < 0)
        return 0;
    pthread_mutex_lock(&s->lock);
    d = s->done;
    s->done = (struct done){0};
    if (d.n_ready > READY_MAX)
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);

    memcpy(s->counts, d.counts, sizeof(s->counts));
    trouble_log(s, &d);
    ready_deliver(s, &d);
    if (d.leftovers)
        s->settings.leftover(s->settings.userdata);
    DL_FOREACH_SAFE(d.requests, r, next) {
        if (r->kind->deliver)
            r->kind->deliver(r);
        request_free(r);
    }
    return 0;
}

const char *store_id(const struct store *s) {
    return s->db->id;
}

void store_set_keep(struct store *s, uint64_t age, uint64_t count) {
    pthread_mutex_lock(&s->lock);
    s->keep_age = age;
    s->keep_count = count;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void store_job_back(struct store *s, int64_t id) {
    given_drop(&s->db->given, id);
}

const uint64_t *store_counts(const struct store *s) {
    return s->counts;
}

/* ---- opening and closing ---- */

/* Without signals: they are the loop's. */
static int thread_start(struct store *s) {
    sigset_t all, old;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0)
        return -r;
    s->started = true;
    pthread_setname_np(s->thread, "store");
    return 0;
}

static int sources_add(struct store *s, sd_event *event) {
    int r;

    s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->done_fd < 0)
        return -errno;
    r = sd_event_add_io(event, &s->done_source, s->done_fd, EPOLLIN, on_done, s);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(s->done_source, true);
    if (r >= 0)
        r = sd_event_add_defer(event, &s->wake_source, on_wake, s);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(s->wake_source, true);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->wake_source, SD_EVENT_OFF);
    return r;
}

static void store_closep(struct store **s) {
    store_close(*s);
}

int store_open(struct store **ret, sd_event *event, const char *state_dir,
               const struct store_settings *settings, char **ret_why) {
    _cleanup_(store_closep) struct store *s = calloc(1, sizeof(*s));
    char *why = NULL;
    int r;

    *ret_why = NULL;
    if (!s)
        return -ENOMEM;
    s->settings = *settings;
    s->keep_age = settings->keep_age;
    s->keep_count = settings->keep_count;
    s->done_fd = -1;
    s->chores.kind = &chores_kind;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL); /* on CLOCK_REALTIME, as due times are */

    r = db_open(&s->db, state_dir, &why);
    if (r >= 0) {
        memcpy(s->counts, s->db->now.counts, sizeof(s->counts));
        r = sources_add(s, event);
    }
    if (r >= 0)
        r = thread_start(s);
    if (r < 0) {
        if (!why && asprintf(&why, "the queue can't be opened: %s", strerror(-r)) < 0)
            why = NULL;
        *ret_why = why;
        return r;
    }
    *ret = TAKE_PTR(s);
    return 0;
}

void store_settled(struct store *s) {
    s->settled = true;
}

struct store *store_close(struct store *s) {
    if (!s)
        return NULL;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    sd_event_source_disable_unref(s->wake_source);
    sd_event_source_disable_unref(s->done_source);
    requests_free(s->done.requests);
    free(s->done.ready);
    if (s->settled)
        (void)db_settle(s->db); /* else there is a doubt too many */
    fault_point(store_settled);
    db_close(s->db);
    close_fd(s->done_fd);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}
