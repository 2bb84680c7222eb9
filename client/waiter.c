#include "client/waiter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/ended.h"
#include "client/format.h"
#include "client/print.h"
#include "client/table.h"
#include "common/exitcode.h"

#define PAGE_JOBS 1000
#define IDLE_MSEC 60000

void waiter_init(struct waiter *w, const struct dlctl *c, struct rpc *rpc,
                 const struct selection *jobs) {
    *w = (struct waiter){.c = c, .rpc = rpc, .jobs = jobs, .first_seconds = -1};
    w->started = now_usec(CLOCK_MONOTONIC);
    w->started_wall = (double)now_usec(CLOCK_REALTIME) / USEC_PER_SEC;
    progress_init(&w->progress);
}

void waiter_done(struct waiter *w) {
    idset_done(&w->printed);
    json_decref(TAKE_PTR(w->sum));
}

static double waiter_seconds(const struct waiter *w) {
    return (double)(now_usec(CLOCK_MONOTONIC) - w->started) / USEC_PER_SEC;
}

static bool waiter_is_batch(const struct waiter *w) {
    return !w->jobs->all && w->jobs->n_ids == 0;
}

/* A job that may have ended, from a notification or a list; job is only needed for --json. */
static int waiter_ended(struct waiter *w, const struct ended *e, const json_t *job) {
    const char *state = e->state;
    int64_t number = waiter_is_batch(w) ? e->index : e->id;
    uint64_t *counter = NULL;
    int r;

    if (state && streq(state, "done"))
        counter = &w->done;
    else if (state && streq(state, "failed"))
        counter = &w->failed;
    else if (state && streq(state, "cancelled"))
        counter = &w->cancelled;
    if (!counter || number < 0)
        return 0;
    r = idset_add(&w->printed, (uint64_t)number);
    if (r <= 0)
        return r;
    ++*counter;
    if (counter == &w->done)
        w->bytes += (uint64_t)MAX(e->bytes, 0);
    progress_clear(&w->progress);
    if (w->c->json)
        print_json(job);
    else
        table_ended(e);
    return 0;
}

static int waiter_job(struct waiter *w, const json_t *job) {
    struct ended e;

    ended_from_json(job, &e);
    return waiter_ended(w, &e, job);
}

/* A notification that is read quickly. With --json there must be a tree to print. */
static int waiter_line(void *userdata, char *line, size_t n) {
    struct ended e;
    int r;

    if (!ended_from_line(line, n, &e))
        return 0;
    r = waiter_ended(userdata, &e, NULL);
    return r < 0 ? r : 1;
}

int waiter_notify(void *userdata, const struct rpc_message *m) {
    struct waiter *w = userdata;

    if (streq(m->method, "job"))
        return waiter_job(w, m->body);
    if (streq(m->method, "end") && w->watched && !w->sum)
        w->sum = json_incref(m->body);
    return 0;
}

static int waiter_send(struct waiter *w, const char *method, struct buf *params, int64_t *ret_id) {
    json_end(params, '}');
    if (buf_error(params))
        return buf_error(params);
    return rpc_send(w->rpc, method, buf_head(params), buf_size(params), ret_id);
}

static int waiter_subscribe(struct waiter *w) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(MIB);

    json_begin(&b, NULL, '{');
    selection_to_json(&b, w->jobs);
    json_bool(&b, "events", true);
    json_bool(&b, "brief", !w->c->json);
    return waiter_send(w, "wait", &b, &w->wait_id);
}

/* Asks for the next of those that may have ended before. */
static int waiter_page(struct waiter *w) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);

    w->page_id = 0;
    json_begin(&b, NULL, '{');
    if (w->jobs->n_ids > 0) {
        w->paging = w->next_id < w->jobs->n_ids;
        if (!w->paging)
            return 0;
        json_int(&b, "id", w->jobs->ids[w->next_id++]);
        return waiter_send(w, "show", &b, &w->page_id);
    }
    if (w->jobs->batch > 0)
        json_int(&b, "batch", w->jobs->batch);
    json_int(&b, "after", w->after);
    json_int(&b, "limit", PAGE_JOBS);
    return waiter_send(w, "list", &b, &w->page_id);
}

static int waiter_list_ended(struct waiter *w) {
    w->paging = true;
    w->after = 0;
    w->next_id = 0;
    return waiter_page(w);
}

/* Of all jobs only those that have ended since the start concern this wait. */
static bool waiter_concerns(const struct waiter *w, const json_t *job) {
    return !w->jobs->all || get_number(job, "finished", 0) >= w->started_wall;
}

