/*
 * jsonl.h - lines out of a byte stream, each of bounded length.
 */
#ifndef DLD_JSONL_H
#define DLD_JSONL_H

#include "buf.h"

/* The next whole line in b without its '\n' (and '\r' before it): 1 with *ret and *ret_len, a view
 * valid until b changes, NUL-terminated in place; the line is consumed. 0: more bytes are needed.
 * -EMSGSIZE: more than b->max - 1 bytes without an end. *scanned keeps between calls how far was
 * searched; start with 0. */
int jsonl_next(struct buf *b, size_t *scanned, char **ret, size_t *ret_len);

#endif
