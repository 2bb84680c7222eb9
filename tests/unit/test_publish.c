/* publish.h and round.h: finished files get durable and visible on the publisher's thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "common/util.h"
#include "daemon/worker/publish.h"
#include "daemon/worker/sink.h"
#include "scratch.h"

#define FILES 20

struct fixture {
    sd_event *event;
    struct dirs *dirs;
    struct publisher *publisher;
    struct parcel parcels[FILES];
    unsigned n_done, n_room;
};

static void on_done(void *userdata, struct parcel *p) {
    struct fixture *f = userdata;

    assert_in_range(p - f->parcels, 0, FILES - 1);
    f->n_done++;
}

static void on_room(void *userdata) {
    struct fixture *f = userdata;

    f->n_room++;
}

static void fixture_init(struct fixture *f, const struct scratch *s, enum fsync_mode mode,
                         uint64_t interval, unsigned capacity) {
    struct publisher_settings settings = {
        .mode = mode,
        .interval_usec = interval,
        .capacity = capacity,
        .on_done = on_done,
        .on_room = on_room,
        .userdata = f,
    };

    memset(f, 0, sizeof(*f));
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(dirs_new(&f->dirs, s->fd, 0755), 0);
    settings.dirs = f->dirs;
    assert_int_equal(publisher_new(&f->publisher, f->event, &settings), 0);
}

static void fixture_done(struct fixture *f) {
    publisher_free(f->publisher);
    for (int i = 0; i < FILES; i++)
        if (f->parcels[i].dir)
            parcel_done(&f->parcels[i]);
    dirs_free(f->dirs);
    sd_event_unref(f->event);
}

/* Finishes a part file of job i under the wanted name, ready to be published. */
static struct parcel *finish(struct fixture *f, int i, const char *output,
                             enum on_conflict conflict) {
    struct sink_settings settings = {
        .dirs = f->dirs, .file_mode = 0644, .store_id = "s", .buffer = 64};
    struct sink sink;

    sink_init(&sink, &settings);
    sink_begin(&sink, i, output);
    assert_int_equal(sink_write(&sink, "body", 4), 0);
    f->parcels[i].fd = -1;
    assert_int_equal(sink_finish(&sink, 200, &f->parcels[i]), 0);
    f->parcels[i].conflict = conflict;
    sink_done(&sink);
    return &f->parcels[i];
}

static void run_until(struct fixture *f, unsigned n_done) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

    while (f->n_done < n_done && now_usec(CLOCK_MONOTONIC) < end)
        sd_event_run(f->event, 100000);
    assert_int_equal(f->n_done, n_done);
}

static void test_first_file_does_not_wait(void **state) {
    struct fixture f;
    uint64_t began = now_usec(CLOCK_MONOTONIC);

    fixture_init(&f, *state, FSYNC_BATCH, 5 * USEC_PER_SEC, 64);
    publisher_put(f.publisher, finish(&f, 0, "a/b/c", CONFLICT_RENAME));
    run_until(&f, 1);
    assert_true(now_usec(CLOCK_MONOTONIC) - began < 2 * USEC_PER_SEC);
    assert_int_equal(f.parcels[0].error, 0);
    assert_int_equal(f.parcels[0].fd, -1);
    assert_string_equal(f.parcels[0].placed, "c");
    assert_true(scratch_holds(*state, "a/b/c", "body"));
    assert_int_equal(scratch_count(*state, "a/b"), 1);
    fixture_done(&f);
}

static void test_next_round_waits_for_the_interval(void **state) {
    struct fixture f;
    uint64_t began;

    fixture_init(&f, *state, FSYNC_BATCH, USEC_PER_SEC / 2, 64);
    publisher_put(f.publisher, finish(&f, 0, "a", CONFLICT_RENAME));
    run_until(&f, 1);
    began = now_usec(CLOCK_MONOTONIC);
    for (int i = 1; i < 5; i++)
        publisher_put(f.publisher, finish(&f, i, "a", CONFLICT_RENAME));
    run_until(&f, 5);
    assert_true(now_usec(CLOCK_MONOTONIC) - began > USEC_PER_SEC / 4);
    assert_true(scratch_holds(*state, "a.4", "body"));
    assert_int_equal(f.n_room, 2); /* one round for the first, one for all others */
    fixture_done(&f);
}

static void test_half_full_stage_does_not_wait(void **state) {
    struct fixture f;
    uint64_t began = now_usec(CLOCK_MONOTONIC);

    fixture_init(&f, *state, FSYNC_BATCH, 20 * USEC_PER_SEC, 8);
    publisher_put(f.publisher, finish(&f, 0, "a", CONFLICT_RENAME));
    run_until(&f, 1);
    for (int i = 1; i < 6; i++)
        publisher_put(f.publisher, finish(&f, i, "a", CONFLICT_RENAME));
    run_until(&f, 6);
    assert_true(now_usec(CLOCK_MONOTONIC) - began < 10 * USEC_PER_SEC);
    fixture_done(&f);
}

