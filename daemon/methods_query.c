#include "daemon/methods.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST_MAX 1000
#define LIST_BYTES (512 * KIB) /* of URLs and of what came with them: longer lists are cut */

struct query {
    struct methods *methods;
    struct request *request;
    int64_t id; /* of the job or batch asked for */
    int state;  /* wanted, -1: any */
    size_t limit;
    int64_t *active; /* ids asked for, as they were active: then next is the last of them */
    size_t n_active;
};

static struct query *query_new(struct request *request, struct methods *m) {
    struct query *q = calloc(1, sizeof(*q));

    if (!q) {
        request_fail_memory(request);
        return NULL;
    }
    q->methods = m;
    q->request = request;
    return q;
}

static void query_free(struct query *q) {
    free(q->active);
    free(q);
}

/* ---- list ---- */

/* Appends the job if, with what is known of it here, it is one of those wanted. */
static void list_job(const struct query *q, struct buf *b, struct job *job) {
    struct job_progress progress;
    bool active = dispatch_overlay(q->methods->dispatch, job, &progress);
    int state = job->state == JOB_STAGED ? JOB_QUEUED : (int)job->state;

    if (q->state >= 0 && q->state != state)
        return;
    job_to_json(b, NULL, job, active ? &progress : NULL);
    json_end(b, '}');
}

static void on_list(void *userdata, int error, const struct store_list *list) {
    struct query *q = userdata;
    int64_t next;
    struct buf *b;

    if (error < 0) {
        request_fail_store(q->request, error);
        query_free(q);
        return;
    }
    b = request_reply(q->request);
    json_begin(b, "result", '{');
    json_begin(b, "jobs", '[');
    for (size_t i = 0; i < list->n_jobs; i++)
        list_job(q, b, list->jobs[i]);
    json_end(b, ']');
    next = !q->active || list->cut    ? list->next.id
           : q->n_active == q->limit ? q->active[q->n_active - 1]
                                     : 0;
    if (next)
        json_int(b, "next", next);
    else
        json_none(b, "next");
    json_end(b, '}');
    request_done(q->request);
    job_free_many(list->jobs, list->n_jobs);
    query_free(q);
}

/* Active jobs are known here, not in the store: they are asked for by their ids. */
static int choose_active(struct query *q, struct store_filter *filter) {
    q->active = dispatch_active_ids(q->methods->dispatch, filter->after.id, &q->n_active);
    if (!q->active)
        return -ENOMEM;
    q->n_active = MIN(q->n_active, q->limit);
    filter->ids = q->active;
    filter->n_ids = q->n_active;
    filter->state = -1;
    return 0;
}

static int list_params(const json_t *params, struct store_filter *filter,
                       struct params_error *err) {
    static const char *const known[] = {"state", "batch", "tag", "after", "limit", NULL};
    int64_t limit = LIST_MAX;
    const char *state = NULL;
    int r = params_only(params, known, err);

    if (r == 0)
        r = params_str(params, "state", 32, &state, err);
    if (r == 0)
        r = params_int(params, "batch", 1, INT64_MAX, &filter->batch, err);
    if (r == 0)
        r = params_str(params, "tag", 255, &filter->tag, err);
    if (r == 0)
        r = params_int(params, "after", 0, INT64_MAX, &filter->after.id, err);
    if (r == 0)
        r = params_int(params, "limit", 1, LIST_MAX, &limit, err);
    filter->limit = (size_t)limit;
    if (r == 0 && state) {
        enum job_state s;

        r = job_state_parse(state, &s);
        if (r < 0)
            snprintf(err->text, sizeof(err->text),
                     "params.state: expected queued, waiting, paused, active, done, failed or "
                     "cancelled");
        else
            filter->state = (int)s;
    }
    return r;
}

