#include "daemon/job_json.h"

#include <errno.h>
#include <string.h>

#include "common/text.h"
#include "common/util.h"
#include "daemon/job_keys.h"

#define BODY_MAX (256 * KIB) /* beyond what the limits of the keys allow, escapes included */

void job_new_done(struct job_new *j) {
    free(j->url);
    free(j->host);
    free(j->body);
    free(j->tag);
    *j = (struct job_new){0};
}

static int read_defaults(const json_t *defaults, struct job_values *v, struct job_error *err) {
    char found[TEXT_QUOTED_MAX];
    const char *url;
    int r;

    if (!json_is_object(defaults))
        return job_refuse(err, "defaults", NULL, "expected an object, found %s",
                          job_value_text(found, defaults));
    url = json_object_get(defaults, "url")    ? "url"
          : json_object_get(defaults, "urls") ? "urls"
                                              : NULL;
    if (url)
        return job_refuse(err, "defaults", url, "each job has its own, the defaults can't have it");
    r = job_keys_read(defaults, "defaults", v, err);
    if (r < 0)
        return r;
    v->default_headers = TAKE_PTR(v->headers);
    v->own = 0;
    return 0;
}

int job_defaults_check(const json_t *defaults, struct job_error *err) {
    struct job_values v = {.retries = -1};
    int r;

    if (!defaults)
        return 0;
    r = read_defaults(defaults, &v, err);
    if (r >= 0)
        r = job_headers_check_sum(&v, "defaults", err);
    if (r < 0)
        err->index = -1;
    return r;
}

/* Whether the template gives a path that isn't too long for this URL, with the longest numbers. */
static int check_output(const char *output, const struct url *url, const char *place,
                        struct job_error *err) {
    _cleanup_free_ char *path = NULL;
    int r;

    if (!output || (!strchr(output, '{') && strlen(output) < OUTPUT_MAX_BYTES - NAME_MAX_BYTES))
        return 0;
    r = output_expand(output, url, INT64_MAX, UINT64_MAX, &path);
    if (r == -ENAMETOOLONG)
        return job_refuse(err, place, "output",
                          "with this URL it gives a path longer than %d bytes", OUTPUT_MAX_BYTES);
    return r;
}

static void write_headers(struct buf *b, const json_t *headers, const struct job_values *unless) {
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)headers, name, value) {
        if (!unless || !job_header_given(unless, name))
            json_str(b, name, json_string_value(value));
    }
}

/* Milliseconds as seconds. */
static void write_seconds(struct buf *b, const char *name, uint64_t msec) {
    if (msec % 1000 == 0)
        json_int(b, name, (int64_t)(msec / 1000));
    else
        json_num(b, name, (double)msec / 1000);
}

static void write_value(struct buf *b, enum job_key k, const struct job_values *v) {
    const char *name = job_key_names[k];

    switch (k) {
    case KEY_ON_CONFLICT:
        json_str(b, name, on_conflict_name(v->on_conflict));
        break;
    case KEY_PRIORITY:
        json_int(b, name, v->priority);
        break;
    case KEY_RETRIES:
        json_int(b, name, v->retries);
        break;
    case KEY_TIMEOUT:
        write_seconds(b, name, v->timeout_msec);
        break;
    case KEY_MAX_SIZE:
        json_int(b, name, (int64_t)v->max_size);
        break;
    case KEY_MAX_DECODED_SIZE:
        json_int(b, name, (int64_t)v->max_decoded_size);
        break;
    case KEY_SIZE:
        json_int(b, name, v->size);
        break;
    case KEY_RATE_LIMIT:
        json_int(b, name, (int64_t)v->rate_limit);
        break;
    case KEY_CONNECTIONS:
        json_int(b, name, v->connections);
        break;
    case KEY_CHECKSUM:
        json_str(b, name, v->checksum);
        break;
    case KEY_RETRY_ON:
        json_begin(b, name, '[');
        for (size_t i = 0; i < v->n_retry_on; i++)
            json_int(b, NULL, v->retry_on[i]);
        json_end(b, ']');
        break;
    case KEY_DEADLINE:
        write_seconds(b, name, v->deadline_msec);
        break;
    case KEY_NOT_BEFORE:
        write_seconds(b, name, v->not_before_msec);
        break;
    case KEY_HEADERS:
        json_begin(b, name, '{');
        write_headers(b, v->default_headers, v);
        write_headers(b, v->headers, NULL);
        json_end(b, '}');
        break;
    case KEY_AUTH:
        json_begin(b, name, '{');
        json_str(b, "type", job_auth_name(v->auth));
        json_str(b, "credential", v->credential);
        if (v->auth_user)
            json_str(b, "user", v->auth_user);
        json_end(b, '}');
        break;
    default: /* a boolean */
        json_bool(b, name, true);
    }
}

