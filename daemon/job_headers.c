#include "daemon/job_keys.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"
#include "common/util.h"

/* What makes and frames the message belongs to the transfer. */
static const char *const reserved_headers[] = {
    "Accept-Encoding",
    "Connection",
    "Content-Length",
    "Expect",
    "If-Range",
    "Keep-Alive",
    "Range",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Proxy-Connection",
    "Upgrade",
};

static const char *check_name(const char *name) {
    /* RFC 9110 section 5.6.2 */
    size_t n = strspn(name, "!#$%&'*+-.^_`|~0123456789"
                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    if (n == 0 || name[n])
        return "expected a header name: letters, digits and !#$%&'*+-.^_`|~ only";
    for (size_t i = 0; i < ELEMENTSOF(reserved_headers); i++)
        if (strcasecmp(name, reserved_headers[i]) == 0)
            return "dld sets this header itself";
    return NULL;
}

static const char *check_text(const char *s, size_t n) {
    for (const char *end = s + n; s < end;) {
        size_t len = *s == '\t' ? 1 : text_printable(s, (size_t)(end - s));

        if (len == 0)
            return "control characters are not allowed in its value";
        s += len;
    }
    return NULL;
}

/* The name in headers that is this one but for its case; its own too. */
static bool has_name(const json_t *headers, const char *name, size_t n, const char *not_this) {
    const char *other;
    json_t *value;

    json_object_foreach((json_t *)headers, other, value) {
        if (other != not_this && strncasecmp(other, name, n) == 0 && !other[n])
            return true;
    }
    return false;
}

bool job_header_given(const struct job_values *v, const char *name) {
    if (strcasecmp(name, "User-Agent") == 0 && v->own & 1u << KEY_USER_AGENT)
        return true;
    if (strcasecmp(name, "Referer") == 0 && v->own & 1u << KEY_REFERER)
        return true;
    return v->headers && has_name(v->headers, name, strlen(name), NULL);
}

static int refuse_header(const char *place, const char *name, const char *why,
                         struct job_error *err) {
    char quoted[TEXT_QUOTED_MAX], full[256];

    snprintf(full, sizeof(full), "%.100s%sheaders[%s]", place, *place ? "." : "",
             text_quote(quoted, name, strlen(name)));
    return job_refuse(err, full, NULL, "%s", why);
}

int job_headers_check(const json_t *headers, const char *place, struct job_error *err) {
    const char *name;
    json_t *value;

    /* before the loop, which compares each with each */
    if (json_object_size(headers) > JOB_HEADERS_MAX)
        return job_refuse(err, place, "headers", "expected at most %d headers, found %zu",
                          JOB_HEADERS_MAX, json_object_size(headers));
    json_object_foreach((json_t *)headers, name, value) {
        char found[TEXT_QUOTED_MAX], what[TEXT_QUOTED_MAX + 40];
        const char *why = check_name(name);

        if (!why && !json_is_string(value)) {
            snprintf(what, sizeof(what), "expected a string, found %s",
                     job_value_text(found, value));
            why = what;
        }
        if (!why)
            why = check_text(json_string_value(value), json_string_length(value));
        if (!why && has_name(headers, name, strlen(name), name))
            why = "the header is given twice";
        if (why)
            return refuse_header(place, name, why, err);
    }
    return 0;
}

static void add_sizes(const json_t *headers, const struct job_values *unless, size_t *n,
                      size_t *bytes) {
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)headers, name, value) {
        if (unless && job_header_given(unless, name))
            continue;
        *n += 1;
        *bytes += strlen(name) + json_string_length(value) + 4;
    }
}

int job_headers_check_sum(const struct job_values *v, const char *place, struct job_error *err) {
    size_t n = 0, bytes = 0;

    add_sizes(v->headers, NULL, &n, &bytes);
    add_sizes(v->default_headers, v, &n, &bytes);
    if (n > JOB_HEADERS_MAX)
        return job_refuse(err, place, "headers",
                          "expected at most %d headers, found %zu with the defaults",
                          JOB_HEADERS_MAX, n);
    if (bytes > JOB_HEADERS_MAX_BYTES)
        return job_refuse(err, place, "headers", "expected at most %zu bytes in all, found %zu",
                          (size_t)JOB_HEADERS_MAX_BYTES, bytes);
    return 0;
}
