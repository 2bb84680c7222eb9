/* place.h and owner.h: which name a finished file gets, and knowing it again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/worker/owner.h"
#include "daemon/worker/place.h"
#include "scratch.h"

#define STORE "0123456789abcdef0123456789abcdef"

static int place(const struct scratch *s, const char *name, enum on_conflict conflict, char *ret) {
    int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

    scratch_write(s, ".dld-1.part", "new");
    r = place_file(fd, ".dld-1.part", name, conflict, ret);
    close(fd);
    return r;
}

static void test_free_name(void **state) {
    char name[NAME_MAX_BYTES + 1];

    for (int c = 0; c < CONFLICT_MAX_; c++) {
        assert_int_equal(place(*state, "a.jpg", (enum on_conflict)c, name), 0);
        assert_string_equal(name, "a.jpg");
        assert_true(scratch_holds(*state, "a.jpg", "new"));
        assert_int_equal(scratch_count(*state, "."), 1);
        assert_int_equal(unlinkat(((struct scratch *)*state)->fd, "a.jpg", 0), 0);
    }
}

static void test_rename_numbers_the_name(void **state) {
    char name[NAME_MAX_BYTES + 1];

    scratch_write(*state, "a.jpg", "old");
    scratch_write(*state, "a.1.jpg", "old");
    assert_int_equal(place(*state, "a.jpg", CONFLICT_RENAME, name), 0);
    assert_string_equal(name, "a.2.jpg");
    assert_true(scratch_holds(*state, "a.jpg", "old"));
    assert_true(scratch_holds(*state, "a.1.jpg", "old"));
    assert_true(scratch_holds(*state, "a.2.jpg", "new"));
}

static void test_fail_keeps_what_is_there(void **state) {
    char name[NAME_MAX_BYTES + 1];

    scratch_write(*state, "a.jpg", "old");
    assert_int_equal(place(*state, "a.jpg", CONFLICT_FAIL, name), -EEXIST);
    assert_true(scratch_holds(*state, "a.jpg", "old"));
}

static void test_overwrite_replaces(void **state) {
    char name[NAME_MAX_BYTES + 1];

    scratch_write(*state, "a.jpg", "old");
    assert_int_equal(place(*state, "a.jpg", CONFLICT_OVERWRITE, name), 0);
    assert_true(scratch_holds(*state, "a.jpg", "new"));
}

static void test_overwrite_replaces_a_symlink_not_its_target(void **state) {
    const struct scratch *s = *state;
    char name[NAME_MAX_BYTES + 1];

    scratch_write(s, "victim", "safe");
    assert_int_equal(symlinkat("victim", s->fd, "a.jpg"), 0);
    assert_int_equal(place(s, "a.jpg", CONFLICT_OVERWRITE, name), 0);
    assert_true(scratch_holds(s, "a.jpg", "new"));
    assert_true(scratch_holds(s, "victim", "safe"));
}

static void test_directory_is_never_replaced(void **state) {
    const struct scratch *s = *state;
    char name[NAME_MAX_BYTES + 1];

    assert_int_equal(mkdirat(s->fd, "a", 0755), 0);
    assert_int_equal(place(s, "a", CONFLICT_OVERWRITE, name), -EISDIR);
    assert_int_equal(place(s, "a", CONFLICT_SKIP, name), -EISDIR);
    assert_int_equal(place(s, "a", CONFLICT_FAIL, name), -EEXIST);
    assert_int_equal(place(s, "a", CONFLICT_RENAME, name), 0);
    assert_string_equal(name, "a.1");
}

static void test_skip_leaves_both(void **state) {
    char name[NAME_MAX_BYTES + 1];

    scratch_write(*state, "a.jpg", "old");
    assert_int_equal(place(*state, "a.jpg", CONFLICT_SKIP, name), 1);
    assert_string_equal(name, "a.jpg");
    assert_true(scratch_holds(*state, "a.jpg", "old"));
    assert_true(scratch_exists(*state, ".dld-1.part"));
}

static void test_dangling_symlink_is_taken(void **state) {
    const struct scratch *s = *state;
    char name[NAME_MAX_BYTES + 1];

    assert_int_equal(symlinkat("nowhere", s->fd, "a.jpg"), 0);
    assert_int_equal(place(s, "a.jpg", CONFLICT_RENAME, name), 0);
    assert_string_equal(name, "a.1.jpg");
    assert_int_equal(place_check(s->fd, "a.jpg", CONFLICT_FAIL), -EEXIST);
}

static void test_check_before_fetching(void **state) {
    const struct scratch *s = *state;

    for (int c = 0; c < CONFLICT_MAX_; c++)
        assert_int_equal(place_check(s->fd, "a", (enum on_conflict)c), 0);
    scratch_write(s, "a", "old");
    assert_int_equal(place_check(s->fd, "a", CONFLICT_RENAME), 0);
    assert_int_equal(place_check(s->fd, "a", CONFLICT_OVERWRITE), 0);
    assert_int_equal(place_check(s->fd, "a", CONFLICT_SKIP), 1);
    assert_int_equal(place_check(s->fd, "a", CONFLICT_FAIL), -EEXIST);
}

static void test_free_number_without_gaps(void **state) {
    const struct scratch *s = *state;
    char numbered[NAME_MAX_BYTES + 1];
    unsigned found;

    scratch_write(s, "a.jpg", "");
    for (unsigned n = 1; n <= 40; n++) {
        assert_int_equal(place_free_number(s->fd, "a.jpg", 0, &found), 0);
        assert_int_equal(found, n);
        name_with_number("a.jpg", n, numbered);
        scratch_write(s, numbered, "");
    }
}

static void test_free_number_is_free_though_there_are_gaps(void **state) {
    const struct scratch *s = *state;
    char numbered[NAME_MAX_BYTES + 1];
    unsigned found;

    for (unsigned n = 0; n <= 70; n++) {
        name_with_number("a", n, numbered);
        if (n % 7 != 3)
            scratch_write(s, numbered, "");
        assert_int_equal(place_free_number(s->fd, "a", 0, &found), 0);
        name_with_number("a", found, numbered);
        assert_false(scratch_exists(s, numbered));
    }
}

static void test_long_name_keeps_its_extension(void **state) {
    char wanted[NAME_MAX_BYTES + 1], name[NAME_MAX_BYTES + 1];

    memset(wanted, 'n', sizeof(wanted));
    strcpy(wanted + NAME_MAX_BYTES - 4, ".jpg");
    scratch_write(*state, wanted, "old");
    assert_int_equal(place(*state, wanted, CONFLICT_RENAME, name), 0);
    assert_int_equal(strlen(name), NAME_MAX_BYTES);
    assert_string_equal(name + NAME_MAX_BYTES - 6, ".1.jpg");
}

/* One of the racing processes: places files of its own under the one name. Exits with how many it
 * could not. */