static void test_hurry_ends_the_wait(void **state) {
    struct fixture f;
    uint64_t began = now_usec(CLOCK_MONOTONIC);

    fixture_init(&f, *state, FSYNC_BATCH, 20 * USEC_PER_SEC, 64);
    publisher_put(f.publisher, finish(&f, 0, "a", CONFLICT_RENAME));
    run_until(&f, 1);
    publisher_put(f.publisher, finish(&f, 1, "a", CONFLICT_RENAME));
    publisher_hurry(f.publisher);
    run_until(&f, 2);
    assert_true(now_usec(CLOCK_MONOTONIC) - began < 10 * USEC_PER_SEC);
    fixture_done(&f);
}

static void test_always_publishes_each(void **state) {
    struct fixture f;

    fixture_init(&f, *state, FSYNC_ALWAYS, 20 * USEC_PER_SEC, 64);
    for (int i = 0; i < FILES; i++)
        publisher_put(f.publisher, finish(&f, i, "d/a", CONFLICT_RENAME));
    run_until(&f, FILES);
    assert_int_equal(scratch_count(*state, "d"), FILES);
    fixture_done(&f);
}

static void test_stage_is_bounded(void **state) {
    struct fixture f;

    fixture_init(&f, *state, FSYNC_BATCH, 0, 2);
    assert_true(publisher_has_room(f.publisher));
    publisher_put(f.publisher, finish(&f, 0, "a", CONFLICT_RENAME));
    publisher_put(f.publisher, finish(&f, 1, "b", CONFLICT_RENAME));
    assert_false(publisher_has_room(f.publisher));
    run_until(&f, 2);
    assert_true(publisher_has_room(f.publisher));
    fixture_done(&f);
}

static void test_each_outcome_is_its_own(void **state) {
    struct fixture f;

    fixture_init(&f, *state, FSYNC_BATCH, 0, 64);
    scratch_write(*state, "a", "old");
    publisher_put(f.publisher, finish(&f, 0, "a", CONFLICT_FAIL));
    publisher_put(f.publisher, finish(&f, 1, "a", CONFLICT_SKIP));
    publisher_put(f.publisher, finish(&f, 2, "b", CONFLICT_FAIL));
    run_until(&f, 3);
    assert_int_equal(f.parcels[0].error, -EEXIST);
    assert_int_equal(f.parcels[1].error, 0);
    assert_true(f.parcels[1].skipped);
    assert_int_equal(f.parcels[2].error, 0);
    assert_true(scratch_holds(*state, "a", "old"));
    assert_true(scratch_holds(*state, "b", "body"));
    assert_int_equal(scratch_count(*state, "."), 2); /* no part file is left */
    fixture_done(&f);
}

static void test_part_file_that_another_took_the_place_of(void **state) {
    const struct scratch *s = *state;
    struct fixture f;

    fixture_init(&f, s, FSYNC_BATCH, 0, 64);
    finish(&f, 0, "a", CONFLICT_FAIL);
    assert_int_equal(unlinkat(s->fd, f.parcels[0].part, 0), 0);
    scratch_write(s, f.parcels[0].part, "half of another file");
    publisher_put(f.publisher, &f.parcels[0]);
    run_until(&f, 1);
    assert_int_equal(f.parcels[0].error, -ESTALE);
    assert_false(scratch_exists(s, "a"));
    assert_true(scratch_holds(s, f.parcels[0].part, "half of another file"));
    fixture_done(&f);
}

static void test_part_file_that_vanished(void **state) {
    const struct scratch *s = *state;
    struct fixture f;

    fixture_init(&f, s, FSYNC_BATCH, 0, 64);
    finish(&f, 0, "a", CONFLICT_RENAME);
    assert_int_equal(unlinkat(s->fd, f.parcels[0].part, 0), 0);
    publisher_put(f.publisher, &f.parcels[0]);
    run_until(&f, 1);
    assert_int_equal(f.parcels[0].error, -ENOENT);
    assert_int_equal(scratch_count(s, "."), 0);
    fixture_done(&f);
}

static void test_freed_with_work_left(void **state) {
    struct fixture f;

    fixture_init(&f, *state, FSYNC_BATCH, 20 * USEC_PER_SEC, 64);
    for (int i = 0; i < FILES; i++)
        publisher_put(f.publisher, finish(&f, i, "a", CONFLICT_RENAME));
    fixture_done(&f);
    assert_in_range(scratch_count(*state, "."), FILES, FILES);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_first_file_does_not_wait),      TEST(test_next_round_waits_for_the_interval),
        TEST(test_half_full_stage_does_not_wait), TEST(test_hurry_ends_the_wait),
        TEST(test_always_publishes_each),         TEST(test_stage_is_bounded),
        TEST(test_each_outcome_is_its_own),       TEST(test_part_file_that_vanished),
        TEST(test_part_file_that_another_took_the_place_of),
        TEST(test_freed_with_work_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
