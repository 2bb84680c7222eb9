#include "daemon/job_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/ratelimit.h"
#include "common/text.h"
#include "common/util.h"

#define TIMEOUT_MAX_MSEC (UINT64_C(30) * 86400 * 1000)

/* All strings of a job together must fit a record of wire.h. */
#define USER_AGENT_MAX 1024
#define REFERER_MAX 16384
#define TAG_MAX 255

const char *const job_key_names[KEY_MAX_ + 1] = {
    [KEY_URL] = "url",
    [KEY_URLS] = "urls",
    [KEY_OUTPUT] = "output",
    [KEY_ON_CONFLICT] = "on_conflict",
    [KEY_HEADERS] = "headers",
    [KEY_USER_AGENT] = "user_agent",
    [KEY_REFERER] = "referer",
    [KEY_PRIORITY] = "priority",
    [KEY_RETRIES] = "retries",
    [KEY_TIMEOUT] = "timeout",
    [KEY_TAG] = "tag",
    [KEY_MAX_SIZE] = "max_size",
    [KEY_MAX_DECODED_SIZE] = "max_decoded_size",
    [KEY_SIZE] = "size",
    [KEY_CHECKSUM] = "checksum",
    [KEY_RETRY_ON] = "retry_on",
    [KEY_DEADLINE] = "deadline",
    [KEY_NOT_BEFORE] = "not_before",
    [KEY_CONTENT_DISPOSITION] = "content_disposition",
    [KEY_IF_MODIFIED] = "if_modified",
    [KEY_REMOTE_TIME] = "remote_time",
    [KEY_COMPRESSED] = "compressed",
    [KEY_AUTH] = "auth",
    [KEY_CLIENT_CERTIFICATE] = "client_certificate",
    [KEY_PROXY] = "proxy",
    [KEY_PROXY_AUTH] = "proxy_auth",
    [KEY_RATE_LIMIT] = "rate_limit",
    [KEY_CONNECTIONS] = "connections",
};

/* Whether the key can stand behind a dot. */
static bool is_plain(const char *key) {
    size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return n > 0 && n <= 60 && !key[n];
}