static void race(const struct scratch *s, int who, int files) {
    char part[32], name[NAME_MAX_BYTES + 1], text[8];
    int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY), failed = 0;

    for (int i = 0; i < files; i++) {
        snprintf(part, sizeof(part), ".dld-%d.part", who * 100 + i);
        snprintf(text, sizeof(text), "%d", who);
        scratch_write(s, part, text);
        failed += place_file(fd, part, "a.jpg", CONFLICT_RENAME, name) != 0;
    }
    _exit(failed);
}

static void test_racing_processes_lose_nothing(void **state) {
    enum { PROCESSES = 8, FILES = 25 };
    int status;

    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            race(*state, i, FILES);
    for (int i = 0; i < PROCESSES; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(scratch_count(*state, "."), PROCESSES * FILES);
}

/* ---- file systems that lack something ---- */

/* From now on this process finds that the system call fails with that error. */
static void deny(unsigned call, int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(99);
}

/* What placing the name `a` comes to where rename can't refuse to replace, nor link, unless links,
 * make hard links: 0, 1 or an errno. */
static int place_poorly(const struct scratch *s, enum on_conflict conflict, bool links) {
    char name[NAME_MAX_BYTES + 1];
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        deny(SYS_renameat2, EINVAL);
        if (!links)
            deny(SYS_linkat, EPERM);
        _exit(abs(place(s, "a", conflict, name)));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_links_do_where_rename_can_not(void **state) {
    assert_int_equal(place_poorly(*state, CONFLICT_FAIL, true), 0);
    assert_true(scratch_holds(*state, "a", "new"));
    scratch_write(*state, "a", "old");
    assert_int_equal(place_poorly(*state, CONFLICT_FAIL, true), EEXIST);
    assert_int_equal(place_poorly(*state, CONFLICT_SKIP, true), 1);
    assert_true(scratch_holds(*state, "a", "old"));
    assert_int_equal(place_poorly(*state, CONFLICT_RENAME, true), 0);
    assert_true(scratch_holds(*state, "a.1", "new"));
    assert_false(scratch_exists(*state, ".dld-1.part"));
}

static void test_nothing_is_replaced_where_it_can_not_be_told(void **state) {
    for (int c = 0; c < CONFLICT_MAX_; c++)
        if (c != CONFLICT_OVERWRITE)
            assert_int_equal(place_poorly(*state, (enum on_conflict)c, false), EOPNOTSUPP);
    assert_false(scratch_exists(*state, "a"));
    scratch_write(*state, "a", "old");
    assert_int_equal(place_poorly(*state, CONFLICT_OVERWRITE, false), 0);
    assert_true(scratch_holds(*state, "a", "new"));
}

/* ---- owner ---- */

static void mark(const struct scratch *s, const char *name, const char *store, int64_t job) {
    int fd = openat(s->fd, name, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    if (owner_mark(fd, store, job, 203) == -ENOTSUP)
        skip(); /* a file system without extended attributes */
    close(fd);
}

static void test_own_file_is_found(void **state) {
    const struct scratch *s = *state;
    struct owned_file own;

    scratch_write(s, "a.jpg", "12345");
    mark(s, "a.jpg", STORE, 42);
    for (int c = 0; c < CONFLICT_MAX_; c++) {
        assert_int_equal(owner_find(s->fd, "a.jpg", (enum on_conflict)c, STORE, 42, &own), 1);
        assert_string_equal(own.name, "a.jpg");
        assert_int_equal(own.size, 5);
        assert_int_equal(own.http_status, 203);
    }
}

static void test_files_of_others_are_not_own(void **state) {
    const struct scratch *s = *state;
    struct owned_file own;

    scratch_write(s, "a", "");
    assert_int_equal(owner_find(s->fd, "a", CONFLICT_RENAME, STORE, 4, &own), 0);
    mark(s, "a", STORE, 42);
    assert_int_equal(owner_find(s->fd, "a", CONFLICT_RENAME, STORE, 4, &own), 0);
    assert_int_equal(owner_find(s->fd, "a", CONFLICT_RENAME, STORE, 420, &own), 0);
    mark(s, "a", "ffffffffffffffffffffffffffffffff", 4);
    assert_int_equal(owner_find(s->fd, "a", CONFLICT_RENAME, STORE, 4, &own), 0);
    assert_int_equal(owner_find(s->fd, "missing", CONFLICT_RENAME, STORE, 4, &own), 0);
}

static void test_own_numbered_file_is_found(void **state) {
    const struct scratch *s = *state;
    char numbered[NAME_MAX_BYTES + 1];
    struct owned_file own;

    for (unsigned n = 0; n < 20; n++) {
        name_with_number("a.jpg", n, numbered);
        scratch_write(s, numbered, "");
    }
    mark(s, "a.13.jpg", STORE, 42);
    assert_int_equal(owner_find(s->fd, "a.jpg", CONFLICT_RENAME, STORE, 42, &own), 1);
    assert_string_equal(own.name, "a.13.jpg");
    assert_int_equal(owner_find(s->fd, "a.jpg", CONFLICT_FAIL, STORE, 42, &own), 0);
}

static void test_links_and_fifos_are_not_looked_into(void **state) {
    const struct scratch *s = *state;
    struct owned_file own;

    scratch_write(s, "real", "");
    mark(s, "real", STORE, 42);
    assert_int_equal(symlinkat("real", s->fd, "link"), 0);
    assert_int_equal(mkfifoat(s->fd, "fifo", 0600), 0);
    assert_int_equal(owner_find(s->fd, "link", CONFLICT_FAIL, STORE, 42, &own), 0);
    assert_int_equal(owner_find(s->fd, "fifo", CONFLICT_FAIL, STORE, 42, &own), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_free_name),
        TEST(test_rename_numbers_the_name),
        TEST(test_fail_keeps_what_is_there),
        TEST(test_overwrite_replaces),
        TEST(test_overwrite_replaces_a_symlink_not_its_target),
        TEST(test_directory_is_never_replaced),
        TEST(test_skip_leaves_both),
        TEST(test_dangling_symlink_is_taken),
        TEST(test_check_before_fetching),
        TEST(test_free_number_without_gaps),
        TEST(test_free_number_is_free_though_there_are_gaps),
        TEST(test_long_name_keeps_its_extension),
        TEST(test_racing_processes_lose_nothing),
        TEST(test_links_do_where_rename_can_not),
        TEST(test_nothing_is_replaced_where_it_can_not_be_told),
        TEST(test_own_file_is_found),
        TEST(test_files_of_others_are_not_own),
        TEST(test_own_numbered_file_is_found),
        TEST(test_links_and_fifos_are_not_looked_into),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
