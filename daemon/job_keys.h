/*
 * job_keys.h - the table of a job's keys: what each may hold, checked.
 *
 * For job_*.c and tests only; others use job_json.h.
 */
#ifndef DLD_JOB_KEYS_H
#define DLD_JOB_KEYS_H

#include <jansson.h>

#include "common/text.h"
#include "common/util.h"
#include "daemon/job_json.h"

enum job_key {
    KEY_URL,
    KEY_OUTPUT,
    KEY_ON_CONFLICT,
    KEY_HEADERS,
    KEY_USER_AGENT,
    KEY_REFERER,
    KEY_PRIORITY,
    KEY_RETRIES,
    KEY_TIMEOUT,
    KEY_TAG,
    KEY_MAX_SIZE,
    KEY_MAX_
};

/* Names in the order of enum job_key, then NULL. */
extern const char *const job_key_names[KEY_MAX_ + 1];

#define JOB_HEADERS_MAX 100
#define JOB_HEADERS_MAX_BYTES (16 * KIB) /* of names and values and four bytes for each pair */

/* What the keys of a job hold, as views into their JSON. */
struct job_values {
    unsigned given;             /* 1 << KEY_... */
    const char *text[KEY_MAX_]; /* of url, output, user_agent, referer, tag */
    enum on_conflict on_conflict;
    int priority, retries;
    uint64_t timeout_msec, max_size;
    const json_t *headers;         /* the job's */
    const json_t *default_headers; /* those that a header of the job doesn't beat count too */
};

/* Checks all keys of object into *v, each by itself; a key that *v has already is replaced. place
 * is what to call the object in errors. 0, or -EINVAL with err->text filled. */
int job_keys_read(const json_t *object, const char *place, struct job_values *v,
                  struct job_error *err);

/* Checks each of an object of headers; place is that of the job. As above. */
int job_headers_check(const json_t *headers, const char *place, struct job_error *err);

/* Checks number and size of the headers of a job and its defaults together. As above. */
int job_headers_check_sum(const struct job_values *v, const char *place, struct job_error *err);

/* Whether a header of that name, in whatever case, is among the job's own and so beats the default
 * one. */
bool job_header_given(const struct job_values *v, const char *name);

/* Fills err->text: the place, ".key" or `["key"]` (key may be NULL), ": " and the sentence. Returns
 * -EINVAL. */
int job_refuse(struct job_error *err, const char *place, const char *key, const char *fmt, ...)
    _printf_(4, 5);

/* What a value is, for "found ...". Returns ret or a constant. */
const char *job_value_text(char ret[TEXT_QUOTED_MAX], const json_t *v);

#endif
