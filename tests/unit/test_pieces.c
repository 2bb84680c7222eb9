/* pieces.h: who fetches what, in the end all bytes once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/worker/pieces.h"

static char owners[16]; /* their addresses will do */

/* A file of 64 times PIECE_MIN whose first bytes the first owner fetches. */
static struct pieces fresh(void) {
    struct pieces p;

    assert_true(pieces_begin(&p, 10, 64 * PIECE_MIN, NULL));
    p.list[0].owner = &owners[0];
    p.list[0].reach = 64 * PIECE_MIN;
    p.list[0].begun = true;
    return p;
}

/* The pieces lie one behind the other, and all of the file is in one. */
static void check(const struct pieces *p, uint64_t total) {
    assert_in_range(p->n, 1, PIECES_MAX);
    assert_int_equal(p->list[0].begin, 0);
    for (unsigned i = 0; i < p->n; i++) {
        const struct piece *x = &p->list[i];

        assert_true(x->begin <= x->at && x->at <= x->end);
        assert_int_equal(x->end, i + 1 < p->n ? p->list[i + 1].begin : total);
    }
}

static void test_spread(void **state) {
    struct pieces p = fresh();

    (void)state;
    pieces_spread(&p, &p.list[0], 4);
    assert_int_equal(p.n, 4);
    check(&p, 64 * PIECE_MIN);
    assert_ptr_equal(p.list[0].owner, &owners[0]);
    for (unsigned i = 1; i < 4; i++) {
        assert_null(p.list[i].owner);
        assert_in_range(p.list[i].end - p.list[i].begin, 16 * PIECE_MIN - 20, 16 * PIECE_MIN);
    }
}

static void test_no_part_is_too_small(void **state) {
    struct pieces p;

    (void)state;
    assert_true(pieces_begin(&p, 0, 3 * PIECE_MIN - 1, NULL));
    pieces_spread(&p, &p.list[0], 16);
    assert_int_equal(p.n, 2);
}

static void test_what_nobody_has_goes_first(void **state) {
    struct pieces p = fresh();

    (void)state;
    pieces_spread(&p, &p.list[0], 4);
    assert_ptr_equal(pieces_pick(&p), &p.list[1]);
    assert_int_equal(p.n, 4);
}

static void test_half_of_the_slowest(void **state) {
    struct pieces p = fresh();
    struct piece *x;

    (void)state;
    pieces_spread(&p, &p.list[0], 3);
    for (unsigned i = 1; i < 3; i++) {
        p.list[i].owner = &owners[i];
        p.list[i].begun = true;
    }
    p.list[0].speed = p.list[2].speed = 10 * PIECE_MIN;
    p.list[1].speed = PIECE_MIN;
    x = pieces_pick(&p);
    assert_ptr_equal(x, &p.list[2]);
    assert_null(x->owner);
    assert_ptr_equal(p.list[1].owner, &owners[1]);
    assert_in_range(x->end - x->begin, p.list[1].end - p.list[1].begin - 1,
                    p.list[1].end - p.list[1].begin + 1);
    check(&p, 64 * PIECE_MIN);
}

static void test_nothing_worth_it_is_left(void **state) {
    struct pieces p = fresh();

    (void)state;
    p.list[0].at = 64 * PIECE_MIN - 2 * PIECE_MIN + 1;
    p.list[0].speed = 2 * PIECE_MIN;
    assert_null(pieces_pick(&p));
}

/* Its owner keeps what takes it a second; but that is not done for ever. */
static void test_little_of_a_slow_one(void **state) {
    struct pieces p = fresh();
    struct piece *x;
    unsigned n = 0;

    (void)state;
    p.list[0].at = 63 * PIECE_MIN;
    p.list[0].speed = 50000;
    x = pieces_pick(&p);
    assert_non_null(x);
    assert_int_equal(x->at, 63 * PIECE_MIN + 50000);
    check(&p, 64 * PIECE_MIN);
    while (x && n++ < 100) {
        p.list[0].owner = x->owner = &owners[1];
        p.list[0].at = p.list[0].end;
        pieces_tidy(&p);
        p.n = 1;
        p.list[0].at = 63 * PIECE_MIN;
        p.list[0].end = 64 * PIECE_MIN;
        p.list[0].speed = 0;
        p.list[0].begun = true;
        x = pieces_pick(&p);
    }
    assert_in_range(n, 1, 50);
}

static void test_goes_on_into_what_has_not_begun(void **state) {
    struct pieces p = fresh();
    void *ousted = NULL;

    (void)state;
    pieces_spread(&p, &p.list[0], 3);
    p.list[1].owner = &owners[1];
    assert_true(pieces_extend(&p, &p.list[0], &ousted));
    assert_ptr_equal(ousted, &owners[1]);
    p.list[1].begun = true;
    assert_false(pieces_extend(&p, &p.list[0], &ousted));
    check(&p, 64 * PIECE_MIN);
}

