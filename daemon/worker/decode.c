#include "daemon/worker/decode.h"

#include <errno.h>
#include <limits.h>
#include <strings.h>

#include "common/util.h"

#define WINDOW (15 + 32) /* the largest; gzip or zlib, as its first bytes say */
#define PIECE (32 * KIB)

int decoder_begin(struct decoder *d, const char *coding) {
    decoder_done(d);
    if (!coding || !*coding || strcasecmp(coding, "identity") == 0)
        return 0;
    d->gzip = strcasecmp(coding, "gzip") == 0 || strcasecmp(coding, "x-gzip") == 0;
    if (!d->gzip && strcasecmp(coding, "deflate") != 0)
        return -EOPNOTSUPP;
    d->z = (z_stream){0};
    if (inflateInit2(&d->z, WINDOW) != Z_OK)
        return -ENOMEM;
    d->on = true;
    d->ended = false;
    return 0;
}

/* One call of inflate() and what came of it. */
static int decode_piece(struct decoder *d, decoder_fn *fn, void *userdata) {
    char piece[PIECE];
    size_t n;
    int z, r;

    if (d->ended) { /* more behind the end */
        if (!d->gzip || inflateReset(&d->z) != Z_OK)
            return -EBADMSG;
        d->ended = false;
    }
    d->z.next_out = (unsigned char *)piece;
    d->z.avail_out = sizeof(piece);
    z = inflate(&d->z, Z_NO_FLUSH);
    if (z == Z_MEM_ERROR)
        return -ENOMEM;
    if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
        return -EBADMSG;
    n = sizeof(piece) - d->z.avail_out;
    r = n > 0 ? fn(userdata, piece, n) : 0;
    d->ended = z == Z_STREAM_END;
    return r;
}

int decoder_write(struct decoder *d, const char *p, size_t n, decoder_fn *fn, void *userdata) {
    int r = 0;

    if (n > UINT_MAX)
        return -EMSGSIZE;
    d->z.next_in = (unsigned char *)p;
    d->z.avail_in = (unsigned)n;
    /* A full piece may have left more of what was taken in already. */
    do
        r = decode_piece(d, fn, userdata);
    while (r == 0 && (d->z.avail_in > 0 || (!d->ended && d->z.avail_out == 0)));
    return r;
}

void decoder_done(struct decoder *d) {
    if (d->on)
        inflateEnd(&d->z);
    d->on = false;
}