static int waiter_take_page(struct waiter *w, json_t *body) {
    const json_t *next = json_object_get(body, "next"), *job;
    size_t i;
    int r = 0;

    if (w->jobs->n_ids > 0) {
        if (body) {
            json_object_del(body, "history"); /* as in notifications */
            r = waiter_job(w, body);
        }
        return r < 0 ? r : waiter_page(w);
    }
    json_array_foreach(json_object_get(body, "jobs"), i, job) {
        if (waiter_concerns(w, job))
            r = waiter_job(w, job);
        if (r < 0)
            return r;
    }
    w->paging = json_is_integer(next) && json_integer_value(next) > w->after;
    w->after = json_integer_value(next);
    return w->paging ? waiter_page(w) : 0;
}

static void add_count(struct buf *b, int64_t n, const char *what) {
    if (n > 0)
        buf_addf(b, ", %" PRId64 " %s", n, what);
}

/* What is left at the pace so far, once that says something. */
static void add_time_left(struct buf *b, struct waiter *w, int64_t ended, int64_t left) {
    double seconds = waiter_seconds(w);
    char text[FORMAT_MAX];

    if (w->first_seconds < 0) {
        w->first_seconds = seconds;
        w->first_ended = ended;
    }
    if (left <= 0 || ended <= w->first_ended || seconds - w->first_seconds < 3)
        return;
    seconds = (double)left * (seconds - w->first_seconds) / (double)(ended - w->first_ended);
    if (seconds < 60)
        buf_addf(b, ", %d s left", (int)seconds + 1);
    else
        buf_addf(b, ", %s left", format_duration(seconds, text));
}

static void waiter_draw(struct waiter *w, const json_t *status) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(4 * KIB);
    const json_t *jobs = json_object_get(status, "jobs"), *batch = json_object_get(status, "batch");
    int64_t ended = (int64_t)w->printed.n, left, failed = (int64_t)w->failed;
    const json_t *from = batch ? batch : status;
    char text[FORMAT_MAX];

    if (batch) {
        failed = get_int(batch, "failed", 0);
        ended = get_int(batch, "done", 0) + failed + get_int(batch, "cancelled", 0);
        left = get_int(batch, "count", 0) - ended;
        buf_addf(&b, "batch %" PRId64 ": ", w->jobs->batch);
    } else if (w->jobs->all) {
        left = get_int(jobs, "queued", 0) + get_int(jobs, "waiting", 0) +
               get_int(jobs, "paused", 0) + get_int(jobs, "active", 0);
    } else {
        left = (int64_t)w->jobs->n_ids - ended;
    }
    buf_addf(&b, "%" PRId64 " of %" PRId64, ended, ended + left);
    add_count(&b, failed, "failed");
    buf_addf(&b, ", %s", format_bytes(batch ? batch_bytes(batch) : w->bytes, text));
    buf_addf(&b, ", %s/s", format_bytes((uint64_t)MAX(get_number(from, "speed", 0), 0), text));
    add_count(&b, get_int(batch ? batch : jobs, "active", 0), "active");
    add_time_left(&b, w, ended, left);
    if (buf_cstr(&b))
        progress_show(&w->progress, buf_head(&b));
}

static int waiter_message(struct waiter *w, const struct rpc_message *m) {
    if (m->taken)
        return 0;
    if (m->method)
        return waiter_notify(w, m);
    if (m->id == w->status_id && m->id != 0) {
        w->status_id = 0;
        if (m->body)
            waiter_draw(w, m->body);
        return 0;
    }
    if (!m->body && w->rpc->error.code == RPC_STOPPING)
        return -ECONNRESET;
    if (m->id == w->page_id && m->id != 0) {
        bool gone = !m->body && w->rpc->error.code == RPC_NOT_FOUND;

        return m->body || gone ? waiter_take_page(w, m->body) : -EREMOTEIO;
    }
    if (!m->body)
        return -EREMOTEIO;
    if (m->id == w->wait_id && !w->sum)
        w->sum = json_incref(m->body);
    return 0;
}

static int waiter_reconnect(struct waiter *w) {
    int r;

    progress_clear(&w->progress);
    r = rpc_recover(w->rpc);
    w->status_id = w->page_id = w->wait_id = 0;
    w->watched = false;
    if (r == 0 && !w->sum)
        r = waiter_subscribe(w);
    return r < 0 ? r : waiter_list_ended(w);
}

