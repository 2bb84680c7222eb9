#include "daemon/params.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job_keys.h"

#define CHOICE_MAX_IDS 10000
#define TAG_MAX_BYTES 255
#define HOST_MAX_BYTES 300

static int _printf_(2, 3) refuse(struct params_error *err, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return -EINVAL;
}

int params_only(const json_t *params, const char *const *known, struct params_error *err) {
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)params, key, value) {
        const char *const *k = known;
        const char *near;

        while (*k && !streq(*k, key))
            k++;
        if (*k)
            continue;
        near = nearest(key, known);
        return near ? refuse(err, "params.%.60s: unknown key; did you mean \"%s\"?", key, near)
                    : refuse(err, "params.%.60s: unknown key; see dld-control(7)", key);
    }
    return 0;
}

int params_int(const json_t *params, const char *key, int64_t min, int64_t max, int64_t *io,
               struct params_error *err) {
    const json_t *v = json_object_get(params, key);
    json_int_t n;

    if (!v)
        return 0;
    if (!job_integer(v, &n) || n < min || n > max)
        return refuse(err, "params.%s: expected a whole number from %" PRId64 " to %" PRId64, key,
                      min, max);
    *io = n;
    return 0;
}

int params_bool(const json_t *params, const char *key, bool *io, struct params_error *err) {
    const json_t *v = json_object_get(params, key);

    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return refuse(err, "params.%s: expected true or false", key);
    *io = json_is_true(v);
    return 0;
}

int params_str(const json_t *params, const char *key, size_t max_bytes, const char **io,
               struct params_error *err) {
    const json_t *v = json_object_get(params, key);

    if (!v)
        return 0;
    if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) > max_bytes)
        return refuse(err, "params.%s: expected a string of 1 to %zu bytes", key, max_bytes);
    *io = json_string_value(v);
    return 0;
}

int params_ids(const json_t *params, const char *key, size_t max, int64_t **io, size_t *io_n,
               struct params_error *err) {
    const json_t *v = json_object_get(params, key), *element;
    size_t n = json_array_size(v), i;
    int64_t *ids;
    json_int_t id;

    if (!v)
        return 0;
    if (!json_is_array(v) || n == 0 || n > max)
        return refuse(err, "params.%s: expected an array of 1 to %zu job ids", key, max);
    ids = malloc(n * sizeof(*ids));
    if (!ids)
        return refuse(err, "out of memory; try again later");
    json_array_foreach((json_t *)v, i, element) {
        if (!job_integer(element, &id) || id <= 0) {
            free(ids);
            return refuse(err, "params.%s[%zu]: expected the id of a job, a number from 1", key, i);
        }
        ids[i] = id;
    }
    *io = ids;
    *io_n = n;
    return 0;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void sort_unique(struct params_choice *c) {
    size_t n = 0;

    qsort(c->ids, c->n_ids, sizeof(*c->ids), compare);
    for (size_t i = 0; i < c->n_ids; i++)
        if (n == 0 || c->ids[n - 1] != c->ids[i])
            c->ids[n++] = c->ids[i];
    c->n_ids = n;
}

static int choice_text(const json_t *params, const char *key, size_t max, char **ret,
                       struct params_error *err) {
    const char *text = NULL;
    int r = params_str(params, key, max, &text, err);

    if (r < 0 || !text)
        return r;
    *ret = strdup(text);
    return *ret ? 0 : refuse(err, "out of memory; try again later");
}

/* As dlctl hosts shows them, in whatever case. */
static int choice_host(const json_t *params, char **ret, struct params_error *err) {
    int r = choice_text(params, "host", HOST_MAX_BYTES, ret, err);
    const char *port = *ret ? strrchr(*ret, ':') : NULL;

    if (r < 0 || !*ret)
        return r;
    if (!port || port == *ret || strspn(port + 1, "0123456789") != strlen(port + 1) || !port[1])
        return refuse(err, "params.host: expected HOST:PORT, such as example.com:443");
    for (char *c = *ret; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

static const char *const choice_keys[] = {"ids", "batch", "tag", "host", "all"};

bool params_has_choice(const json_t *params) {
    for (size_t i = 0; i < ELEMENTSOF(choice_keys); i++)
        if (json_object_get(params, choice_keys[i]))
            return true;
    return false;
}

static int refuse_choice(const char *const *known, struct params_error *err) {
    int n = snprintf(err->text, sizeof(err->text), "params: expected one of");

    for (size_t i = 0; i < ELEMENTSOF(choice_keys); i++) {
        const char *const *k = known;

        while (*k && !streq(*k, choice_keys[i]))
            k++;
        if (*k)
            n += snprintf(err->text + n, sizeof(err->text) - (size_t)n, " \"%s\",", *k);
    }
    err->text[n - 1] = '\0'; /* the last comma */
    return -EINVAL;
}

int params_choice(const json_t *params, const char *const *known, struct params_choice *ret,
                  struct params_error *err) {
    _cleanup_(params_choice_done) struct params_choice c = {.batch = 0};
    int r = params_ids(params, "ids", CHOICE_MAX_IDS, &c.ids, &c.n_ids, err);

    if (r == 0)
        r = params_int(params, "batch", 1, INT64_MAX, &c.batch, err);
    if (r == 0)
        r = params_bool(params, "all", &c.all, err);
    if (r == 0)
        r = choice_text(params, "tag", TAG_MAX_BYTES, &c.tag, err);
    if (r == 0)
        r = choice_host(params, &c.host, err);
    if (r < 0)
        return r;
    if ((c.ids != NULL) + (c.batch > 0) + (c.tag != NULL) + (c.host != NULL) + c.all != 1)
        return refuse_choice(known, err);
    if (c.ids)
        sort_unique(&c);
    *ret = c;
    c = (struct params_choice){.batch = 0};
    return 0;
}

void params_choice_done(struct params_choice *c) {
    free(c->ids);
    free(c->tag);
    free(c->host);
    *c = (struct params_choice){.batch = 0};
}