void method_list(struct request *request, const json_t *params, void *userdata) {
    struct store_filter filter = {.state = -1, .bytes = LIST_BYTES};
    struct params_error err;
    struct query *q;
    int r = list_params(params, &filter, &err);

    if (r < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    q = query_new(request, userdata);
    if (!q)
        return;
    q->state = filter.state;
    q->limit = filter.limit;
    if (filter.state == JOB_ACTIVE)
        r = choose_active(q, &filter);
    if (r == 0)
        r = store_list(q->methods->store, &filter, on_list, q);
    if (r < 0) {
        request_fail_memory(request);
        query_free(q);
    }
}

/* ---- show ---- */

static void write_known(struct buf *b, const char *key, unsigned n) {
    if (n)
        json_int(b, key, n);
    else
        json_none(b, key);
}

static void write_attempt(struct buf *b, unsigned number, const char *outcome,
                          const struct job_result *a) {
    json_begin(b, NULL, '{');
    json_int(b, "attempt", number);
    json_str(b, "outcome", outcome);
    json_time(b, "started", a->started);
    json_time(b, "finished", a->finished);
    write_known(b, "worker", a->worker);
    write_known(b, "http_status", a->http_status);
    json_int(b, "bytes", (int64_t)a->bytes);
    if (a->error) {
        json_begin(b, "error", '{');
        json_str(b, "name", error_name(a->error));
        json_str(b, "message", a->message ? a->message : error_sentence(a->error));
        json_end(b, '}');
    } else {
        json_none(b, "error");
    }
    json_end(b, '}');
}

/* The attempts that failed and were followed by another or by a wait, and the one that was the
 * job's end. */
static void write_history(struct buf *b, const struct job *job, const struct store_list *list) {
    uint64_t last = 0;
    unsigned n = 0;

    json_begin(b, "history", '[');
    for (size_t i = 0; i < list->n_attempts; i++) {
        last = list->attempts[i].result.started;
        write_attempt(b, ++n, "failed", &list->attempts[i].result);
    }
    if (job_state_ended(job->state) && job->result.started && job->result.started != last)
        write_attempt(b, MAX(job->attempts, n + 1), job_state_name(job->state), &job->result);
    json_end(b, ']');
}

static void write_show(struct query *q, struct job *job, const struct store_list *list) {
    struct job_progress progress;
    bool active = dispatch_overlay(q->methods->dispatch, job, &progress);
    struct buf *b = request_reply(q->request);

    job_to_json(b, "result", job, active ? &progress : NULL);
    write_history(b, job, list);
    json_end(b, '}');
    request_done(q->request);
}

static void on_show(void *userdata, int error, const struct store_list *list) {
    struct query *q = userdata;

    if (error < 0)
        request_fail_store(q->request, error);
    else if (list->n_jobs == 0)
        request_fail(q->request, RPC_NOT_FOUND, "there is no job %" PRId64, q->id);
    else
        write_show(q, list->jobs[0], list);
    if (error == 0)
        job_free_many(list->jobs, list->n_jobs);
    query_free(q);
}

void method_show(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"id", NULL};
    struct params_error err;
    struct store_filter filter = {.state = -1, .limit = 1, .history = true};
    struct query *q;
    int64_t id = 0;

    if (params_only(params, known, &err) < 0 ||
        params_int(params, "id", 1, INT64_MAX, &id, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    if (!id) {
        request_fail(request, RPC_INVALID_PARAMS, "params.id: expected the id of a job");
        return;
    }
    q = query_new(request, userdata);
    if (!q)
        return;
    q->id = id;
    filter.ids = &id;
    filter.n_ids = 1;
    if (store_list(q->methods->store, &filter, on_show, q) < 0) {
        request_fail_memory(request);
        query_free(q);
    }
}

/* ---- status ---- */

static void write_workers(const struct methods *m, struct buf *b) {
    json_begin(b, "workers", '[');
    for (unsigned i = 0; i < pool_n_workers(m->pool); i++) {
        struct pool_worker_info w;

        pool_worker_info(m->pool, i, &w);
        json_begin(b, NULL, '{');
        json_int(b, "worker", w.number);
        json_int(b, "pid", w.pid);
        json_str(b, "state", w.state);
        json_int(b, "jobs", w.jobs);
        json_int(b, "active", w.active);
        json_int(b, "speed", (int64_t)w.speed);
        json_int(b, "done", (int64_t)w.done);
        json_int(b, "restarts", w.restarts);
        json_end(b, '}');
    }
    json_end(b, ']');
}

/* A job that was paused is active until its worker has let go of it. */
static void write_counts(const struct methods *m, struct buf *b,
                         const struct dispatch_activity *active) {
    uint64_t n[JOB_STATE_MAX_];

    memcpy(n, store_counts(m->store), sizeof(n));
    n[JOB_ACTIVE] = active->queued + active->paused;
    n[JOB_QUEUED] -= MIN(n[JOB_QUEUED], (uint64_t)active->queued);
    n[JOB_PAUSED] -= MIN(n[JOB_PAUSED], (uint64_t)active->paused);
    json_begin(b, "jobs", '{');
    for (enum job_state s = JOB_QUEUED; s <= JOB_CANCELLED; s++)
        json_int(b, job_state_name(s), (int64_t)n[s]);
    json_end(b, '}');
}

static void write_batch(const struct methods *m, struct buf *b, const struct store_batch *batch) {
    uint64_t end = batch->finished ? batch->finished : now_usec(CLOCK_REALTIME);
    struct dispatch_activity active = dispatch_activity(m->dispatch, batch->id);

    json_begin(b, "batch", '{');
    json_int(b, "batch", batch->id);
    json_int(b, "count", (int64_t)batch->count);
    json_int(b, "done", (int64_t)batch->done);
    json_int(b, "failed", (int64_t)batch->failed);
    json_int(b, "cancelled", (int64_t)batch->cancelled);
    json_int(b, "bytes", (int64_t)batch->bytes);
    json_int(b, "active", active.queued + active.paused);
    json_int(b, "active_bytes", (int64_t)active.bytes);
    json_int(b, "speed", (int64_t)active.speed);
    json_bool(b, "complete", batch->complete);
    json_num(b, "seconds", (double)(MAX(end, batch->created) - batch->created) / 1e6);
    json_end(b, '}');
}

/* batch may be NULL. */
static void write_status(const struct methods *m, struct request *request,
                         const struct store_batch *batch) {
    struct buf *b = request_reply(request);
    struct dispatch_activity active = dispatch_activity(m->dispatch, 0);

    json_begin(b, "result", '{');
    json_str(b, "version", DLD_VERSION);
    json_int(b, "pid", getpid());
    json_num(b, "uptime", (double)(now_usec(CLOCK_MONOTONIC) - m->started) / 1e6);
    json_int(b, "speed", (int64_t)active.speed);
    json_bool(b, "draining", dispatch_draining(m->dispatch));
    rate_to_json(b, m->rates);
    write_workers(m, b);
    write_counts(m, b, &active);
    if (batch)
        write_batch(m, b, batch);
    json_end(b, '}');
    request_done(request);
}

static void on_status_batch(void *userdata, int error, const struct store_batch *batch) {
    struct query *q = userdata;

    if (error == -ENOENT)
        request_fail(q->request, RPC_NOT_FOUND, "there is no batch %" PRId64, q->id);
    else if (error < 0)
        request_fail_store(q->request, error);
    else
        write_status(q->methods, q->request, batch);
    query_free(q);
}

void method_status(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"batch", NULL};
    struct params_error err;
    struct query *q;
    int64_t batch = 0;

    if (params_only(params, known, &err) < 0 ||
        params_int(params, "batch", 1, INT64_MAX, &batch, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    if (!batch) {
        write_status(userdata, request, NULL);
        return;
    }
    q = query_new(request, userdata);
    if (!q)
        return;
    q->id = batch;
    if (store_batch_get(q->methods->store, batch, on_status_batch, q) < 0) {
        request_fail_memory(request);
        query_free(q);
    }
}
