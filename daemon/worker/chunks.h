/*
 * chunks.h - a chunked body (RFC 9112 section 7.1) as it came, read more strictly than libcurl
 * does.
 *
 * libcurl takes "28xyz" and "28" with any byte behind it for a size, a lone LF for the end of a
 * line, and what it likes for the end of a chunk; two readers of one stream that differ so see two
 * bodies. Refused is what is not: a size of 1 to 16 hex digits, perhaps blanks (old servers pad
 * with them) or an extension without control characters, CR LF; so many bytes, CR LF; and after the
 * chunk of size 0 field lines with a name and a colon, which mean nothing here, up to an empty
 * line.
 *
 * Pure. All zero when a body starts.
 */
#ifndef DLD_WORKER_CHUNKS_H
#define DLD_WORKER_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNKS_LINE_MAX 16384 /* bytes of a size with its extension, or of a trailer's line */

enum chunks_state {
    CHUNKS_SIZE,
    CHUNKS_BLANK, /* behind the size */
    CHUNKS_EXTENSION,
    CHUNKS_SIZE_LF,
    CHUNKS_DATA,
    CHUNKS_DATA_CR,
    CHUNKS_DATA_LF,
    CHUNKS_TRAILER, /* at the start of a line */
    CHUNKS_NAME,
    CHUNKS_VALUE,
    CHUNKS_LAST_LF,
    CHUNKS_ENDED,
    CHUNKS_WRONG
};

struct chunks {
    enum chunks_state state;
    uint64_t left;   /* the size so far, or what is still to come of the data */
    unsigned digits; /* of the size */
    unsigned line;   /* bytes */
};

/* Takes in the next bytes; returns how many of them belong to the body: n, or less where it has
 * ended or is wrong. */
size_t chunks_add(struct chunks *c, const char *p, size_t n);

#endif
