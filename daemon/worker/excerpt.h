/*
 * excerpt.h - how the body of an error answer begins, for a person to read.
 *
 * Bytes are collected as they come, whatever they are, and made text once: valid UTF-8 without
 * control characters. Pure.
 */
#ifndef DLD_WORKER_EXCERPT_H
#define DLD_WORKER_EXCERPT_H

#include <stddef.h>

#define EXCERPT_MAX 512

struct excerpt {
    size_t n;
    char bytes[EXCERPT_MAX];
};

/* Takes in what fits of the next n bytes. */
void excerpt_add(struct excerpt *e, const char *p, size_t n);

/* The text as a new string; NULL when out of memory. Line ends and tabs are blanks; every other
 * byte that text_printable() doesn't let through is written as \x1b. A character that the end of
 * the excerpt cuts in two is left out, and so are blanks at both ends. */
char *excerpt_text(const struct excerpt *e);

#endif
