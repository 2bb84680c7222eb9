/*
 * Bodies as they come: chunks and content codings. In whatever pieces they arrive, the same comes
 * of them; and what was made right is read right. The first byte says what the rest is.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "common/buf.h"
#include "daemon/worker/chunks.h"
#include "daemon/worker/decode.h"

#define DECODED_MAX (8 * MIB)

/* ---- chunks ---- */

static void chunks(const uint8_t *data, size_t size, size_t piece) {
    _cleanup_free_ char *copy = fuzz_copy(data, size);
    struct chunks whole = {0}, pieces = {0};
    size_t n = chunks_add(&whole, copy, size), taken = 0, some = 0;

    fuzz_check(n <= size);
    fuzz_check(n == size || whole.state == CHUNKS_ENDED || whole.state == CHUNKS_WRONG);
    for (size_t i = 0; i < size; i += piece) {
        some = MIN(piece, size - i);
        n = chunks_add(&pieces, copy + i, some);
        taken += n;
        if (n < some)
            break;
    }
    fuzz_check(pieces.state == whole.state && pieces.left == whole.left);
    whole = (struct chunks){0};
    fuzz_check(chunks_add(&whole, copy, size) == taken);
}

static void add_chunk(struct buf *b, const uint8_t *data, size_t size) {
    buf_addf(b, "%zx\r\n", size);
    buf_add(b, data, size);
    buf_adds(b, "\r\n");
}

/* A body in chunks of that size, with something behind it. */
static void chunked(const uint8_t *data, size_t size, size_t piece) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(4 * MIB);
    struct chunks c = {0};
    size_t body;

    for (size_t i = 0; i < size; i += piece)
        add_chunk(&b, data + i, MIN(piece, size - i));
    buf_adds(&b, "0\r\nX-Trailer: a\r\n\r\n");
    body = buf_size(&b);
    buf_adds(&b, "HTTP/1.1 200 OK\r\n");
    fuzz_check(buf_cstr(&b));
    fuzz_check(chunks_add(&c, buf_head(&b), buf_size(&b)) == body && c.state == CHUNKS_ENDED);
}

/* ---- codings ---- */

static int collect(void *userdata, const char *p, size_t n) {
    struct buf *b = userdata;

    buf_add(b, p, n);
    return buf_error(b) ? -EFBIG : 0;
}

/* 0, or what ended it. */
static int decode(const char *coding, const char *p, size_t size, size_t piece, struct buf *to,
                  bool *ret_ended) {
    struct decoder d = {.on = false};
    int r = decoder_begin(&d, coding);

    fuzz_check(r == 0 && d.on);
    for (size_t i = 0; i < size && r == 0; i += piece)
        r = decoder_write(&d, p + i, MIN(piece, size - i), collect, to);
    *ret_ended = d.ended;
    decoder_done(&d);
    return r;
}

static void coded(const char *coding, const uint8_t *data, size_t size, size_t piece) {
    _cleanup_(buf_done) struct buf whole = BUF_INIT(DECODED_MAX), pieces = BUF_INIT(DECODED_MAX);
    _cleanup_free_ char *copy = fuzz_copy(data, size);
    bool ended, pieces_ended;
    int r = decode(coding, copy, size, size ? size : 1, &whole, &ended);

    fuzz_check(r == 0 || r == -EBADMSG || r == -EFBIG);
    fuzz_check(decode(coding, copy, size, piece, &pieces, &pieces_ended) == r);
    if (r != 0)
        return;
    fuzz_check(ended == pieces_ended && buf_size(&whole) == buf_size(&pieces));
    fuzz_check(buf_size(&whole) == 0 ||
               memcmp(buf_head(&whole), buf_head(&pieces), buf_size(&whole)) == 0);
}

static size_t compress_gzip(const uint8_t *data, size_t size, char *to, size_t room) {
    z_stream z = {.next_in = (uint8_t *)data,
                  .avail_in = (unsigned)size,
                  .next_out = (uint8_t *)to,
                  .avail_out = (unsigned)room};

    fuzz_check(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    fuzz_check(deflate(&z, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

/* Coded twice over, one behind the other; without its last byte it has not ended. */
static void gzipped(const uint8_t *data, size_t size, size_t piece) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(DECODED_MAX), cut = BUF_INIT(DECODED_MAX);
    size_t room = 2 * (compressBound(size) + 64), n;
    _cleanup_free_ char *text = malloc(room);
    bool ended;

    fuzz_check(text);
    n = compress_gzip(data, size, text, room);
    n += compress_gzip(data, size, text + n, room - n);
    fuzz_check(decode("gzip", text, n, piece, &b, &ended) == 0 && ended);
    fuzz_check(buf_size(&b) == 2 * size);
    fuzz_check(size == 0 || (memcmp(buf_head(&b), data, size) == 0 &&
                             memcmp(buf_head(&b) + size, data, size) == 0));
    fuzz_check(decode("gzip", text, n - 1, piece, &cut, &ended) == 0 && !ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t which = fuzz_byte(&data, &size);
    size_t piece = (size_t)fuzz_byte(&data, &size) + 1;

    switch (which) {
    case 'c':
        chunks(data, size, piece);
        chunked(data, size, piece);
        return 0;
    case 'g':
        coded("gzip", data, size, piece);
        gzipped(data, size, piece);
        return 0;
    case 'd':
        coded("deflate", data, size, piece);
        return 0;
    default:
        return -1;
    }
}
