/*
 * params.h - the parameters of a request, validated.
 *
 * Each returns 0 (also where the key is absent: *io stays) or -EINVAL with a sentence in err.
 */
#ifndef DLD_PARAMS_H
#define DLD_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct params_error {
    char text[256];
};

/* Nothing but these keys (ended by NULL). */
int params_only(const json_t *params, const char *const *known, struct params_error *err);

int params_int(const json_t *params, const char *key, int64_t min, int64_t max, int64_t *io,
               struct params_error *err);
int params_bool(const json_t *params, const char *key, bool *io, struct params_error *err);

/* *io becomes the params' own string. */
int params_str(const json_t *params, const char *key, size_t max_bytes, const char **io,
               struct params_error *err);

/* An array of positive numbers: *io becomes a new array of *io_n, not empty. */
int params_ids(const json_t *params, const char *key, size_t max, int64_t **io, size_t *io_n,
               struct params_error *err);

/* Which jobs: exactly one of ids, batch, tag, host, all, as far as the method takes them (known,
 * the keys that params_only() lets through). */
struct params_choice {
    int64_t *ids; /* owned, sorted, without doubles; NULL: not by ids */
    size_t n_ids;
    int64_t batch; /* 0: not by batch */
    char *tag;     /* owned; NULL: not by tag */
    char *host;    /* "host:port", owned; NULL: not by host */
    bool all;
};
int params_choice(const json_t *params, const char *const *known, struct params_choice *ret,
                  struct params_error *err);

/* Is there any of its keys? */
bool params_has_choice(const json_t *params);
void params_choice_done(struct params_choice *c);

#endif
