#include "client/ended.h"

#include <stdlib.h>
#include <string.h>

#include "client/print.h"
#include "common/util.h"

/* How the daemon begins such a line. */
#define PROLOGUE "{\"jsonrpc\": \"2.0\", \"method\": \"job\", \"params\": {"
#define NUMBER_DIGITS 18 /* of what fits an int64_t in any case */
#define TEXTS 5

static const struct ended nothing = {
    .id = -1, .index = -1, .bytes = -1, .started = -1, .finished = -1};

void ended_from_json(const json_t *job, struct ended *ret) {
    const json_t *error = json_object_get(job, "error");

    *ret = (struct ended){
        .state = get_text(job, "state"),
        .url = get_text(job, "url"),
        .output = get_text(job, "output"),
        .id = get_int(job, "id", -1),
        .index = get_int(job, "index", -1),
        .worker = get_int(job, "worker", 0),
        .http_status = get_int(job, "http_status", 0),
        .bytes = get_int(job, "bytes", -1),
        .started = get_number(job, "started", -1),
        .finished = get_number(job, "finished", -1),
        .skipped = json_is_true(json_object_get(job, "skipped")),
    };
    if (json_is_object(error)) {
        ret->error_name = get_text(error, "name");
        ret->error_message = get_text(error, "message");
        if (!ret->error_name)
            ret->error_name = "-";
    }
}

/* ---- plain lines ---- */

/* Where reading is; after anything unexpected p is NULL for good. */
struct reader {
    char *p;
    char *ends[TEXTS]; /* of the texts, to become NULs */
    size_t n_ends;
};

static bool take(struct reader *r, char c) {
    if (!r->p || *r->p != c)
        return false;
    r->p++;
    return true;
}

static void skip_blanks(struct reader *r) {
    while (r->p && *r->p == ' ')
        r->p++;
}

/* A string of plain characters; *ret_n is its length. */
static const char *read_plain(struct reader *r, size_t *ret_n) {
    char *begin;

    if (!take(r, '"')) {
        r->p = NULL;
        return NULL;
    }
    begin = r->p;
    while (*r->p >= ' ' && *r->p < 0x7f && *r->p != '"' && *r->p != '\\')
        r->p++;
    *ret_n = (size_t)(r->p - begin);
    if (!take(r, '"'))
        r->p = NULL;
    return begin;
}

static void read_text(struct reader *r, const char **ret) {
    size_t n;
    const char *text = read_plain(r, &n);

    if (!r->p || r->n_ends == TEXTS)
        r->p = NULL;
    else {
        *ret = text;
        r->ends[r->n_ends++] = r->p - 1;
    }
}

/* Digits and, where they are wanted, a fraction of at most six. */
static void read_number(struct reader *r, int64_t *ret, double *ret_real) {
    int64_t n = 0, fraction = 0, scale = 1;
    int digits = 0;

    for (; r->p && *r->p >= '0' && *r->p <= '9' && digits < NUMBER_DIGITS; digits++)
        n = n * 10 + (*r->p++ - '0');
    if (digits > 0 && ret_real && take(r, '.'))
        for (; *r->p >= '0' && *r->p <= '9' && scale < 1000000; scale *= 10)
            fraction = fraction * 10 + (*r->p++ - '0');
    if (digits == 0 || !strchr(",} ", *r->p)) {
        r->p = NULL;
        return;
    }
    if (ret_real)
        *ret_real = (double)n + (double)fraction / (double)scale;
    else
        *ret = n;
}

static bool take_word(struct reader *r, const char *word) {
    size_t n = strlen(word);

    if (!r->p || strncmp(r->p, word, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* A value nobody asked for: a string, a number or a word. */
static void skip_value(struct reader *r) {
    size_t n;

    if (r->p && *r->p == '"')
        read_plain(r, &n);
    else if (r->p)
        r->p += strspn(r->p, "-+.0123456789abcdefghijklmnopqrstuvwxyzE");
}

typedef void member_fn(struct reader *r, const char *key, size_t n, struct ended *e);

/* The members of an object up to its end. */
static void read_members(struct reader *r, member_fn *member, struct ended *e) {
    size_t n = 0;

    do {
        const char *key;

        skip_blanks(r);
        key = read_plain(r, &n);
        if (!take(r, ':'))
            r->p = NULL;
        skip_blanks(r);
        if (r->p && !take_word(r, "null"))
            member(r, key, n, e);
    } while (take(r, ','));
    if (!take(r, '}'))
        r->p = NULL;
}

static bool is_key(const char *key, size_t n, const char *name) {
    return strlen(name) == n && memcmp(key, name, n) == 0;
}

static void read_error_member(struct reader *r, const char *key, size_t n, struct ended *e) {
    if (is_key(key, n, "name"))
        read_text(r, &e->error_name);
    else if (is_key(key, n, "message"))
        read_text(r, &e->error_message);
    else
        skip_value(r);
}

static void read_job_member(struct reader *r, const char *key, size_t n, struct ended *e) {
    if (is_key(key, n, "state"))
        read_text(r, &e->state);
    else if (is_key(key, n, "url"))
        read_text(r, &e->url);
    else if (is_key(key, n, "output"))
        read_text(r, &e->output);
    else if (is_key(key, n, "id"))
        read_number(r, &e->id, NULL);
    else if (is_key(key, n, "index"))
        read_number(r, &e->index, NULL);
    else if (is_key(key, n, "worker"))
        read_number(r, &e->worker, NULL);
    else if (is_key(key, n, "http_status"))
        read_number(r, &e->http_status, NULL);
    else if (is_key(key, n, "bytes"))
        read_number(r, &e->bytes, NULL);
    else if (is_key(key, n, "started"))
        read_number(r, NULL, &e->started);
    else if (is_key(key, n, "finished"))
        read_number(r, NULL, &e->finished);
    else if (is_key(key, n, "skipped"))
        e->skipped = take_word(r, "true") || (skip_value(r), false);
    else if (is_key(key, n, "error") && take(r, '{')) {
        e->error_name = "-";
        read_members(r, read_error_member, e);
    } else
        skip_value(r);
}

bool ended_from_line(char *line, size_t n, struct ended *ret) {
    struct reader r = {.p = line};
    struct ended e = nothing;

    if (n < strlen(PROLOGUE) || !take_word(&r, PROLOGUE))
        return false;
    read_members(&r, read_job_member, &e);
    if (!take(&r, '}') || r.p != line + n)
        return false;
    for (size_t i = 0; i < r.n_ends; i++)
        *r.ends[i] = '\0';
    *ret = e;
    return true;
}
