#include "daemon/methods.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The methods that change jobs. */
struct change_kind {
    enum store_change what;
    enum dispatch_wish wish; /* what becomes of active ones */
    bool to_active;          /* the wish is made to those that a worker has */
    const char *changed;     /* key of the answer: how many were changed */
    const char *unfit;       /* and which of those asked for by ids were not in a state for it */
};

static const struct change_kind cancel_kind = {STORE_CANCEL, WISH_CANCEL, true, "cancelled",
                                               "ended"};
static const struct change_kind pause_kind = {STORE_PAUSE, WISH_PAUSE, true, "paused", "ended"};
static const struct change_kind resume_kind = {STORE_RESUME, WISH_NONE, true, "resumed",
                                               "unpaused"};
static const struct change_kind retry_kind = {STORE_RETRY, WISH_NONE, false, "retried", "unended"};
static const struct change_kind priority_kind = {STORE_PRIORITY, WISH_NONE, false, "changed",
                                                 "ended"};
static const struct change_kind rate_kind = {STORE_RATE, WISH_NONE, false, "changed", "ended"};

static const char *const choices[] = {"ids", "batch", "tag", "host", "all", NULL};

/* A request that changes jobs, in steps of the store. */
struct change {
    struct methods *methods;
    struct request *request;
    const struct change_kind *kind;
    int64_t value; /* for the store */
    struct params_choice choice;
    int64_t *active; /* ids that the workers were told of; in order */
    size_t n_active;
    struct store_cursor after;
    uint64_t n_changed;
    int64_t *left; /* of choice.ids: those that did not change */
    size_t n_left;
};

static void change_free(struct change *c) {
    params_choice_done(&c->choice);
    free(c->active);
    free(c->left);
    free(c);
}

static void change_fail(struct change *c, int error) {
    if (error == -ENOENT)
        request_fail(c->request, RPC_NOT_FOUND, "there is no batch %" PRId64, c->choice.batch);
    else
        request_fail_store(c->request, error);
    change_free(c);
}

/* ---- the answer ---- */

