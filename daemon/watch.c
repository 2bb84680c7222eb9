#include "daemon/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "daemon/job_json.h"

struct sums {
    uint64_t done, failed, cancelled, bytes;
    uint64_t started, finished; /* usec since the epoch */
};

struct watch {
    struct watches *watches;
    struct client *client;   /* NULL: gone */
    struct request *request; /* to be answered at the end; NULL: a notification "end" */
    bool events, brief;
    bool loaded;                 /* it is known what is still to end */
    bool asking;                 /* the store; the answer refers to this watch */
    struct params_choice choice; /* ids: those still to end */
    uint64_t remaining;          /* of a batch; only an estimate, the store has the last word */
    struct sums sums;
    struct watch *prev, *next;
};

struct watches {
    struct store *store;
    struct watch *list;
    /* Questions to the store for jobs that were cancelled, and how many of these are still to come:
     * before that no watch ends by the store's numbers, which are ahead. */
    size_t n_asked, n_untold;
};

struct watches *watches_new(struct store *store) {
    struct watches *w = calloc(1, sizeof(*w));

    if (w)
        w->store = store;
    return w;
}

static void watch_free(struct watch *w) {
    DL_DELETE(w->watches->list, w);
    params_choice_done(&w->choice);
    free(w);
}

/* Ends the watch; while the store still has a question of it, the memory stays. */
static void watch_drop(struct watch *w) {
    w->client = NULL;
    if (!w->asking)
        watch_free(w);
}

static void watch_fail(struct watch *w, enum rpc_error code, const char *text) {
    if (w->request)
        request_fail(w->request, code, "%s", text);
    w->request = NULL;
    watch_drop(w);
}

struct watches *watches_free(struct watches *ws) {
    struct watch *w, *tmp;

    if (!ws)
        return NULL;
    DL_FOREACH_SAFE(ws->list, w, tmp)
    watch_free(w);
    free(ws);
    return NULL;
}

/* ---- the end ---- */

static void write_sums(struct buf *b, const char *key, const struct watch *w) {
    const struct sums *s = &w->sums;
    uint64_t end = MAX(s->finished, s->started);

    json_begin(b, key, '{');
    if (w->choice.batch)
        json_int(b, "batch", w->choice.batch);
    else
        json_none(b, "batch");
    json_int(b, "done", (int64_t)s->done);
    json_int(b, "failed", (int64_t)s->failed);
    json_int(b, "cancelled", (int64_t)s->cancelled);
    json_int(b, "bytes", (int64_t)s->bytes);
    json_num(b, "seconds", (double)(end - s->started) / 1e6);
    json_end(b, '}');
}

static void watch_finish(struct watch *w) {
    if (w->request) {
        write_sums(request_reply(w->request), "result", w);
        request_done(w->request);
        w->request = NULL;
    } else if (w->client) {
        write_sums(client_notify(w->client, "end"), "params", w);
        client_notified(w->client);
    }
    watch_drop(w);
}

static void sums_add(struct sums *s, const struct job *job) {
    s->done += job->state == JOB_DONE;
    s->failed += job->state == JOB_FAILED;
    s->cancelled += job->state == JOB_CANCELLED;
    s->bytes += job->state == JOB_DONE ? job->result.bytes : 0;
    s->finished = MAX(s->finished, job->result.finished);
}

/* These were cancelled, and their rows are gone. */
static void sums_add_purged(struct sums *s, size_t n) {
    s->cancelled += n;
    s->finished = now_usec(CLOCK_REALTIME);
}

static void watch_tell(struct watch *w, const struct job *job) {
    struct buf *b;

    if (!w->events)
        return;
    b = client_notify(w->client, "job");
    if (w->brief)
        job_to_json_brief(b, "params", job);
    else
        job_to_json(b, "params", job, NULL);
    json_end(b, '}');
    client_notified(w->client);
}

/* ---- a batch: the store counts ---- */

static void on_batch(void *userdata, int error, const struct store_batch *batch) {
    struct watch *w = userdata;

    w->asking = false;
    w->loaded = true;
    if (!w->client) {
        watch_free(w);
        return;
    }
    if (error == -ENOENT || (error == 0 && !batch->complete)) {
        char text[64];

        snprintf(text, sizeof(text), "there is no batch %" PRId64, w->choice.batch);
        watch_fail(w, RPC_NOT_FOUND, text);
        return;
    }
    if (error < 0) {
        watch_fail(w, RPC_STORE, "the queue can't be read; see the daemon's log");
        return;
    }
    w->sums = (struct sums){
        .done = batch->done,
        .failed = batch->failed,
        .cancelled = batch->cancelled,
        .bytes = batch->bytes,
        .started = batch->created,
        .finished = batch->finished,
    };
    w->remaining = batch->count - batch->done - batch->failed - batch->cancelled;
    if (w->remaining == 0 && w->watches->n_asked == 0) /* else it is asked again */
        watch_finish(w);
}

