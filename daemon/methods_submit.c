#include "common/fault.h"
#include "daemon/methods.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_MAX_JOBS 10000
#define KEY_MAX_BYTES 64

struct submission {
    struct methods *methods;
    struct request *request;
    bool watch, brief, last;
};

static void on_submitted(void *userdata, int error, const struct store_batch *batch,
                         const int64_t *ids, size_t n_ids) {
    struct submission *s = userdata;
    struct buf *b;

    if (error == -EINVAL)
        request_fail(
            s->request, RPC_INVALID_PARAMS,
            "params.offset: this chunk does not follow what has come in under its submit_key:"
            " submit again from the first job");
    else if (error == -EDQUOT)
        request_fail(s->request, RPC_QUOTA,
                     "user %u would have more than %" PRIu64
                     " jobs that have not ended ([quota] jobs); wait until some have",
                     (unsigned)request_uid(s->request), s->methods->quota);
    else if (error < 0)
        request_fail_store(s->request, error);
    if (error < 0) {
        free(s);
        return;
    }
    fault_point(submit_committed);
    if (s->watch && s->last)
        watches_follow(s->methods->watches, request_client(s->request), batch, s->brief);
    b = request_reply(s->request);
    json_begin(b, "result", '{');
    json_int(b, "batch", batch->id);
    json_int(b, "count", (int64_t)batch->count);
    if (s->last && ids) {
        json_begin(b, "ids", '[');
        for (size_t i = 0; i < n_ids; i++)
            json_int(b, NULL, ids[i]);
        json_end(b, ']');
    }
    json_end(b, '}');
    request_done(s->request);
    free(s);
}

/* "jobs" may be an array or a lone object, whose errors need no index. */
static int parse_jobs(const json_t *jobs, const json_t *defaults, struct store_chunk *chunk,
                      struct job_error *err) {
    bool lone = json_is_object(jobs);
    size_t n = lone ? 1 : json_array_size(jobs);
    int r = 0;

    chunk->jobs = calloc(n ? n : 1, sizeof(*chunk->jobs));
    if (!chunk->jobs)
        return -ENOMEM;
    for (size_t i = 0; i < n && r == 0; i++) {
        int64_t index = (int64_t)(chunk->offset + i);
        char place[32] = "";

        if (!lone)
            snprintf(place, sizeof(place), "jobs[%" PRId64 "]", index);
        r = job_new_parse(lone ? jobs : json_array_get(jobs, i), defaults, place, index,
                          &chunk->jobs[i], err);
        if (r == 0)
            chunk->n_jobs++;
    }
    return r;
}

static int check_jobs(const json_t *jobs, const struct store_chunk *chunk,
                      struct params_error *err) {
    size_t n = json_array_size(jobs);

    if (!json_is_object(jobs) && !json_is_array(jobs))
        snprintf(err->text, sizeof(err->text),
                 "params.jobs: expected an array of jobs, or one job");
    else if (n > CHUNK_MAX_JOBS)
        snprintf(err->text, sizeof(err->text),
                 "params.jobs: more than %d jobs; send them in chunks", CHUNK_MAX_JOBS);
    else if (json_is_array(jobs) && n == 0 && !(chunk->last && chunk->offset > 0))
        snprintf(err->text, sizeof(err->text), "params.jobs: there are no jobs");
    else
        return 0;
    return -EINVAL;
}

static int parse_params(const json_t *params, struct store_chunk *chunk, struct submission *s,
                        struct params_error *err) {
    static const char *const known[] = {"jobs", "defaults", "submit_key", "offset",
                                        "last", "watch",    "brief",      NULL};
    const char *key = NULL;
    int64_t offset = 0;
    int r = params_only(params, known, err);

    chunk->last = true;
    if (r == 0)
        r = params_str(params, "submit_key", KEY_MAX_BYTES, &key, err);
    if (r == 0)
        r = params_int(params, "offset", 0, INT64_MAX / 2, &offset, err);
    if (r == 0)
        r = params_bool(params, "last", &chunk->last, err);
    if (r == 0)
        r = params_bool(params, "watch", &s->watch, err);
    if (r == 0)
        r = params_bool(params, "brief", &s->brief, err);
    chunk->offset = (uint64_t)offset;
    if (r == 0 && !key && (offset > 0 || !chunk->last)) {
        snprintf(err->text, sizeof(err->text), "params.submit_key: needed to send jobs in chunks");
        r = -EINVAL;
    }
    if (r == 0)
        r = check_jobs(json_object_get(params, "jobs"), chunk, err);
    if (r == 0 && key) {
        chunk->submit_key = strdup(key);
        r = chunk->submit_key ? 0 : -ENOMEM;
    }
    return r;
}

static void store_chunk_freep(struct store_chunk **c) {
    store_chunk_free(*c);
}

void method_submit(struct request *request, const json_t *params, void *userdata) {
    _cleanup_(store_chunk_freep) struct store_chunk *chunk = calloc(1, sizeof(*chunk));
    const json_t *defaults = json_object_get(params, "defaults");
    struct submission s = {.methods = userdata, .request = request}, *copy;
    struct params_error err;
    struct job_error job_err = {.index = -1};
    int r = chunk ? parse_params(params, chunk, &s, &err) : -ENOMEM;

    if (s.methods->stopping) {
        request_fail(request, RPC_STOPPING, "the daemon is stopping and takes no jobs");
        return;
    }
    if (r == -EINVAL) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    if (r == 0 && defaults)
        r = job_defaults_check(defaults, &job_err);
    if (r == 0)
        r = parse_jobs(json_object_get(params, "jobs"), defaults, chunk, &job_err);
    if (r == -EINVAL) {
        if (chunk->submit_key) /* out of memory: it is given up later, as if no more had come */
            (void)store_abandon(s.methods->store, request_uid(request), chunk->submit_key);
        request_fail_at(request, RPC_INVALID_PARAMS, job_err.index, job_err.text);
        return;
    }
    copy = r == 0 ? malloc(sizeof(*copy)) : NULL;
    if (!copy) {
        request_fail_memory(request);
        return;
    }
    s.last = chunk->last;
    *copy = s;
    fault_point(submit_received);
    chunk->uid = request_uid(request);
    chunk->max_unended = chunk->uid == 0 ? 0 : s.methods->quota;
    chunk->created = now_usec(CLOCK_REALTIME);
    if (store_submit(s.methods->store, TAKE_PTR(chunk), on_submitted, copy) < 0) {
        free(copy);
        request_fail_memory(request);
    }
}
