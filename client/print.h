/*
 * print.h - what the program says: complaints on stderr, results on stdout.
 *
 * stdout is fully buffered by stdio, and written out by print_flush() before every wait.
 */
#ifndef DLD_CLIENT_PRINT_H
#define DLD_CLIENT_PRINT_H

#include <jansson.h>

#include "common/buf.h"

/* One line `dlctl: text` on stderr; control characters in it are made visible. */
void complain(const char *fmt, ...) _printf_(1, 2);

/* "out of memory", as a complaint; returns the exit status for it. */
int complain_memory(void);

/* value as one line of JSON on stdout. No control character, C1 included, leaves it raw. */
void print_json(const json_t *value);

/* The line in b (without its '\n') on stdout; b is emptied. */
void print_line(struct buf *b);

/* Writes out what is buffered. When stdout can't be written to, the program ends here: silently if
 * nobody reads it any more, else with a complaint. */
void print_flush(void);

/* Members of an object that may be absent or null. */
static inline const char *get_text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}
static inline int64_t get_int(const json_t *object, const char *key, int64_t otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}
static inline double get_number(const json_t *object, const char *key, double otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

/* What the jobs of a batch have got, as its status says, with those that are under way. */
static inline uint64_t batch_bytes(const json_t *batch) {
    return (uint64_t)MAX(get_int(batch, "bytes", 0), 0) +
           (uint64_t)MAX(get_int(batch, "active_bytes", 0), 0);
}

#endif
