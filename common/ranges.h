/*
 * ranges.h - which bytes of a file are there, behind its first ones, when it comes in several
 * pieces.
 *
 * As text, so that it can be kept and sent: "BEGIN-END" for each range, END being the byte behind
 * its last, in order and apart from one another, separated by blanks: "4096-8192 20000-30000".
 * Pure: no I/O.
 */
#ifndef DLD_RANGES_H
#define DLD_RANGES_H

#include <stddef.h>
#include <stdint.h>

#define RANGES_MAX 32
#define RANGES_TEXT_MAX (RANGES_MAX * 40 + 1) /* with its NUL */

struct range {
    uint64_t begin, end; /* [begin, end) */
};

/* In order; between two of them, and before the first, bytes are lacking. */
struct ranges {
    size_t n;
    struct range list[RANGES_MAX];
};

/* Appends [begin, end), which must lie behind the last; what touches that extends it, what is empty
 * is none. Where there is no room the bytes are as good as lacking. */
void ranges_append(struct ranges *r, uint64_t begin, uint64_t end);

/* Reads a text whose ranges lie behind the first offset bytes of a file of total (-1: unknown)
 * bytes. -EINVAL for any other, also for an empty one; *ret is undefined then. */
int ranges_parse(const char *text, uint64_t offset, int64_t total, struct ranges *ret);

/* Into RANGES_TEXT_MAX bytes. */
void ranges_text(const struct ranges *r, char *ret);

/* How many bytes there are in all of them. */
uint64_t ranges_bytes(const struct ranges *r);

#endif