int job_refuse(struct job_error *err, const char *place, const char *key, const char *fmt, ...) {
    char quoted[TEXT_QUOTED_MAX];
    size_t n = 0;
    va_list ap;

    if (key && is_plain(key))
        n = (size_t)snprintf(err->text, sizeof(err->text), "%.100s%s%s: ", place, *place ? "." : "",
                             key);
    else if (key)
        n = (size_t)snprintf(err->text, sizeof(err->text), "%.100s[%s]: ", place,
                             text_quote(quoted, key, strlen(key)));
    else if (*place)
        n = (size_t)snprintf(err->text, sizeof(err->text), "%.200s: ", place);
    va_start(ap, fmt);
    vsnprintf(err->text + n, sizeof(err->text) - n, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

int job_refuse_item(struct job_error *err, const char *place, const char *key, size_t index,
                    const char *fmt, ...) {
    char item[180], text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(item, sizeof(item), "%.100s%s%s[%zu]", place, *place ? "." : "", key, index);
    return job_refuse(err, item, NULL, "%s", text);
}

/* The key being checked, and where to complain. */
struct check {
    const char *place;
    enum job_key key;
    struct job_error *err;
};

/* "expected WHAT, found VALUE" */
static int expected(const struct check *c, const char *what, const json_t *v) {
    char found[TEXT_QUOTED_MAX];

    return job_refuse(c->err, c->place, job_key_names[c->key], "expected %s, found %s", what,
                      job_value_text(found, v));
}

const char *job_value_text(char ret[TEXT_QUOTED_MAX], const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_STRING:
        return text_quote(ret, json_string_value(v), json_string_length(v));
    case JSON_INTEGER:
        snprintf(ret, TEXT_QUOTED_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return ret;
    case JSON_REAL:
        snprintf(ret, TEXT_QUOTED_MAX, "%.15g", json_real_value(v));
        return ret;
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_NULL:
        return "null";
    default:
        return json_is_true(v) ? "true" : "false";
    }
}

/* A string of 1 to max bytes that shows as it is. */
static int check_string(const struct check *c, const json_t *v, size_t max,
                        struct job_values *ret) {
    const char *s = json_string_value(v), *key = job_key_names[c->key];
    size_t n = json_string_length(v);
    char quoted[TEXT_QUOTED_MAX];

    if (!s)
        return expected(c, "a string", v);
    if (n == 0 || n > max)
        return job_refuse(c->err, c->place, key, "expected 1 to %zu bytes, found %zu", max, n);
    if (!text_is_printable(s, n))
        return job_refuse(c->err, c->place, key, "control characters are not allowed, found %s",
                          text_quote(quoted, s, n));
    ret->text[c->key] = s;
    return 0;
}

#define REAL_EXACT 9007199254740992.0 /* 2^53: up to this every integer is a real of its own */

bool job_integer(const json_t *v, json_int_t *ret) {
    double real = json_real_value(v);

    if (!json_is_integer(v) && (!json_is_real(v) || real != trunc(real) || fabs(real) > REAL_EXACT))
        return false;
    *ret = json_is_integer(v) ? json_integer_value(v) : (json_int_t)real;
    return true;
}

static int check_integer(const struct check *c, const json_t *v, int min, int max, int *ret) {
    json_int_t n;
    char what[64];

    if (!job_integer(v, &n) || n < min || n > max) {
        snprintf(what, sizeof(what), "an integer from %d to %d", min, max);
        return expected(c, what, v);
    }
    *ret = (int)n;
    return 0;
}

static int check_output(const struct check *c, const json_t *v, struct job_values *ret) {
    const char *why;
    char quoted[TEXT_QUOTED_MAX];
    size_t n = json_string_length(v);

    if (!json_is_string(v))
        return expected(c, "a string", v);
    if (strlen(json_string_value(v)) != n)
        why = "control characters are not allowed in it";
    else if (output_check(json_string_value(v), &why) == 0) {
        ret->text[c->key] = json_string_value(v);
        return 0;
    }
    return job_refuse(c->err, c->place, "output", n ? "%s, found %s" : "%s", why,
                      text_quote(quoted, json_string_value(v), n));
}

static int check_on_conflict(const struct check *c, const json_t *v, struct job_values *ret) {
    if (!json_is_string(v) || on_conflict_parse(json_string_value(v), &ret->on_conflict) < 0)
        return expected(c, "\"fail\", \"overwrite\", \"rename\" or \"skip\"", v);
    return 0;
}

static int check_timeout(const struct check *c, const json_t *v, struct job_values *ret) {
    double msec = 0;
    uint64_t usec;

    if (json_is_number(v))
        msec = json_number_value(v) * 1000;
    else if (json_is_string(v) && parse_duration(json_string_value(v), &usec) == 0)
        msec = (double)usec / (double)USEC_PER_MSEC;
    if (!(msec >= 1 && msec <= (double)TIMEOUT_MAX_MSEC))
        return expected(c, "seconds, from 0.001 to 2592000 (30 days), as 90, 1.5 or \"2min\"", v);
    ret->timeout_msec = (uint64_t)llround(msec);
    return 0;
}

static int check_max_size(const struct check *c, const json_t *v, uint64_t *ret) {
    json_int_t integer;
    uint64_t n = 0;

    if (job_integer(v, &integer) && integer > 0)
        n = (uint64_t)integer;
    else if (json_is_string(v) && parse_size(json_string_value(v), &n) < 0)
        n = 0;
    if (n == 0 || n > INT64_MAX)
        return expected(c, "a number of bytes above 0, as 20000000 or \"20M\"", v);
    *ret = n;
    return 0;
}

static int check_size(const struct check *c, const json_t *v, struct job_values *ret) {
    json_int_t integer;
    uint64_t n = UINT64_MAX;

    if (job_integer(v, &integer) && integer >= 0)
        n = (uint64_t)integer;
    else if (json_is_string(v) && parse_size(json_string_value(v), &n) < 0)
        n = UINT64_MAX;
    if (n > INT64_MAX)
        return expected(c, "a number of bytes, as 20000000 or \"20M\"", v);
    ret->size = (int64_t)n;
    return 0;
}

static int check_rate(const struct check *c, const json_t *v, uint64_t *ret) {
    uint64_t n = RATE_MAX + 1;
    json_int_t integer;

    if (job_integer(v, &integer) && integer >= 0)
        n = (uint64_t)integer;
    else if (json_is_string(v) && rate_parse(json_string_value(v), &n) < 0)
        n = RATE_MAX + 1;
    if (n > RATE_MAX || (n != RATE_NONE && n < RATE_MIN))
        return expected(c, "bytes a second from 1K to 1T, as 1000000 or \"1M\", or \"none\"", v);
    *ret = n;
    return 0;
}

static int check_checksum(const struct check *c, const json_t *v, struct job_values *ret) {
    const char *s = json_is_string(v) ? json_string_value(v) : "", *what;

    if (job_checksum_parse(s, ret->checksum, &what) < 0)
        return expected(c, what, v);
    return 0;
}

static int check_time(const struct check *c, const json_t *v, uint64_t *ret_msec) {
    if (job_time_parse(v, ret_msec) < 0)
        return expected(
            c,
            "a time: seconds since the epoch, as \"2026-11-22T10:00:00Z\", or from now, "
            "as \"+2h\"",
            v);
    return 0;
}

static int check_retry_on(const struct check *c, const json_t *v, struct job_values *ret) {
    const char *key = job_key_names[c->key];
    size_t n = json_array_size(v);

    if (!json_is_array(v))
        return expected(c, "an array of HTTP statuses", v);
    if (n == 0 || n > JOB_RETRY_ON_MAX)
        return job_refuse(c->err, c->place, key, "expected 1 to %d HTTP statuses, found %zu",
                          JOB_RETRY_ON_MAX, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        json_int_t status;
        char found[TEXT_QUOTED_MAX];

        if (!job_integer(item, &status) || status < 400 || status > 599)
            return job_refuse_item(c->err, c->place, key, i,
                                   "expected an HTTP status from 400 to 599, found %s",
                                   job_value_text(found, item));
        ret->retry_on[i] = (uint16_t)status;
    }
    ret->n_retry_on = n;
    return 0;
}

static int check_urls(const struct check *c, const json_t *v, struct job_values *ret) {
    const char *key = job_key_names[c->key];
    size_t n = json_array_size(v);

    if (!json_is_array(v))
        return expected(c, "an array of URLs", v);
    if (n == 0 || n > JOB_URLS_MAX)
        return job_refuse(c->err, c->place, key, "expected 1 to %d URLs, found %zu", JOB_URLS_MAX,
                          n);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        char found[TEXT_QUOTED_MAX];

        if (!json_is_string(item))
            return job_refuse_item(c->err, c->place, key, i, "expected a string, found %s",
                                   job_value_text(found, item));
    }
    ret->urls = v;
    return 0;
}

/* Keys that job_auth.c knows. */
static int check_access(const struct check *c, const json_t *v, struct job_values *ret) {
    char place[160];

    snprintf(place, sizeof(place), "%.100s%s%s", c->place, *c->place ? "." : "",
             job_key_names[c->key]);
    if (c->key == KEY_AUTH)
        return job_auth_read(v, place, ret, c->err);
    if (c->key == KEY_PROXY)
        return job_proxy_read(v, place, &ret->text[KEY_PROXY], c->err);
    return job_credential_read(v, place, &ret->text[c->key], c->err);
}

static int check_value(const struct check *c, const json_t *v, struct job_values *ret) {
    switch (c->key) {
    case KEY_URL: /* url_parse() looks at the rest */
        if (!json_is_string(v))
            return expected(c, "a string", v);
        ret->text[KEY_URL] = json_string_value(v);
        return 0;
    case KEY_OUTPUT:
        return check_output(c, v, ret);
    case KEY_ON_CONFLICT:
        return check_on_conflict(c, v, ret);
    case KEY_HEADERS:
        if (!json_is_object(v))
            return expected(c, "an object of names and values", v);
        ret->headers = v;
        return job_headers_check(v, c->place, c->err);
    case KEY_USER_AGENT:
        return check_string(c, v, USER_AGENT_MAX, ret);
    case KEY_REFERER:
        return check_string(c, v, REFERER_MAX, ret);
    case KEY_PRIORITY:
        return check_integer(c, v, -100, 100, &ret->priority);
    case KEY_RETRIES:
        return check_integer(c, v, 0, 1000, &ret->retries);
    case KEY_TIMEOUT:
        return check_timeout(c, v, ret);
    case KEY_TAG:
        return check_string(c, v, TAG_MAX, ret);
    case KEY_MAX_SIZE:
        return check_max_size(c, v, &ret->max_size);
    case KEY_MAX_DECODED_SIZE:
        return check_max_size(c, v, &ret->max_decoded_size);
    case KEY_SIZE:
        return check_size(c, v, ret);
    case KEY_RATE_LIMIT:
        return check_rate(c, v, &ret->rate_limit);
    case KEY_CONNECTIONS:
        return check_integer(c, v, 1, JOB_CONNECTIONS_MAX, &ret->connections);
    case KEY_CHECKSUM:
        return check_checksum(c, v, ret);
    case KEY_RETRY_ON:
        return check_retry_on(c, v, ret);
    case KEY_DEADLINE:
        return check_time(c, v, &ret->deadline_msec);
    case KEY_NOT_BEFORE:
        return check_time(c, v, &ret->not_before_msec);
    case KEY_URLS:
        return check_urls(c, v, ret);
    case KEY_AUTH:
    case KEY_CLIENT_CERTIFICATE:
    case KEY_PROXY:
    case KEY_PROXY_AUTH:
        return check_access(c, v, ret);
    default:
        return json_is_boolean(v) ? 0 : expected(c, "true or false", v);
    }
}

static int refuse_unknown(const char *key, const char *place, struct job_error *err) {
    const char *near = nearest(key, job_key_names);
    char list[400];
    size_t n = 0;

    if (near)
        return job_refuse(err, place, key, "unknown key; did you mean \"%s\"?", near);
    for (int k = 0; k < KEY_MAX_; k++)
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", k ? ", " : "", job_key_names[k]);
    return job_refuse(err, place, key, "unknown key; the keys are %s", list);
}

int job_keys_read(const json_t *object, const char *place, struct job_values *v,
                  struct job_error *err) {
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value) {
        struct check c = {.place = place, .key = KEY_URL, .err = err};
        int r;

        while (c.key < KEY_MAX_ && !streq(name, job_key_names[c.key]))
            c.key++;
        if (c.key == KEY_MAX_)
            return refuse_unknown(name, place, err);
        r = check_value(&c, value, v);
        if (r < 0)
            return r;
        if (json_is_false(value)) /* beats a true one of the defaults */
            v->given &= ~(1u << c.key);
        else
            v->given |= 1u << c.key;
        v->own |= 1u << c.key;
    }
    return 0;
}