static void ask_batch(struct watch *w) {
    if (w->asking)
        return;
    w->asking = true;
    if (store_batch_get(w->watches->store, w->choice.batch, on_batch, w) < 0) {
        w->asking = false;
        watch_fail(w, RPC_STORE, "out of memory; try again later");
    }
}

/* ---- single jobs: the watch keeps the ids of those still to end ---- */

static bool ids_remove(struct params_choice *c, int64_t id) {
    for (size_t low = 0, high = c->n_ids; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (c->ids[middle] == id) {
            memmove(c->ids + middle, c->ids + middle + 1,
                    (c->n_ids - middle - 1) * sizeof(c->ids[0]));
            c->n_ids--;
            return true;
        }
        if (c->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Both are in order; there are fewer jobs. */
static int64_t first_missing(const struct params_choice *c, const struct store_list *list) {
    size_t i = 0;

    while (i < list->n_jobs && list->jobs[i]->id == c->ids[i])
        i++;
    return c->ids[i];
}

static void watch_missing(struct watch *w, const struct store_list *list) {
    char text[64];

    snprintf(text, sizeof(text), "there is no job %" PRId64, first_missing(&w->choice, list));
    watch_fail(w, RPC_NOT_FOUND, text);
}

/* Keeps those that have not ended. One that is gone was cancelled and purged: other ends are told
 * of without the store. */
static void watch_take_ids(struct watch *w, const struct store_list *list) {
    struct params_choice *c = &w->choice;
    size_t kept = 0;

    for (size_t i = 0, at = 0; i < c->n_ids; i++) {
        while (at < list->n_jobs && list->jobs[at]->id < c->ids[i])
            at++;
        if (at == list->n_jobs || list->jobs[at]->id != c->ids[i]) {
            sums_add_purged(&w->sums, 1);
        } else if (!job_state_ended(list->jobs[at]->state)) {
            c->ids[kept++] = c->ids[i];
        } else {
            if (w->loaded)
                watch_tell(w, list->jobs[at]);
            sums_add(&w->sums, list->jobs[at]);
        }
    }
    c->n_ids = kept;
    w->loaded = true;
    if (kept == 0)
        watch_finish(w);
}

static void on_ids(void *userdata, int error, const struct store_list *list) {
    struct watch *w = userdata;

    w->asking = false;
    if (!w->client)
        watch_free(w);
    else if (error < 0)
        watch_fail(w, RPC_STORE, "the queue can't be read");
    else if (!w->loaded && list->n_jobs != w->choice.n_ids)
        watch_missing(w, list);
    else
        watch_take_ids(w, list);
    if (error == 0)
        job_free_many(list->jobs, list->n_jobs);
}

static void ask_ids(struct watch *w) {
    struct store_filter filter = {
        .state = -1,
        .ids = w->choice.ids,
        .n_ids = w->choice.n_ids,
        .limit = w->choice.n_ids,
    };

    if (w->asking)
        return;
    w->asking = true;
    if (store_list(w->watches->store, &filter, on_ids, w) < 0) {
        w->asking = false;
        watch_fail(w, RPC_STORE, "out of memory; try again later");
    }
}

/* ---- all jobs: the store's numbers tell ---- */

static bool all_ended(const struct watches *ws) {
    const uint64_t *n = store_counts(ws->store);

    return n[JOB_QUEUED] + n[JOB_WAITING] + n[JOB_PAUSED] == 0;
}

static void on_all(void *userdata, int error, const struct store_batch *batch) {
    struct watch *w = userdata;

    (void)error;
    (void)batch;
    w->asking = false;
    if (!w->client)
        watch_free(w);
    else if (all_ended(w->watches) && w->watches->n_asked == 0) /* else it is asked again */
        watch_finish(w);
}

/* The numbers are ahead of the ends that are still to be reported: any answer of the store comes
 * behind those. */
static void ask_all(struct watch *w) {
    if (w->asking || !all_ended(w->watches))
        return;
    w->asking = true;
    if (store_batch_get(w->watches->store, 0, on_all, w) < 0) {
        w->asking = false;
        watch_fail(w, RPC_STORE, "out of memory; try again later");
    }
}

/* ---- */

static struct watch *watch_new(struct watches *ws, struct client *client, struct request *request) {
    struct watch *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->watches = ws;
    w->client = client;
    w->request = request;
    w->sums.started = now_usec(CLOCK_REALTIME);
    DL_APPEND(ws->list, w);
    return w;
}

void watches_wait(struct watches *ws, struct request *request, struct params_choice *choice,
                  bool events, bool brief) {
    struct watch *w = watch_new(ws, request_client(request), request);

    if (!w) {
        request_fail(request, RPC_BUSY, "out of memory; try again later");
        params_choice_done(choice);
        return;
    }
    w->events = events;
    w->brief = brief;
    w->choice = *choice;
    *choice = (struct params_choice){.batch = 0};
    if (w->choice.batch) {
        ask_batch(w);
    } else if (w->choice.ids) {
        ask_ids(w);
    } else {
        w->loaded = true;
        ask_all(w);
    }
}

int watches_follow(struct watches *ws, struct client *client, const struct store_batch *batch,
                   bool brief) {
    struct watch *w = watch_new(ws, client, NULL);

    if (!w)
        return -ENOMEM;
    w->events = true;
    w->brief = brief;
    w->choice.batch = batch->id;
    /* The store's answer tells how many have ended already: none, unless the batch was sent twice.
     */
    ask_batch(w);
    return 0;
}

static bool watch_concerns(struct watch *w, const struct job *job) {
    if (w->choice.batch)
        return w->choice.batch == job->batch;
    return w->choice.all || ids_remove(&w->choice, job->id);
}

static void watch_job_ended(struct watch *w, const struct job *job) {
    watch_tell(w, job);
    if (w->choice.batch) {
        if (w->remaining > 0)
            w->remaining--;
        if (w->remaining == 0)
            ask_batch(w);
        return;
    }
    sums_add(&w->sums, job);
    if (w->choice.all)
        ask_all(w);
    else if (w->choice.n_ids == 0)
        watch_finish(w);
}

void watches_job_ended(struct watches *ws, const struct job *job) {
    struct watch *w, *tmp;

    DL_FOREACH_SAFE(ws->list, w, tmp)
    if (w->client && w->loaded && watch_concerns(w, job))
        watch_job_ended(w, job);
}

/* ---- jobs that were cancelled while no worker had them ---- */

static void watch_ask_again(struct watch *w, size_t n_purged) {
    if (w->choice.batch) {
        ask_batch(w);
    } else if (w->choice.ids) {
        ask_ids(w);
    } else {
        sums_add_purged(&w->sums, n_purged);
        ask_all(w);
    }
}

/* Rows that did not come were purged meanwhile, or could not be read: nobody will tell of them. */
static void on_cancelled(void *userdata, int error, const struct store_list *list) {
    struct watches *ws = userdata;
    struct watch *w, *tmp;
    size_t n_purged;

    for (size_t i = 0; error == 0 && i < list->n_jobs; i++)
        if (list->jobs[i]->state == JOB_CANCELLED) /* and not tried again already */
            watches_job_ended(ws, list->jobs[i]);
    if (error == 0) {
        ws->n_untold -= list->n_jobs;
        job_free_many(list->jobs, list->n_jobs);
    }
    if (--ws->n_asked > 0)
        return;
    n_purged = ws->n_untold;
    ws->n_untold = 0;
    DL_FOREACH_SAFE(ws->list, w, tmp)
    if (w->client && w->loaded && (n_purged > 0 || !w->choice.ids))
        watch_ask_again(w, n_purged);
}

void watches_cancelled(struct watches *ws, const int64_t *ids, size_t n) {
    struct store_filter filter = {.state = -1, .ids = ids, .n_ids = n, .limit = n};
    const struct store_list none = {.n_jobs = 0};

    if (n == 0 || !ws->list)
        return;
    ws->n_asked++;
    ws->n_untold += n;
    if (store_list(ws->store, &filter, on_cancelled, ws) < 0)
        on_cancelled(ws, -ENOMEM, &none);
}

/* ---- */

void watches_client_gone(struct watches *ws, struct client *client) {
    struct watch *w, *tmp;

    DL_FOREACH_SAFE(ws->list, w, tmp)
    if (w->client == client)
        watch_fail(w, RPC_STOPPING, "the client is gone");
}

void watches_stop(struct watches *ws) {
    struct watch *w, *tmp;

    DL_FOREACH_SAFE(ws->list, w, tmp)
    watch_fail(w, RPC_STOPPING, "the daemon is stopping; the jobs stay in the queue");
}