/* The keys but url in one order, each written in one way. */
static void write_body(struct buf *b, const struct job_values *v, const struct buf *mirrors) {
    json_begin(b, NULL, '{');
    if (buf_size(mirrors) > 0)
        json_raw(b, job_key_names[KEY_URLS], buf_head(mirrors), buf_size(mirrors));
    for (enum job_key k = KEY_OUTPUT; k < KEY_MAX_; k++) {
        if (!job_key_given(v, k))
            continue;
        if (v->text[k])
            json_str(b, job_key_names[k], v->text[k]);
        else
            write_value(b, k, v);
    }
    json_end(b, '}');
}

/* What was read, into what is stored. */
static int make_new(const struct job_values *v, struct url *url, const struct buf *mirrors,
                    struct job_new *ret) {
    _cleanup_(buf_done) struct buf body = BUF_INIT(BODY_MAX);

    if (buf_size(mirrors) > 0 || v->given & ~(1u << KEY_URL | 1u << KEY_URLS)) {
        write_body(&body, v, mirrors);
        if (!buf_cstr(&body))
            return -ENOMEM;
    }
    *ret = (struct job_new){
        .url = TAKE_PTR(url->text),
        .host = TAKE_PTR(url->host_key),
        .body = TAKE_PTR(body.data),
        .priority = v->priority,
        .not_before = v->not_before_msec * USEC_PER_MSEC,
        .rate_limit = v->rate_limit,
    };
    if (v->text[KEY_TAG]) {
        ret->tag = strdup(v->text[KEY_TAG]);
        if (!ret->tag) {
            job_new_done(ret);
            return -ENOMEM;
        }
    }
    if (v->deadline_msec > 0) /* that it can't be met is said when it has passed, not later */
        ret->not_before = MIN(ret->not_before, v->deadline_msec * USEC_PER_MSEC);
    return 0;
}

static int read_job(const json_t *object, const json_t *defaults, const char *place,
                    struct job_new *ret, struct job_error *err) {
    _cleanup_(url_done) struct url url = {0};
    _cleanup_(buf_done) struct buf mirrors = BUF_INIT(BODY_MAX);
    struct job_values v = {.retries = -1};
    char found[TEXT_QUOTED_MAX];
    int r;

    if (!json_is_object(object))
        return job_refuse(err, place, NULL, "expected an object, found %s",
                          job_value_text(found, object));
    r = defaults ? read_defaults(defaults, &v, err) : 0;
    if (r >= 0)
        r = job_keys_read(object, place, &v, err);
    if (r >= 0 && job_key_given(&v, KEY_HEADERS))
        r = job_headers_check_sum(&v, place, err);
    if (r >= 0)
        r = job_access_check(&v, place, err);
    if (r >= 0)
        r = job_urls_parse(&v, place, &url, &mirrors, err);
    if (r >= 0)
        r = check_output(v.text[KEY_OUTPUT], &url, place, err);
    if (r < 0)
        return r;
    return make_new(&v, &url, &mirrors, ret);
}

int job_new_parse(const json_t *object, const json_t *defaults, const char *place, int64_t index,
                  struct job_new *ret, struct job_error *err) {
    int r = read_job(object, defaults, place, ret, err);

    if (r == -EINVAL)
        err->index = index;
    return r;
}