static int waiter_ask_status(struct waiter *w) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    uint64_t now = now_usec(CLOCK_MONOTONIC);

    if (!w->progress.on || w->status_id != 0 || now < w->progress.next)
        return 0;
    w->progress.next = now + PROGRESS_MSEC * USEC_PER_MSEC;
    json_begin(&b, NULL, '{');
    if (w->jobs->batch > 0)
        json_int(&b, "batch", w->jobs->batch);
    return waiter_send(w, "status", &b, &w->status_id);
}

/* Handles what the daemon sent, or waits for it once all of that is handled and written out. */
static int waiter_step(struct waiter *w) {
    _cleanup_(rpc_message_done) struct rpc_message m = {0};
    int r = rpc_receive(w->rpc, 0, &m);

    if (r == 0) {
        print_flush();
        r = waiter_ask_status(w);
        if (r == 0)
            r = rpc_receive(w->rpc, w->progress.on ? PROGRESS_MSEC : IDLE_MSEC, &m);
    }
    if (r > 0)
        r = waiter_message(w, &m);
    return rpc_lost(r) ? waiter_reconnect(w) : r;
}

/* Whether every job of the sum was printed; a notification that got lost would show here. */
static bool waiter_complete(const struct waiter *w) {
    return (int64_t)w->printed.n >= get_int(w->sum, "done", 0) + get_int(w->sum, "failed", 0) +
                                        get_int(w->sum, "cancelled", 0);
}

static int waiter_loop(struct waiter *w) {
    int r = 0;

    if (!w->watched) {
        r = waiter_subscribe(w);
        if (r == 0 && !w->jobs->all)
            r = waiter_list_ended(w);
    }
    while (r >= 0) {
        if (w->sum && !w->paging) {
            if (w->jobs->all || w->rechecked || waiter_complete(w))
                return 0;
            w->rechecked = true;
            r = waiter_list_ended(w);
        }
        if (r >= 0)
            r = waiter_step(w);
    }
    return r;
}

/* For all jobs there is no end of the daemon's that fits: the sum is of what was printed. */
static int waiter_own_sum(struct waiter *w) {
    json_t *sum = json_pack("{s:n, s:I, s:I, s:I, s:I, s:f}", "batch", "done", (json_int_t)w->done,
                            "failed", (json_int_t)w->failed, "cancelled", (json_int_t)w->cancelled,
                            "bytes", (json_int_t)w->bytes, "seconds", waiter_seconds(w));

    if (!sum)
        return -ENOMEM;
    json_decref(w->sum);
    w->sum = sum;
    return 0;
}

static int waiter_interrupted(struct waiter *w) {
    progress_clear(&w->progress);
    print_flush();
    if (w->jobs->batch > 0)
        complain("batch %" PRId64
                 " goes on in the daemon; to wait for it again: dlctl wait --batch "
                 "%" PRId64 "; to stop it: dlctl cancel --batch %" PRId64,
                 w->jobs->batch, w->jobs->batch, w->jobs->batch);
    else
        complain("the jobs go on in the daemon; to wait again: dlctl wait %s; to stop them: dlctl cancel %s",
                 w->jobs->all ? "--all" : "IDS", w->jobs->all ? "--all" : "IDS");
    return DLCTL_INTERRUPTED;
}

static int waiter_finish(struct waiter *w, int r) {
    if (r == -EINTR)
        return waiter_interrupted(w);
    progress_clear(&w->progress);
    if (r == 0 && w->jobs->all)
        r = waiter_own_sum(w);
    if (r < 0) {
        print_flush();
        return w->rpc->fd < 0 ? rpc_complain_open(w->rpc, r) : rpc_complain(w->rpc, r);
    }
    if (w->c->json)
        print_json(w->sum);
    else
        table_sum(w->sum);
    print_flush();
    return get_int(w->sum, "failed", 0) + get_int(w->sum, "cancelled", 0) > 0 ? DLCTL_JOB_FAILED
                                                                              : DLCTL_OK;
}

static void wake(int signal) {
    (void)signal; /* that ppoll() returns is all it is for */
}

int waiter_run(struct waiter *w) {
    struct sigaction old_action, action = {.sa_handler = wake};
    sigset_t old_mask, mask;
    int r;

    sigaction(SIGINT, NULL, &old_action);
    if (old_action.sa_handler == SIG_IGN)
        action.sa_handler = SIG_IGN;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, &old_mask);
    sigaction(SIGINT, &action, NULL);
    w->rpc->waiting = &old_mask;
    w->rpc->on_line = w->c->json ? NULL : waiter_line;
    w->rpc->line_userdata = w;
    r = waiter_loop(w);
    w->rpc->waiting = NULL;
    w->rpc->on_line = NULL;
    sigaction(SIGINT, &old_action, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    return waiter_finish(w, r);
}