static void test_no_further_than_its_request(void **state) {
    struct pieces p = fresh();
    void *ousted;

    (void)state;
    pieces_spread(&p, &p.list[0], 3);
    p.list[0].reach = p.list[0].end;
    assert_false(pieces_extend(&p, &p.list[0], &ousted));
}

static void test_what_nobody_began_goes_back(void **state) {
    struct pieces p = fresh();

    (void)state;
    pieces_spread(&p, &p.list[0], 4);
    p.list[2].owner = &owners[2];
    p.list[2].reach = p.list[2].end;
    pieces_tidy(&p);
    assert_int_equal(p.n, 3);
    p.list[1].owner = NULL;
    pieces_tidy(&p);
    assert_int_equal(p.n, 1);
    check(&p, 64 * PIECE_MIN);
}

static void test_complete_ones_are_joined(void **state) {
    struct pieces p = fresh();
    struct ranges r;

    (void)state;
    pieces_spread(&p, &p.list[0], 4);
    for (unsigned i = 1; i < 4; i++) {
        p.list[i].begun = true;
        p.list[i].at = p.list[i].end;
    }
    pieces_tidy(&p);
    assert_int_equal(p.n, 2);
    assert_int_equal(pieces_kept(&p, &r), 10);
    assert_int_equal(r.n, 1);
    p.list[0].at = p.list[0].end;
    p.list[0].owner = NULL;
    pieces_tidy(&p);
    assert_true(pieces_whole(&p));
    assert_int_equal(pieces_kept(&p, &r), 64 * PIECE_MIN);
    assert_int_equal(r.n, 0);
}

static void test_map_there_and_back(void **state) {
    char text[RANGES_TEXT_MAX];
    struct pieces p;
    struct ranges r;

    (void)state;
    assert_true(pieces_begin(&p, 100, 1000, "200-300 500-1000"));
    assert_int_equal(p.n, 3);
    check(&p, 1000);
    assert_int_equal(pieces_kept(&p, &r), 100);
    ranges_text(&r, text);
    assert_string_equal(text, "200-300 500-1000");
    assert_false(pieces_begin(&p, 100, 1000, "100-300"));
    assert_false(pieces_begin(&p, 100, 1000, "200-1001"));
}

static void test_map_that_is_too_long(void **state) {
    char text[RANGES_TEXT_MAX];
    struct ranges r = {.n = 0};
    struct pieces p;

    (void)state;
    for (uint64_t i = 1; i <= RANGES_MAX; i++)
        ranges_append(&r, i * 10, i * 10 + 5);
    ranges_text(&r, text);
    assert_true(pieces_begin(&p, 1, 1000, text));
    check(&p, 1000);
    assert_false(pieces_whole(&p));
}

/* Bytes at random, with owners that fail, stall, are ousted and take over: each byte is fetched once,
 * and the map says at any time what is there. */
static void test_random_downloads(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++) {
        const uint64_t total = 64 * PIECE_MIN;
        uint64_t fetched = 10;
        struct pieces p = fresh();
        struct ranges r;

        srand(seed);
        pieces_spread(&p, &p.list[0], 1 + (unsigned)rand() % 16);
        for (unsigned turns = 0; !pieces_whole(&p); turns++) {
            struct piece *x;
            unsigned who = (unsigned)rand() % 16;
            void *ousted;

            assert_true(turns < 100000);
            x = pieces_of(&p, &owners[who]);
            if (!x) {
                x = pieces_pick(&p);
                if (x) {
                    x->owner = &owners[who];
                    x->reach = x->end;
                }
            } else if (rand() % 20 == 0) { /* it breaks off */
                x->owner = NULL;
                x->begun = x->at > x->begin;
                pieces_tidy(&p);
            } else {
                uint64_t n = (uint64_t)rand() % (2 * PIECE_MIN);

                x->begun = true;
                while (x->end - x->at <= n && pieces_extend(&p, x, &ousted))
                    ;
                n = MIN(n, x->end - x->at);
                x->at += n;
                fetched += n;
                x->speed = (uint64_t)rand() % PIECE_MIN;
                if (x->at == x->end) {
                    x->owner = NULL;
                    pieces_tidy(&p);
                }
            }
            check(&p, total);
            assert_int_equal(pieces_kept(&p, &r) + ranges_bytes(&r), fetched);
        }
        assert_int_equal(fetched, total);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_no_part_is_too_small),
        cmocka_unit_test(test_what_nobody_has_goes_first),
        cmocka_unit_test(test_half_of_the_slowest),
        cmocka_unit_test(test_nothing_worth_it_is_left),
        cmocka_unit_test(test_little_of_a_slow_one),
        cmocka_unit_test(test_goes_on_into_what_has_not_begun),
        cmocka_unit_test(test_no_further_than_its_request),
        cmocka_unit_test(test_what_nobody_began_goes_back),
        cmocka_unit_test(test_complete_ones_are_joined),
        cmocka_unit_test(test_map_there_and_back),
        cmocka_unit_test(test_map_that_is_too_long),
        cmocka_unit_test(test_random_downloads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
