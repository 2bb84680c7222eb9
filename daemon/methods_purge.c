#include "daemon/methods.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct purge {
    struct methods *methods;
    struct request *request;
    struct params_choice choice;
    int state;
    uint64_t n_purged;
};

static void purge_free(struct purge *p) {
    params_choice_done(&p->choice);
    free(p);
}

static void purge_step(struct purge *p, const struct store_cursor *after);

static void on_purged(void *userdata, int error, const int64_t *ids, size_t n,
                      const struct store_cursor *next) {
    struct purge *p = userdata;
    struct buf *b;

    (void)ids;
    if (error < 0) {
        request_fail_store(p->request, error);
        purge_free(p);
        return;
    }
    p->n_purged += n;
    if (next->id) {
        purge_step(p, next);
        return;
    }
    b = request_reply(p->request);
    json_begin(b, "result", '{');
    json_int(b, "purged", (int64_t)p->n_purged);
    json_end(b, '}');
    request_done(p->request);
    purge_free(p);
}

static void purge_step(struct purge *p, const struct store_cursor *after) {
    struct store_filter filter = {
        .batch = p->choice.batch,
        .state = p->state,
        .tag = p->choice.tag,
        .ids = p->choice.ids,
        .n_ids = p->choice.n_ids,
        .after = *after,
        .limit = STORE_STEP,
    };

    if (store_purge(p->methods->store, &filter, on_purged, p) < 0) {
        request_fail_memory(p->request);
        purge_free(p);
    }
}

static int purge_params(const json_t *params, struct purge *p, struct params_error *err) {
    static const char *const known[] = {"ids", "batch", "tag", "all", "state", NULL};
    const char *state = NULL;
    enum job_state s;
    int r = params_only(params, known, err);

    if (r == 0)
        r = params_str(params, "state", 32, &state, err);
    if (r == 0)
        r = params_choice(params, known, &p->choice, err);
    if (r < 0 || !state)
        return r;
    if (job_state_parse(state, &s) < 0 || !job_state_ended(s)) {
        snprintf(err->text, sizeof(err->text),
                 "params.state: expected done, failed or cancelled: other jobs have not ended");
        return -EINVAL;
    }
    p->state = (int)s;
    return 0;
}

static void on_batch_known(void *userdata, int error, const struct store_batch *batch) {
    struct purge *p = userdata;

    if (error == 0 && batch->complete) {
        purge_step(p, &(struct store_cursor){0});
        return;
    }
    if (error == 0 || error == -ENOENT)
        request_fail(p->request, RPC_NOT_FOUND, "there is no batch %" PRId64, p->choice.batch);
    else
        request_fail_store(p->request, error);
    purge_free(p);
}

void method_purge(struct request *request, const json_t *params, void *userdata) {
    struct purge *p = calloc(1, sizeof(*p));
    struct params_error err;

    if (!p) {
        request_fail_memory(request);
        return;
    }
    *p = (struct purge){.methods = userdata, .request = request, .state = -1};
    if (purge_params(params, p, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        purge_free(p);
        return;
    }
    if (!p->choice.batch) {
        purge_step(p, &(struct store_cursor){0});
    } else if (store_batch_get(p->methods->store, p->choice.batch, on_batch_known, p) < 0) {
        request_fail_memory(p->request);
        purge_free(p);
    }
}
