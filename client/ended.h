/*
 * ended.h - a job that has ended, as the lines of `wait` and `submit --wait` show it.
 *
 * Tens of thousands may end in a second. What the daemon says of one is read here without making a
 * tree of it, wherever it is as plain as it nearly always is.
 */
#ifndef DLD_CLIENT_ENDED_H
#define DLD_CLIENT_ENDED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Texts are borrowed; NULL where there is none. */
struct ended {
    const char *state, *url, *output;
    const char *error_name, *error_message; /* both NULL: no error */
    int64_t id, index, bytes;               /* -1: unknown */
    int64_t worker, http_status;            /* 0: none */
    double started, finished;               /* seconds since the epoch, -1: never */
    bool skipped;
};

/* From an object that the daemon sent. Borrows from it. */
void ended_from_json(const json_t *job, struct ended *ret);

/* From a whole line, a notification "job" of n bytes with a NUL behind them. False: it is something
 * else, or not plain (an escape, what is not ASCII, a key with an object besides error): it is then
 * untouched and for a real parser. Else the line is what *ret borrows from, and no JSON any more.
 */
bool ended_from_line(char *line, size_t n, struct ended *ret);

#endif
