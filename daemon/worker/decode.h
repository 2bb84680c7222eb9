/*
 * decode.h - undoing the coding of a body (RFC 9110 section 8.4.1).
 *
 * libcurl could do it, but calls a coded body that breaks off in its middle a success. gzip is
 * asked for, as every server that codes at all has it; deflate is understood where it comes anyway.
 */
#ifndef DLD_WORKER_DECODE_H
#define DLD_WORKER_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <zlib.h>

#define DECODE_ACCEPT "gzip"

struct decoder {
    bool on;
    bool ended; /* the coded stream has come to its end, and nothing came behind it */
    bool gzip;  /* another may follow it */
    z_stream z;
};

/* What comes of the bytes. 0, or a negative errno that ends it. */
typedef int decoder_fn(void *userdata, const char *p, size_t n);

/* For one body; coding is the value of its Content-Encoding, NULL or "identity": none, and the
 * decoder stays off. 0; -EOPNOTSUPP for a coding not known; or -ENOMEM. */
int decoder_begin(struct decoder *d, const char *coding);

/* Takes in coded bytes. 0; -EBADMSG when they are not of the coding; -ENOMEM; or what fn said. */
int decoder_write(struct decoder *d, const char *p, size_t n, decoder_fn *fn, void *userdata);

/* Frees it; also when it is off. */
void decoder_done(struct decoder *d);

#endif
