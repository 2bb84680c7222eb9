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
    *j = (struct job_new){0};
}

static bool is_given(const struct job_values *v, enum job_key key) {
    return v->given & 1u << key;
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

static int refuse_url(const char *s, const char *place, const char *why, size_t column,
                      struct job_error *err) {
    char quoted[TEXT_QUOTED_MAX];

    if (why == url_scheme_unsupported)
        return job_refuse(err, place, "url", "the scheme %s is not supported; use http or https",
                          text_quote(quoted, s, strcspn(s, ":")));
    if (column == 0)
        return job_refuse(err, place, "url", "%s", why);
    s += column - 1;
    return job_refuse(err, place, "url", "%s (at byte %zu: %s)", why, column,
                      text_quote(quoted, s, strlen(s)));
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

/* The keys but url in one order, each written in one way. */
static void write_body(struct buf *b, const struct job_values *v) {
    json_begin(b, NULL, '{');
    for (enum job_key k = KEY_OUTPUT; k < KEY_MAX_; k++) {
        const char *name = job_key_names[k];

        if (!is_given(v, k))
            continue;
        if (v->text[k])
            json_str(b, name, v->text[k]);
        else if (k == KEY_ON_CONFLICT)
            json_str(b, name, on_conflict_name(v->on_conflict));
        else if (k == KEY_PRIORITY)
            json_int(b, name, v->priority);
        else if (k == KEY_RETRIES)
            json_int(b, name, v->retries);
        else if (k == KEY_TIMEOUT && v->timeout_msec % 1000 == 0)
            json_int(b, name, (int64_t)(v->timeout_msec / 1000));
        else if (k == KEY_TIMEOUT)
            json_num(b, name, (double)v->timeout_msec / 1000);
        else if (k == KEY_MAX_SIZE)
            json_int(b, name, (int64_t)v->max_size);
        else {
            json_begin(b, name, '{');
            write_headers(b, v->default_headers, v);
            write_headers(b, v->headers, NULL);
            json_end(b, '}');
        }
    }
    json_end(b, '}');
}

/* What was read, into what is stored. */
static int make_new(const struct job_values *v, struct url *url, struct job_new *ret) {
    _cleanup_(buf_done) struct buf body = BUF_INIT(BODY_MAX);

    if (v->given & ~(1u << KEY_URL)) {
        write_body(&body, v);
        if (!buf_cstr(&body))
            return -ENOMEM;
    }
    *ret = (struct job_new){
        .url = TAKE_PTR(url->text),
        .host = TAKE_PTR(url->host_key),
        .body = TAKE_PTR(body.data),
        .priority = v->priority,
    };
    return 0;
}

static int read_job(const json_t *object, const json_t *defaults, const char *place,
                    struct job_new *ret, struct job_error *err) {
    _cleanup_(url_done) struct url url = {0};
    struct job_values v = {.retries = -1};
    char found[TEXT_QUOTED_MAX];
    const char *why;
    size_t column;
    int r;

    if (!json_is_object(object))
        return job_refuse(err, place, NULL, "expected an object, found %s",
                          job_value_text(found, object));
    r = defaults ? read_defaults(defaults, &v, err) : 0;
    if (r >= 0)
        r = job_keys_read(object, place, &v, err);
    if (r >= 0 && is_given(&v, KEY_HEADERS))
        r = job_headers_check_sum(&v, place, err);
    if (r < 0)
        return r;
    if (!v.text[KEY_URL])
        return job_refuse(err, place, NULL, "\"url\" is missing");
    r = url_parse(v.text[KEY_URL], &url, &why, &column);
    if (r == -EINVAL)
        return refuse_url(v.text[KEY_URL], place, why, column, err);
    if (r >= 0)
        r = check_output(v.text[KEY_OUTPUT], &url, place, err);
    if (r < 0)
        return r;
    return make_new(&v, &url, ret);
}

int job_new_parse(const json_t *object, const json_t *defaults, const char *place, int64_t index,
                  struct job_new *ret, struct job_error *err) {
    int r = read_job(object, defaults, place, ret, err);

    if (r == -EINVAL)
        err->index = index;
    return r;
}

static int copy_text(char **ret, const char *s) {
    if (!s)
        return 0;
    *ret = strdup(s);
    return *ret ? 0 : -ENOMEM;
}

static int copy_headers(const json_t *headers, struct job_spec *ret) {
    const char *name;
    json_t *value;

    if (json_object_size(headers) == 0)
        return 0;
    ret->headers = calloc(json_object_size(headers), sizeof(*ret->headers));
    if (!ret->headers)
        return -ENOMEM;
    json_object_foreach((json_t *)headers, name, value) {
        char **to = &ret->headers[ret->n_headers];

        if (asprintf(to, "%s: %s", name, json_string_value(value)) < 0) {
            *to = NULL;
            return -ENOMEM;
        }
        ret->n_headers++;
    }
    return 0;
}

static int copy_values(const struct job_values *v, struct job_spec *ret) {
    int r = copy_text(&ret->output, v->text[KEY_OUTPUT]);

    if (r >= 0)
        r = copy_text(&ret->user_agent, v->text[KEY_USER_AGENT]);
    if (r >= 0)
        r = copy_text(&ret->referer, v->text[KEY_REFERER]);
    if (r >= 0)
        r = copy_text(&ret->tag, v->text[KEY_TAG]);
    if (r >= 0)
        r = copy_headers(v->headers, ret);
    ret->on_conflict = v->on_conflict;
    ret->priority = v->priority;
    ret->retries = v->retries;
    ret->timeout_usec = v->timeout_msec * USEC_PER_MSEC;
    ret->max_size = v->max_size;
    return r;
}

int job_spec_parse(const char *body, struct job_spec *ret) {
    json_auto_t *root = NULL;
    _cleanup_(job_spec_done) struct job_spec spec = {.retries = -1};
    struct job_values v = {.retries = -1};
    struct job_error err;
    int r;

    if (body) {
        root = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(root) || job_keys_read(root, "", &v, &err) < 0 || is_given(&v, KEY_URL))
            return -EBADMSG;
    }
    r = copy_values(&v, &spec);
    if (r < 0)
        return r;
    *ret = spec;
    spec = (struct job_spec){0};
    return 0;
}
