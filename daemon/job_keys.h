/*
 * job_keys.h - the table of a job's keys: what each may hold, checked.
 *
 * For job_*.c and tests only; others use job_json.h.
 */
#ifndef DLD_JOB_KEYS_H
#define DLD_JOB_KEYS_H

#include <jansson.h>

#include "common/text.h"
#include "common/url.h"
#include "common/util.h"
#include "daemon/job_json.h"

enum job_key {
    KEY_URL,
    KEY_URLS,
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
    KEY_MAX_DECODED_SIZE,
    KEY_SIZE,
    KEY_CHECKSUM,
    KEY_RETRY_ON,
    KEY_DEADLINE,
    KEY_NOT_BEFORE,
    KEY_CONTENT_DISPOSITION,
    KEY_IF_MODIFIED,
    KEY_REMOTE_TIME,
    KEY_COMPRESSED,
    KEY_AUTH,
    KEY_CLIENT_CERTIFICATE,
    KEY_PROXY,
    KEY_PROXY_AUTH,
    KEY_RATE_LIMIT,
    KEY_CONNECTIONS,
    KEY_MAX_
};

/* Names in the order of enum job_key, then NULL. */
extern const char *const job_key_names[KEY_MAX_ + 1];

#define JOB_HEADERS_MAX 100
#define JOB_HEADERS_MAX_BYTES (16 * KIB) /* of names and values and four bytes for each pair */

#define JOB_CHECKSUM_MAX 160 /* with its NUL */

/* What the keys of a job hold, as views into their JSON. */
struct job_values {
    unsigned given;             /* 1 << KEY_...; of a boolean: that it is true */
    unsigned own;               /* 1 << KEY_...: has a value that is no default's */
    const char *text[KEY_MAX_]; /* of url, output, user_agent, referer, tag, client_certificate,
                                   proxy, proxy_auth */
    enum on_conflict on_conflict;
    int priority, retries, connections;
    uint64_t timeout_msec, max_size, max_decoded_size, rate_limit;
    uint64_t deadline_msec, not_before_msec; /* since the epoch */
    enum job_auth auth;
    const char *credential; /* of auth */
    const char *auth_user;  /* of auth of type key */
    int64_t size;
    char checksum[JOB_CHECKSUM_MAX];
    size_t n_retry_on;
    uint16_t retry_on[JOB_RETRY_ON_MAX];
    const json_t *urls;            /* 1 to JOB_URLS_MAX strings */
    const json_t *headers;         /* the job's */
    const json_t *default_headers; /* those that a header of the job doesn't beat count too */
};

static inline bool job_key_given(const struct job_values *v, enum job_key key) {
    return v->given & 1u << key;
}

/* Checks all keys of object into *v, each by itself; a key that *v has already is replaced. place
 * is what to call the object in errors. 0, or -EINVAL with err->text filled. */
int job_keys_read(const json_t *object, const char *place, struct job_values *v,
                  struct job_error *err);

/* Checks each of an object of headers; place is that of the job. As above. */
int job_headers_check(const json_t *headers, const char *place, struct job_error *err);

/* Checks number and size of the headers of a job and its defaults together. As above. */
int job_headers_check_sum(const struct job_values *v, const char *place, struct job_error *err);

/* Whether a header of that name, in whatever case, is among the job's own, or the job has a key
 * for it, and so beats the default one. */
bool job_header_given(const struct job_values *v, const char *name);

/* Checks `auth`, and the name of a credential that another key holds; place is that of the value.
 * As above. */
int job_auth_read(const json_t *auth, const char *place, struct job_values *v,
                  struct job_error *err);
int job_credential_read(const json_t *name, const char *place, const char **ret,
                        struct job_error *err);

/* Checks `proxy`, of which *ret becomes a view. As above. */
int job_proxy_read(const json_t *proxy, const char *place, const char **ret,
                   struct job_error *err);

/* Checks that what the keys say of access fits together, also with the headers. As above. */
int job_access_check(const struct job_values *v, const char *place, struct job_error *err);

/* Parses `url`, or all of `urls`, into *ret, that of the job. The canonical ones go into *mirrors
 * as a JSON array if there is more than one of them. As above; -ENOMEM too. */
int job_urls_parse(const struct job_values *v, const char *place, struct url *ret,
                   struct buf *mirrors, struct job_error *err);

/* "NAME:DIGEST", the digest in hex or base64, into its canonical form. -EINVAL, *ret_expected (in
 * any case) an example of what NAME needs. */
int job_checksum_parse(const char *s, char ret[JOB_CHECKSUM_MAX], const char **ret_expected);

/* A time in any of its forms into milliseconds since the epoch, from 1 to the end of the year 9999:
 * a number of seconds, an RFC 3339 timestamp, or "+2h" counted from now. -EINVAL. */
int job_time_parse(const json_t *v, uint64_t *ret_msec);

/* Fills err->text: the place, ".key" or `["key"]` (key may be NULL), ": " and the sentence. Returns
 * -EINVAL. */
int job_refuse(struct job_error *err, const char *place, const char *key, const char *fmt, ...)
    _printf_(4, 5);

/* The same of an item of an array: "place.key[index]: ". */
int job_refuse_item(struct job_error *err, const char *place, const char *key, size_t index,
                    const char *fmt, ...) _printf_(5, 6);

/* Whether it is an integer, which is *ret then. 3.0 and 2e9 are, too, as JSON Schema has it and
 * programs write them. */
bool job_integer(const json_t *v, json_int_t *ret);

/* What a value is, for "found ...". Returns ret or a constant. */
const char *job_value_text(char ret[TEXT_QUOTED_MAX], const json_t *v);

#endif
