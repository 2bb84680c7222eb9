/* unnamed.h, and what sink.h and place.h do with it: small files that have no name until their last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "daemon/worker/place.h"
#include "daemon/worker/sink.h"
#include "daemon/worker/unnamed.h"
#include "scratch.h"

#define STORE "0123456789abcdef0123456789abcdef"

struct fixture {
    const struct scratch *scratch;
    struct dirs *dirs;
    struct sink_settings settings;
    struct sink sink;
    int64_t jobs;
    bool works; /* the file system of the tests can do it */
};

/* Writes text to a file and hands it over. */
static int put(struct fixture *f, const char *output, const char *text, struct parcel *parcel) {
    int r;

    *parcel = (struct parcel){.fd = -1};
    sink_begin(&f->sink, ++f->jobs, output);
    r = sink_write(&f->sink, text, strlen(text));
    return r < 0 ? r : sink_finish(&f->sink, 200, parcel);
}

static void place_one(struct fixture *f, const char *output, const char *text,
                      enum on_conflict conflict, struct parcel *parcel) {
    assert_int_equal(put(f, output, text, parcel), 0);
    parcel->conflict = conflict;
    parcel_place(parcel);
    parcel_done(parcel);
}

/* The first two files of a directory have part files; all that come then have none. */
static void fixture_init(struct fixture *f, const struct scratch *s) {
    struct parcel parcel;

    *f = (struct fixture){.scratch = s};
    assert_int_equal(dirs_new(&f->dirs, s->fd, 0750), 0);
    f->settings = (struct sink_settings){
        .dirs = f->dirs, .file_mode = 0640, .store_id = STORE, .buffer = 64, .unnamed = true};
    sink_init(&f->sink, &f->settings);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(put(f, "d/first", "", &parcel), 0);
        assert_false(parcel.unnamed);
        parcel_discard(&parcel);
        parcel_done(&parcel);
    }
    assert_int_equal(put(f, "d/first", "", &parcel), 0);
    f->works = parcel.unnamed;
    parcel_discard(&parcel);
    parcel_done(&parcel);
    assert_int_equal(scratch_count(s, "d"), 0);
}

static void fixture_done(struct fixture *f) {
    sink_done(&f->sink);
    dirs_free(f->dirs);
}

static void test_has_no_name_before_its_last(void **state) {
    struct parcel parcel;
    struct fixture f;
    struct stat st;

    fixture_init(&f, *state);
    assert_int_equal(put(&f, "d/a", "small", &parcel), 0);
    assert_int_equal(scratch_count(*state, "d"), f.works ? 0 : 1);
    parcel_place(&parcel);
    assert_int_equal(parcel.error, 0);
    assert_string_equal(parcel.placed, "a");
    assert_true(scratch_holds(*state, "d/a", "small"));
    assert_int_equal(scratch_count(*state, "d"), 1);
    assert_int_equal(fstatat(f.scratch->fd, "d/a", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_nlink, 1);
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_given_up_leaves_nothing(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(put(&f, "d/a", "small", &parcel), 0);
    parcel_discard(&parcel);
    parcel_done(&parcel);
    assert_int_equal(scratch_count(*state, "d"), 0);
    fixture_done(&f);
}

static void test_larger_than_the_buffer_has_a_part_file(void **state) {
    char text[200] = {0};
    struct parcel parcel;
    struct fixture f;

    memset(text, 'x', sizeof(text) - 1);
    fixture_init(&f, *state);
    assert_int_equal(put(&f, "d/a", text, &parcel), 0);
    assert_false(parcel.unnamed);
    assert_true(scratch_holds(*state, "d/.dld-01234567-4.part", text));
    parcel_discard(&parcel);
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_conflicts_are_as_ever(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    place_one(&f, "d/a", "old", CONFLICT_FAIL, &parcel);
    place_one(&f, "d/a", "new", CONFLICT_FAIL, &parcel);
    assert_int_equal(parcel.error, -EEXIST);
    place_one(&f, "d/a", "new", CONFLICT_SKIP, &parcel);
    assert_int_equal(parcel.error, 0);
    assert_true(parcel.skipped);
    assert_true(scratch_holds(*state, "d/a", "old"));
    place_one(&f, "d/a", "new", CONFLICT_RENAME, &parcel);
    assert_string_equal(parcel.placed, "a.1");
    assert_true(scratch_holds(*state, "d/a.1", "new"));
    place_one(&f, "d/a", "newer", CONFLICT_OVERWRITE, &parcel);
    assert_int_equal(parcel.error, 0);
    assert_true(scratch_holds(*state, "d/a", "newer"));
    assert_int_equal(scratch_count(*state, "d"), 2);
    fixture_done(&f);
}

static void test_a_directory_is_not_replaced(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(mkdirat(f.scratch->fd, "d/a", 0755), 0);
    place_one(&f, "d/a", "new", CONFLICT_OVERWRITE, &parcel);
    assert_int_equal(parcel.error, -EISDIR);
    assert_int_equal(scratch_count(*state, "d"), 1);
    fixture_done(&f);
}

static void test_left_over_part_is_not_reused(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    place_one(&f, "d/a", "old", CONFLICT_FAIL, &parcel);
    scratch_write(*state, "d/.dld-01234567-5.part", "left over");
    place_one(&f, "d/a", "new", CONFLICT_OVERWRITE, &parcel);
    assert_true(scratch_holds(*state, "d/a", "new"));
    assert_false(scratch_exists(*state, "d/.dld-01234567-5.part"));
    fixture_done(&f);
}

static void test_removed_directory_is_made_again(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(unlinkat(f.scratch->fd, "d", AT_REMOVEDIR), 0);
    place_one(&f, "d/a", "new", CONFLICT_FAIL, &parcel);
    assert_int_equal(parcel.error, 0);
    assert_true(scratch_holds(*state, "d/a", "new"));
    fixture_done(&f);
}

static void test_where_it_can_not_be_linked_it_is_made_by_name(void **state) {
    struct parcel parcel;
    struct dir *dir;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(dirs_open(f.dirs, "d/a", 1, false, &dir), 0);
    dir->unnamed = UNNAMED_FAILS;
    dir_unref(dir);
    assert_int_equal(put(&f, "d/a", "new", &parcel), 0);
    assert_false(parcel.unnamed);
    assert_true(scratch_holds(*state, "d/.dld-01234567-4.part", "new"));
    parcel_discard(&parcel);
    parcel_done(&parcel);
    fixture_done(&f);
}


#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_has_no_name_before_its_last),
        TEST(test_given_up_leaves_nothing),
        TEST(test_larger_than_the_buffer_has_a_part_file),
        TEST(test_conflicts_are_as_ever),
        TEST(test_a_directory_is_not_replaced),
        TEST(test_left_over_part_is_not_reused),
        TEST(test_removed_directory_is_made_again),
        TEST(test_where_it_can_not_be_linked_it_is_made_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
