/* room.h: whether a file system has room for what comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/worker/room.h"

#define NOW (UINT64_C(1000) * USEC_PER_SEC)

static int some_fd(void) {
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void test_asks_first(void **state) {
    _cleanup_close_ int fd = some_fd();
    struct room r = {0};

    (void)state;
    assert_int_equal(room_check(&r, fd, 1, 0, NOW), 0);
    assert_int_equal(r.asked_usec, NOW);
    assert_true(r.free > 0);
}

static void test_more_than_there_is(void **state) {
    _cleanup_close_ int fd = some_fd();
    struct room r = {.asked_usec = NOW, .dev = 1, .free = 1000, .min_free = 300};

    (void)state;
    assert_int_equal(room_check(&r, fd, 1, 700, NOW), 0);
    assert_int_equal(room_check(&r, fd, 1, 701, NOW), -EROOM);
    assert_int_equal(room_check(&r, fd, 1, UINT64_MAX, NOW), -EROOM);
}

static void test_what_is_taken_counts(void **state) {
    _cleanup_close_ int fd = some_fd();
    struct room r = {.asked_usec = NOW, .dev = 1, .free = 1000};

    (void)state;
    room_take(&r, 600);
    assert_int_equal(room_check(&r, fd, 1, 400, NOW), 0);
    assert_int_equal(room_check(&r, fd, 1, 401, NOW), -EROOM);
    room_take(&r, 600);
    assert_int_equal(r.free, 0);
}

static void test_asks_again_after_a_second(void **state) {
    _cleanup_close_ int fd = some_fd();
    struct room r = {.asked_usec = NOW, .dev = 1, .free = 0};

    (void)state;
    assert_int_equal(room_check(&r, fd, 1, 1, NOW + USEC_PER_SEC - 1), -EROOM);
    assert_int_equal(room_check(&r, fd, 1, 1, NOW + USEC_PER_SEC), 0);
}

static void test_asks_again_about_another(void **state) {
    _cleanup_close_ int fd = some_fd();
    struct room r = {.asked_usec = NOW, .dev = 1, .free = 0};

    (void)state;
    assert_int_equal(room_check(&r, fd, 2, 1, NOW), 0);
}

static void test_one_that_does_not_say(void **state) {
    struct room r = {.asked_usec = NOW, .dev = 1, .free = UINT64_MAX, .min_free = 300};

    (void)state;
    room_take(&r, 600);
    assert_int_equal(room_check(&r, -1, 1, 1u << 30, NOW), 0);
    assert_int_equal(r.free, UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_first),
        cmocka_unit_test(test_more_than_there_is),
        cmocka_unit_test(test_what_is_taken_counts),
        cmocka_unit_test(test_asks_again_after_a_second),
        cmocka_unit_test(test_asks_again_about_another),
        cmocka_unit_test(test_one_that_does_not_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