static bool contains(const int64_t *ids, size_t n, int64_t id) {
    for (size_t low = 0, high = n; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (ids[middle] == id)
            return true;
        if (ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool listed(const struct store_list *list, int64_t id) {
    for (size_t i = 0; i < list->n_jobs; i++)
        if (list->jobs[i]->id == id)
            return true;
    return false;
}

/* The ids left that the store has, or has not. */
static void write_left(struct change *c, struct buf *b, const char *key,
                       const struct store_list *found, bool has) {
    json_begin(b, key, '[');
    for (size_t i = 0; i < c->n_left; i++)
        if (listed(found, c->left[i]) == has)
            json_int(b, NULL, c->left[i]);
    json_end(b, ']');
}

static void change_answer(struct change *c, const struct store_list *found) {
    struct buf *b = request_reply(c->request);

    json_begin(b, "result", '{');
    json_int(b, c->kind->changed, (int64_t)(c->n_changed + c->n_active));
    if (c->choice.ids) {
        write_left(c, b, "missing", found, false);
        write_left(c, b, c->kind->unfit, found, true);
    }
    json_end(b, '}');
    request_done(c->request);
    change_free(c);
}

static void on_left(void *userdata, int error, const struct store_list *list) {
    struct change *c = userdata;

    if (error < 0) {
        change_fail(c, error);
        return;
    }
    change_answer(c, list);
    job_free_many(list->jobs, list->n_jobs);
}

static void change_done(struct change *c) {
    struct store_filter filter = {
        .state = -1, .ids = c->left, .n_ids = c->n_left, .limit = c->n_left};
    struct store_list none = {.n_jobs = 0};
    int r = 0;

    if (c->n_left == 0)
        change_answer(c, &none);
    else if ((r = store_list(c->methods->store, &filter, on_left, c)) < 0)
        change_fail(c, r);
}

/* ---- the change ---- */

static void change_step(struct change *c);

static void leave_out(struct change *c, const int64_t *ids, size_t n) {
    size_t kept = 0;

    for (size_t i = 0; i < c->n_left; i++)
        if (!contains(ids, n, c->left[i]))
            c->left[kept++] = c->left[i];
    c->n_left = kept;
}

static void on_changed(void *userdata, int error, const int64_t *ids, size_t n,
                       const struct store_cursor *next) {
    struct change *c = userdata;

    if (error < 0) {
        change_fail(c, error);
        return;
    }
    for (size_t i = 0; i < n; i++)
        c->n_changed += !contains(c->active, c->n_active, ids[i]);
    leave_out(c, ids, n);
    if (c->kind->what == STORE_RATE)
        dispatch_set_rate(c->methods->dispatch, ids, n, (uint64_t)c->value);
    else if (c->kind->what == STORE_RESUME)
        dispatch_resumed(c->methods->dispatch, ids, n);
    else if (c->kind->what != STORE_RETRY)
        dispatch_changed(c->methods->dispatch, ids, n, c->kind->wish);
    if (c->kind->what == STORE_CANCEL)
        watches_cancelled(c->methods->watches, ids, n);
    c->after = *next;
    if (next->id)
        change_step(c);
    else
        change_done(c);
}

/* Of all jobs that could be, only those that failed are tried again. */
static int state_wanted(const struct change *c) {
    return c->kind->what == STORE_RETRY && !c->choice.ids && !c->choice.batch ? JOB_FAILED : -1;
}

static void change_step(struct change *c) {
    struct store_filter filter = {
        .batch = c->choice.batch,
        .state = state_wanted(c),
        .tag = c->choice.tag,
        .host = c->choice.host,
        .ids = c->choice.ids,
        .n_ids = c->choice.n_ids,
        .after = c->after,
        .limit = STORE_STEP,
    };
    int r;

    if (c->kind->what != STORE_RESUME) { /* a job can have been paused in the store as it was started */
        filter.except = c->active;
        filter.n_except = c->n_active;
    }
    r = store_change(c->methods->store, &filter, c->kind->what, c->value, on_changed, c);

    if (r < 0)
        change_fail(c, r);
}

static void on_batch_known(void *userdata, int error, const struct store_batch *batch) {
    struct change *c = userdata;

    if (error == 0 && !batch->complete)
        error = -ENOENT;
    if (error < 0)
        change_fail(c, error);
    else
        change_step(c);
}

/* What runs is the workers'. */
static int tell_workers(struct change *c) {
    struct dispatch_choice choice = {
        .ids = c->choice.ids,
        .n_ids = c->choice.n_ids,
        .batch = c->choice.batch,
        .tag = c->choice.tag,
        .host = c->choice.host,
    };

    c->active = dispatch_wish(c->methods->dispatch, &choice, c->kind->wish, &c->n_active);
    if (!c->active)
        return -ENOMEM;
    leave_out(c, c->active, c->n_active);
    return 0;
}

static int remember_ids(struct change *c) {
    if (!c->choice.ids)
        return 0;
    c->left = malloc(c->choice.n_ids * sizeof(*c->left));
    if (!c->left)
        return -ENOMEM;
    memcpy(c->left, c->choice.ids, c->choice.n_ids * sizeof(*c->left));
    c->n_left = c->choice.n_ids;
    return 0;
}

static void change_start(struct request *request, const json_t *params, struct methods *m,
                         const struct change_kind *kind, int64_t value) {
    struct change *c = calloc(1, sizeof(*c));
    struct params_error err;
    int r;

    if (!c) {
        request_fail_memory(request);
        return;
    }
    *c = (struct change){.methods = m, .request = request, .kind = kind, .value = value};
    if (params_choice(params, choices, &c->choice, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        change_free(c);
        return;
    }
    r = remember_ids(c);
    if (r == 0 && kind->to_active)
        r = tell_workers(c);
    if (r == 0 && c->choice.batch)
        r = store_batch_get(m->store, c->choice.batch, on_batch_known, c);
    else if (r == 0)
        change_step(c);
    if (r < 0)
        change_fail(c, r);
}

static void change_by_choice(struct request *request, const json_t *params, struct methods *m,
                             const struct change_kind *kind) {
    struct params_error err;

    if (params_only(params, choices, &err) < 0)
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
    else
        change_start(request, params, m, kind, 0);
}

void method_cancel(struct request *request, const json_t *params, void *userdata) {
    change_by_choice(request, params, userdata, &cancel_kind);
}

void method_pause(struct request *request, const json_t *params, void *userdata) {
    change_by_choice(request, params, userdata, &pause_kind);
}

void method_resume(struct request *request, const json_t *params, void *userdata) {
    change_by_choice(request, params, userdata, &resume_kind);
}

void method_retry(struct request *request, const json_t *params, void *userdata) {
    change_by_choice(request, params, userdata, &retry_kind);
}

void change_priority(struct request *request, const json_t *params, struct methods *m,
                     int64_t priority) {
    change_start(request, params, m, &priority_kind, priority);
}

void change_rate(struct request *request, const json_t *params, struct methods *m, uint64_t rate) {
    change_start(request, params, m, &rate_kind, (int64_t)rate);
}
