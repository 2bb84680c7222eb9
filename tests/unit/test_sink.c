/* sink.h and dirs.h: part files beneath the root, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "daemon/worker/sink.h"
#include "scratch.h"

#define STORE "0123456789abcdef0123456789abcdef"

struct fixture {
    struct dirs *dirs;
    struct sink_settings settings;
    struct sink sink;
};

static void fixture_init(struct fixture *f, const struct scratch *s) {
    assert_int_equal(dirs_new(&f->dirs, s->fd, 0750), 0);
    f->settings =
        (struct sink_settings){.dirs = f->dirs, .file_mode = 0666, .store_id = STORE, .buffer = 64};
    sink_init(&f->sink, &f->settings);
}

static void fixture_done(struct fixture *f) {
    sink_done(&f->sink);
    dirs_free(f->dirs);
}

/* Writes text through the sink and leaves it as a part file; 0 or what sink_finish() said. */
static int put(struct fixture *f, const char *output, const char *text, struct parcel *parcel) {
    int r;

    *parcel = (struct parcel){.fd = -1};
    sink_begin(&f->sink, 7, output);
    r = *text ? sink_write(&f->sink, text, strlen(text)) : 0;
    if (r == 0)
        r = sink_finish(&f->sink, 200, parcel);
    if (r < 0)
        sink_discard(&f->sink);
    return r;
}

static void test_nothing_on_disk_before_it_is_needed(void **state) {
    struct fixture f;

    fixture_init(&f, *state);
    sink_begin(&f.sink, 7, "a/b");
    assert_int_equal(sink_write(&f.sink, "short", 5), 0);
    assert_int_equal(scratch_count(*state, "."), 0);
    sink_discard(&f.sink);
    assert_int_equal(scratch_count(*state, "."), 0);
    fixture_done(&f);
}

