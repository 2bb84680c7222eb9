/* decode.h: codings undone piece by piece, and their ends known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/worker/decode.h"

#define SIZE (200 * KIB)

struct out {
    size_t n, max;
    unsigned char bytes[2 * SIZE];
};

static int collect(void *userdata, const char *p, size_t n) {
    struct out *o = userdata;

    if (o->n + n > o->max)
        return -EFBIG;
    memcpy(o->bytes + o->n, p, n);
    o->n += n;
    return 0;
}

/* window: 31 gzip, 15 zlib */
static size_t pack(const unsigned char *p, size_t n, int window, unsigned char *ret, size_t room) {
    z_stream z = {.next_in = (unsigned char *)p,
                  .avail_in = (unsigned)n,
                  .next_out = ret,
                  .avail_out = (unsigned)room};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window, 8, 0), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static unsigned char plain[SIZE], packed[2 * SIZE];
static struct out out;

static int setup(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        plain[i] = (unsigned char)(i % 251 ^ i >> 9);
    return 0;
}

static int feed(struct decoder *d, size_t n, size_t step) {
    int r = 0;

    out.n = 0;
    out.max = sizeof(out.bytes);
    for (size_t at = 0; r == 0 && at < n; at += step)
        r = decoder_write(d, (const char *)packed + at, MIN(step, n - at), collect, &out);
    return r;
}

static void test_whole_bodies(void **state) {
    static const size_t steps[] = {1, 7, 1000, 2 * SIZE};
    struct decoder d = {0};

    (void)state;
    for (size_t i = 0; i < 2 * ELEMENTSOF(steps); i++) {
        size_t n = pack(plain, SIZE, i % 2 ? 31 : 15, packed, sizeof(packed));

        assert_int_equal(decoder_begin(&d, i % 2 ? "gzip" : "deflate"), 0);
        assert_int_equal(feed(&d, n, steps[i / 2]), 0);
        assert_true(d.ended);
        assert_int_equal(out.n, SIZE);
        assert_memory_equal(out.bytes, plain, SIZE);
    }
    decoder_done(&d);
}

static void test_a_body_cut_anywhere_is_not_ended(void **state) {
    size_t n = pack(plain, 5000, 31, packed, sizeof(packed));
    struct decoder d = {0};

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(decoder_begin(&d, "gzip"), 0);
        assert_int_equal(feed(&d, cut, 100), 0);
        assert_false(d.ended);
    }
    decoder_done(&d);
}

static void test_two_members(void **state) {
    size_t n = pack(plain, SIZE / 2, 31, packed, sizeof(packed));
    struct decoder d = {0};

    (void)state;
    n += pack(plain + SIZE / 2, SIZE / 2, 31, packed + n, sizeof(packed) - n);
    assert_int_equal(decoder_begin(&d, "x-gzip"), 0);
    assert_int_equal(feed(&d, n, 333), 0);
    assert_true(d.ended);
    assert_int_equal(out.n, SIZE);
    assert_memory_equal(out.bytes, plain, SIZE);
    decoder_done(&d);
}

static void test_what_is_not_of_the_coding(void **state) {
    size_t n = pack(plain, 5000, 31, packed, sizeof(packed));
    struct decoder d = {0};

    (void)state;
    assert_int_equal(decoder_begin(&d, "gzip"), 0);
    packed[n / 2] ^= 0xff;
    assert_int_equal(feed(&d, n, n), -EBADMSG);
    n = pack(plain, 5000, 31, packed, sizeof(packed));
    memset(packed + n, 'x', 20);
    assert_int_equal(decoder_begin(&d, "gzip"), 0);
    assert_int_equal(feed(&d, n + 20, 50), -EBADMSG);
    memset(packed, 'x', 100);
    assert_int_equal(decoder_begin(&d, "gzip"), 0);
    assert_int_equal(feed(&d, 100, 100), -EBADMSG);
    decoder_done(&d);
}

static void test_a_limit_stops_a_bomb(void **state) {
    static unsigned char zeros[SIZE];
    size_t n = pack(zeros, SIZE, 31, packed, sizeof(packed));
    struct decoder d = {0};

    (void)state;
    out.n = 0;
    out.max = 100000;
    assert_int_equal(decoder_begin(&d, "gzip"), 0);
    assert_int_equal(decoder_write(&d, (char *)packed, n, collect, &out), -EFBIG);
    assert_true(out.n <= 100000);
    decoder_done(&d);
}

static void test_codings(void **state) {
    struct decoder d = {0};

    (void)state;
    assert_int_equal(decoder_begin(&d, NULL), 0);
    assert_false(d.on);
    assert_int_equal(decoder_begin(&d, "Identity"), 0);
    assert_false(d.on);
    assert_int_equal(decoder_begin(&d, "br"), -EOPNOTSUPP);
    assert_int_equal(decoder_begin(&d, "gzip, gzip"), -EOPNOTSUPP);
    assert_int_equal(decoder_begin(&d, "GZIP"), 0);
    assert_true(d.on);
    decoder_done(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_bodies),
        cmocka_unit_test(test_a_body_cut_anywhere_is_not_ended),
        cmocka_unit_test(test_two_members),
        cmocka_unit_test(test_what_is_not_of_the_coding),
        cmocka_unit_test(test_a_limit_stops_a_bomb),
        cmocka_unit_test(test_codings),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
