/*
 * format.h - numbers and text in the form that people read.
 */
#ifndef DLD_CLIENT_FORMAT_H
#define DLD_CLIENT_FORMAT_H

#include "common/buf.h"

#define FORMAT_MAX 32

/* Each writes to ret and returns it. */

/* "0 B", "999 B", "324.1 KB", "1.2 GB": powers of 1000, one decimal. */
const char *format_bytes(uint64_t n, char ret[static FORMAT_MAX]);

/* "0.31 s", "59.99 s", "1 min 40 s", "2 h 5 min", "3 d 4 h"; "-" for a negative number. */
const char *format_duration(double seconds, char ret[static FORMAT_MAX]);

/* "2024-05-04 13:01:59", local time, of seconds since the epoch; "-" for a negative number. */
const char *format_time(double epoch, char ret[static FORMAT_MAX]);

/* Appends s with everything that a terminal might obey made visible: "\x1b" for C0 and DEL,
 * "\u009b" for C1, "\u202e" for the marks that turn the direction of writing, "\xff" for bytes that
 * aren't UTF-8. */
void format_printable(struct buf *b, const char *s);

/* Columns of a terminal that printable UTF-8 takes up. */
unsigned format_width(const char *s);

/* How many bytes of s fit into width columns. */
size_t format_fit(const char *s, unsigned width);

#endif
