/*
 * text.h - text that came from elsewhere, made fit for a terminal.
 */
#ifndef DLD_TEXT_H
#define DLD_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the UTF-8 sequence at s when it may be shown as it is, else 0: not within n bytes, not
 * well formed, a control character (C0, DEL, C1), a line or paragraph separator (U+2028, U+2029),
 * or a bidi embedding, override or isolate (U+202A to U+202E, U+2066 to U+2069). */
size_t text_printable(const char *s, size_t n);

/* Whether all n bytes at s are such sequences. */
bool text_is_printable(const char *s, size_t n);

/* Whether the string is well-formed UTF-8, control characters and all. */
bool text_is_utf8(const char *s);

/* What text_quote() may need, with its NUL. */
#define TEXT_QUOTED_MAX 80

/* Puts the n bytes at s in double quotes for a message and returns ret. Bytes that are not
 * printable become \x1b and so on, '"' and '\' get a backslash; after about 60 bytes it breaks off
 * with "...". */
const char *text_quote(char ret[TEXT_QUOTED_MAX], const char *s, size_t n);

#endif