static void test_finish_leaves_part_beside_target(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(put(&f, "a/b/c.bin", "hello", &parcel), 0);
    assert_string_equal(parcel.name, "c.bin");
    assert_string_equal(parcel.part, ".dld-01234567-7.part");
    assert_true(scratch_holds(*state, "a/b/.dld-01234567-7.part", "hello"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_empty_body_makes_empty_file(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(put(&f, "c", "", &parcel), 0);
    assert_true(scratch_holds(*state, ".dld-01234567-7.part", ""));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_modes_are_exact(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;
    struct stat st;

    fixture_init(&f, s);
    assert_int_equal(put(&f, "d/c", "x", &parcel), 0);
    assert_int_equal(fstatat(s->fd, "d", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(fstatat(s->fd, "d/.dld-01234567-7.part", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_pieces_of_every_size_arrive_in_order(void **state) {
    char expected[256] = "", piece[128];
    struct parcel parcel = {.fd = -1};
    struct fixture f;
    size_t total = 0;

    fixture_init(&f, *state);
    sink_begin(&f.sink, 7, "c");
    for (size_t n = 1; total + n < sizeof(expected); n = n < 60 ? n * 2 : 70) {
        memset(piece, (int)('a' + n % 26), n);
        memcpy(expected + total, piece, n);
        total += n;
        assert_int_equal(sink_write(&f.sink, piece, n), 0);
    }
    expected[total] = '\0';
    assert_int_equal(sink_finish(&f.sink, 200, &parcel), 0);
    assert_true(scratch_holds(*state, ".dld-01234567-7.part", expected));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_discard_removes_part(void **state) {
    char big[200];
    struct fixture f;

    memset(big, 'x', sizeof(big));
    fixture_init(&f, *state);
    sink_begin(&f.sink, 7, "c");
    assert_int_equal(sink_write(&f.sink, big, sizeof(big)), 0);
    assert_true(scratch_exists(*state, ".dld-01234567-7.part"));
    sink_discard(&f.sink);
    assert_int_equal(scratch_count(*state, "."), 0);
    fixture_done(&f);
}

static void test_left_over_part_is_replaced_not_reused(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, s);
    scratch_write(s, "published", "keep me");
    assert_int_equal(linkat(s->fd, "published", s->fd, ".dld-01234567-7.part", 0), 0);
    assert_int_equal(put(&f, "c", "new", &parcel), 0);
    assert_true(scratch_holds(s, "published", "keep me"));
    assert_true(scratch_holds(s, ".dld-01234567-7.part", "new"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_fifo_in_place_of_part_is_not_waited_for(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, s);
    assert_int_equal(mkfifoat(s->fd, ".dld-01234567-7.part", 0600), 0);
    assert_int_equal(put(&f, "c", "new", &parcel), 0);
    assert_true(scratch_holds(s, ".dld-01234567-7.part", "new"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_symlinked_directory_is_refused(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, s);
    assert_int_equal(mkdirat(s->fd, "real", 0755), 0);
    assert_int_equal(symlinkat("/tmp", s->fd, "out"), 0);
    assert_int_equal(symlinkat("real", s->fd, "in"), 0);
    assert_int_equal(put(&f, "out/c", "x", &parcel), -ELOOP);
    assert_int_equal(put(&f, "in/c", "x", &parcel), -ELOOP);
    assert_int_equal(put(&f, "real/../../c", "x", &parcel), -EXDEV);
    fixture_done(&f);
}

static void test_symlink_in_place_of_part_is_not_followed(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, s);
    scratch_write(s, "victim", "safe");
    assert_int_equal(symlinkat("victim", s->fd, ".dld-01234567-7.part"), 0);
    assert_int_equal(put(&f, "c", "new", &parcel), 0);
    assert_true(scratch_holds(s, "victim", "safe"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_file_in_the_way_of_a_directory(void **state) {
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    scratch_write(*state, "a", "file");
    assert_int_equal(put(&f, "a/c", "x", &parcel), -ENOTDIR);
    fixture_done(&f);
}

static void test_removed_directory_is_made_again(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, s);
    assert_int_equal(put(&f, "a/c", "x", &parcel), 0);
    parcel_discard(&parcel);
    parcel_done(&parcel);
    assert_int_equal(unlinkat(s->fd, "a", AT_REMOVEDIR), 0);
    assert_int_equal(put(&f, "a/c", "again", &parcel), 0);
    assert_true(scratch_holds(s, "a/.dld-01234567-7.part", "again"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_moved_directory_is_noticed(void **state) {
    const struct scratch *s = *state;
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, s);
    assert_int_equal(put(&f, "a/c", "x", &parcel), 0);
    parcel_done(&parcel);
    assert_int_equal(renameat(s->fd, "a", s->fd, "moved"), 0);
    usleep(DIRS_TRUSTED + 10000);
    assert_int_equal(put(&f, "a/c", "second", &parcel), 0);
    assert_true(scratch_holds(s, "a/.dld-01234567-7.part", "second"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static int open_descriptors(void) {
    struct scratch self = {.fd = AT_FDCWD};

    return scratch_count(&self, "/proc/self/fd");
}

static void test_open_directories_are_bounded(void **state) {
    int before = open_descriptors();
    struct parcel parcel;
    struct fixture f;
    char output[32];

    fixture_init(&f, *state);
    for (int i = 0; i < 3 * DIRS_KEPT; i++) {
        snprintf(output, sizeof(output), "d%d/e/c", i);
        assert_int_equal(put(&f, output, "x", &parcel), 0);
        parcel_done(&parcel);
    }
    assert_in_range(open_descriptors() - before, 1, DIRS_KEPT + 4);
    fixture_done(&f);
    assert_int_equal(open_descriptors(), before);
}

static void test_missing_directory_is_not_made_for_a_look(void **state) {
    struct dir *dir = NULL;
    struct fixture f;

    fixture_init(&f, *state);
    assert_int_equal(dirs_open(f.dirs, "a/b", 3, false, &dir), -ENOENT);
    assert_int_equal(scratch_count(*state, "."), 0);
    fixture_done(&f);
}

/* ---- parts that are kept ---- */

/* Writes text and keeps the part file; its mark. */
static uint64_t keep(struct fixture *f, const char *text) {
    struct parcel parcel = {.fd = -1};
    uint64_t mark;

    sink_begin(&f->sink, 7, "c");
    assert_int_equal(sink_write(&f->sink, text, strlen(text)), 0);
    assert_int_equal(sink_keep(&f->sink, &parcel), 0);
    mark = part_mark(parcel.fd);
    assert_true(mark != 0);
    parcel_done(&parcel);
    return mark;
}

static void test_kept_part_is_gone_on_with(void **state) {
    struct parcel parcel = {.fd = -1};
    struct fixture f;
    uint64_t mark;

    fixture_init(&f, *state);
    mark = keep(&f, "hello");
    sink_begin(&f.sink, 7, "c");
    assert_int_equal(sink_resume(&f.sink, 4, 4, mark), 0);
    assert_int_equal(sink_write(&f.sink, "s", 1), 0);
    assert_int_equal(sink_finish(&f.sink, 200, &parcel), 0);
    assert_int_equal(part_mark(parcel.fd), mark);
    assert_true(scratch_holds(*state, ".dld-01234567-7.part", "hells"));
    parcel_done(&parcel);
    fixture_done(&f);
}

static void test_part_begun_anew_is_another_file(void **state) {
    struct fixture f;
    uint64_t mark, old;
    int before;

    fixture_init(&f, *state);
    old = keep(&f, "version one");
    before = openat(((struct scratch *)*state)->fd, ".dld-01234567-7.part", O_RDONLY | O_CLOEXEC);
    sink_begin(&f.sink, 7, "c");
    assert_int_equal(sink_resume(&f.sink, 7, 7, old), 0);
    assert_int_equal(sink_restart(&f.sink), 0);
    assert_int_equal(lseek(before, 0, SEEK_END), 7); /* as it was left */
    close(before);
    mark = keep(&f, "two, longer than one");
    assert_true(mark != old);
    sink_begin(&f.sink, 7, "c");
    assert_int_equal(sink_resume(&f.sink, 7, 7, old), -ESTALE);
    assert_int_equal(sink_resume(&f.sink, 7, 7, 0), -ESTALE);
    assert_true(scratch_holds(*state, ".dld-01234567-7.part", "two, longer than one"));
    assert_int_equal(sink_resume(&f.sink, 7, 7, mark), 0);
    sink_discard(&f.sink);
    fixture_done(&f);
}

/* Also where the new one could get the number of the old one, which is gone already. */
static void test_marks_are_not_given_twice(void **state) {
    struct fixture f;
    uint64_t last = 0;

    fixture_init(&f, *state);
    for (int i = 0; i < 50; i++) {
        uint64_t mark = keep(&f, "text");

        assert_true(mark != last);
        last = mark;
    }
    fixture_done(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

/* ---- room ---- */

static void fixture_room(struct fixture *f, struct room *room) {
    f->settings.room = room;
    room->min_free = UINT64_MAX / 2;
}

static void test_no_room_leaves_nothing(void **state) {
    struct room room = {0};
    struct parcel parcel;
    struct fixture f;

    fixture_init(&f, *state);
    fixture_room(&f, &room);
    assert_int_equal(put(&f, "a", "hello", &parcel), -EROOM);
    assert_int_equal(scratch_count(*state, "."), 0);
    fixture_done(&f);
}

static void test_room_for_all_that_is_announced(void **state) {
    char piece[64] = {0};
    struct room room = {0};
    struct fixture f;

    fixture_init(&f, *state);
    f.settings.room = &room;
    sink_begin(&f.sink, 7, "a");
    sink_expect(&f.sink, UINT64_MAX / 2);
    assert_int_equal(sink_write(&f.sink, piece, sizeof(piece)), -EROOM);
    sink_discard(&f.sink);
    sink_begin(&f.sink, 7, "a"); /* of which nothing is announced */
    assert_int_equal(sink_write(&f.sink, piece, sizeof(piece)), 0);
    sink_discard(&f.sink);
    fixture_done(&f);
}

static void test_room_that_goes_in_mid_body(void **state) {
    char piece[64] = {0};
    struct room room = {0};
    struct fixture f;

    fixture_init(&f, *state);
    f.settings.room = &room;
    sink_begin(&f.sink, 7, "a");
    assert_int_equal(sink_write(&f.sink, piece, sizeof(piece)), 0);
    fixture_room(&f, &room);
    assert_int_equal(sink_write(&f.sink, piece, sizeof(piece)), -EROOM);
    sink_discard(&f.sink);
    assert_int_equal(scratch_count(*state, "."), 0);
    fixture_done(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_no_room_leaves_nothing),
        TEST(test_room_for_all_that_is_announced),
        TEST(test_room_that_goes_in_mid_body),
        TEST(test_nothing_on_disk_before_it_is_needed),
        TEST(test_finish_leaves_part_beside_target),
        TEST(test_empty_body_makes_empty_file),
        TEST(test_modes_are_exact),
        TEST(test_pieces_of_every_size_arrive_in_order),
        TEST(test_discard_removes_part),
        TEST(test_left_over_part_is_replaced_not_reused),
        TEST(test_fifo_in_place_of_part_is_not_waited_for),
        TEST(test_symlinked_directory_is_refused),
        TEST(test_symlink_in_place_of_part_is_not_followed),
        TEST(test_file_in_the_way_of_a_directory),
        TEST(test_removed_directory_is_made_again),
        TEST(test_moved_directory_is_noticed),
        TEST(test_open_directories_are_bounded),
        TEST(test_missing_directory_is_not_made_for_a_look),
        TEST(test_kept_part_is_gone_on_with),
        TEST(test_part_begun_anew_is_another_file),
        TEST(test_marks_are_not_given_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
