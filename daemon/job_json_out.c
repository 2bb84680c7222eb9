#include "daemon/job_json.h"

#include <errno.h>
#include <string.h>

#include "common/url.h"
#include "common/util.h"
#include "daemon/json_load.h"

static void json_int_or_null(struct buf *b, const char *key, int64_t n, bool known) {
    if (known)
        json_int(b, key, n);
    else
        json_none(b, key);
}

/* Where a job that isn't done will go, by the preferred URL. It was canonical when it was stored. */
static void put_output_expected(struct buf *b, const struct job *j, const json_t *body) {
    _cleanup_(url_done) struct url url = {0};
    _cleanup_free_ char *path = NULL;
    const char *why, *first = json_string_value(json_array_get(json_object_get(body, "urls"), 0));
    size_t column;
    int r = url_parse(first ? first : j->url, &url, &why, &column);

    if (r == 0)
        r = output_expand(json_string_value(json_object_get(body, "output")), &url, j->id,
                          j->index, &path);
    if (r == -ENOMEM && b->error == 0)
        b->error = r;
    json_str(b, "output", path);
}

static void put_error(struct buf *b, const struct job_result *r) {
    if (r->error == ERR_NONE) {
        json_none(b, "error");
        return;
    }
    json_begin(b, "error", '{');
    json_str(b, "name", error_name(r->error));
    json_str(b, "message", r->message ? r->message : error_sentence(r->error));
    json_end(b, '}');
}

void job_to_json_brief(struct buf *b, const char *key, const struct job *j) {
    const struct job_result *r = &j->result;

    json_begin(b, key, '{');
    json_int(b, "id", j->id);
    json_int(b, "index", (int64_t)j->index);
    json_str(b, "url", j->url);
    json_str(b, "state", job_state_name(j->state));
    json_int_or_null(b, "http_status", r->http_status, r->http_status > 0);
    json_int_or_null(b, "bytes", (int64_t)r->bytes, j->attempts > 0);
    if (j->state == JOB_DONE) {
        json_str(b, "output", r->output);
    } else {
        json_auto_t *body = j->body ? json_loads(j->body, 0, NULL) : NULL;

        put_output_expected(b, j, body);
    }
    put_error(b, r);
    json_int_or_null(b, "worker", r->worker, r->worker > 0);
    json_time(b, "started", r->started);
    json_time(b, "finished", r->finished);
    if (r->skipped)
        json_bool(b, "skipped", true);
}

/* The body's other keys as they are, but those that the results have too, or that may have been
 * changed since. */
static void put_body(struct buf *b, const json_t *body) {
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)body, name, value) {
        _cleanup_free_ char *text = NULL;

        if (streq(name, "output") || streq(name, "size") || streq(name, "priority") ||
            streq(name, "rate_limit"))
            continue;
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (text)
            json_raw(b, name, text, strlen(text));
        else
            b->error = -ENOMEM;
    }
}

void job_to_json(struct buf *b, const char *key, const struct job *j,
                 const struct job_progress *progress) {
    const struct job_result *r = &j->result;
    json_auto_t *body = NULL;
    const json_t *asked_size;
    bool done = j->state == JOB_DONE;
    uint64_t bytes = progress ? progress->bytes : r->bytes;
    int64_t size = progress ? progress->total : r->size;

    if (j->body && !(body = json_load_all(j->body, strlen(j->body), 0, NULL)) && errno == ENOMEM &&
        b->error == 0)
        b->error = -ENOMEM;
    asked_size = json_object_get(body, "size");
    if (size < 0 && asked_size)
        size = json_integer_value(asked_size);
    json_begin(b, key, '{');
    json_int(b, "id", j->id);
    json_int(b, "batch", j->batch);
    json_int(b, "index", (int64_t)j->index);
    json_str(b, "url", j->url);
    json_str(b, "state", job_state_name(j->state));
    json_int(b, "attempts", j->attempts);
    json_int_or_null(b, "http_status", r->http_status, r->http_status > 0);
    json_int_or_null(b, "bytes", (int64_t)bytes, progress || j->attempts > 0);
    json_int_or_null(b, "size", size, size >= 0);
    if (done)
        json_str(b, "output", r->output);
    else
        put_output_expected(b, j, body);
    put_error(b, r);
    json_int_or_null(b, "worker", r->worker, r->worker > 0);
    json_time(b, "created", j->created);
    json_time(b, "started", r->started);
    json_time(b, "finished", job_state_ended(j->state) ? r->finished : 0);
    json_str(b, "effective_url", r->effective_url ? r->effective_url : done ? j->url : NULL);
    json_str(b, "content_type", r->content_type);
    if (r->skipped)
        json_bool(b, "skipped", true);
    if (r->not_modified)
        json_bool(b, "not_modified", true);
    if (r->digest)
        json_str(b, "digest", r->digest);
    if (r->answer)
        json_str(b, "answer", r->answer);
    if (j->state == JOB_WAITING && j->due > 0)
        json_time(b, "due", j->due);
    if (job_priority(j) != 0)
        json_int(b, "priority", job_priority(j));
    if (j->rate_limit > 0)
        json_int(b, "rate_limit", (int64_t)j->rate_limit);
    put_body(b, body);
}
