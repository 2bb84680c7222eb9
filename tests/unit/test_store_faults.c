/* The durable queue: files that it must not touch, full disks, damage, and being killed. */

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

static void file_exec(const struct fixture *f, const char *sql) {
    sqlite3 *db;

    assert_int_equal(sqlite3_open(fixture_path(f, "queue.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Opening fails with this error, and these words in the sentence. */
static void assert_refused(struct fixture *f, int error, const char *words) {
    _cleanup_free_ char *why = NULL;

    assert_int_equal(fixture_open(f, &why), error);
    assert_non_null(why);
    assert_non_null(strstr(why, fixture_path(f, "queue.db")));
    if (!strstr(why, words))
        fail_msg("%s", why);
}

static void test_file_is_private(void **state) {
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_return_code(stat(fixture_path(f, "queue.db"), &st), errno);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_return_code(stat(fixture_path(f, "queue.db-wal"), &st), errno);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_id_stays(void **state) {
    struct fixture *f = *state;
    char id[STORE_ID_LENGTH + 1];

    assert_int_equal(strlen(store_id(f->store)), STORE_ID_LENGTH);
    assert_int_equal(strspn(store_id(f->store), "0123456789abcdef"), STORE_ID_LENGTH);
    strcpy(id, store_id(f->store));
    fixture_reopen(f);
    assert_string_equal(store_id(f->store), id);
}

static void test_settings(void **state) {
    struct fixture *f = *state;

    f->store = store_close(f->store);
    assert_int_equal(file_number(f, "SELECT auto_vacuum FROM pragma_auto_vacuum"), 2);
    assert_int_equal(file_number(f, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

static void test_newer_schema_is_refused(void **state) {
    struct fixture *f = *state;

    f->store = store_close(f->store);
    file_exec(f, "PRAGMA user_version = 99");
    assert_refused(f, -ENOTSUP, "newer dld (schema 99");
    assert_int_equal(file_number(f, "SELECT user_version FROM pragma_user_version"), 99);
}

static void test_database_of_another_is_refused(void **state) {
    struct fixture *f = *state;

    f->store = store_close(f->store);
    file_exec(f, "PRAGMA application_id = 1");
    assert_refused(f, -EINVAL, "another program");
}

static void test_garbage_is_refused(void **state) {
    struct fixture *f = *state;
    char text[5000];
    FILE *file;

    f->store = store_close(f->store);
    memset(text, 'x', sizeof(text));
    file = fopen(fixture_path(f, "queue.db"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof(text), file), sizeof(text));
    fclose(file);
    assert_refused(f, -EUCLEAN, "is damaged");
    file = fopen(fixture_path(f, "queue.db"), "r");
    assert_int_equal(getc(file), 'x');
    fclose(file);
}

static void test_two_at_once_are_refused(void **state) {
    struct fixture *f = *state;
    struct store *mine = f->store;

    assert_refused(f, -EBUSY, "in use");
    f->store = mine;
}

static void test_missing_directory_is_said(void **state) {
    struct fixture *f = *state;
    struct store *s = NULL;
    char *why = NULL;
    struct store_settings settings = {.ready = on_ready, .userdata = f};

    assert_int_equal(store_open(&s, f->event, "/nowhere", &settings, &why), -ENOENT);
    assert_non_null(strstr(why, "/nowhere/queue.db"));
    free(why);
}

/* Pages in the middle of the file are overwritten: what is on them can't be had, and what isn't
 * can. */
static void test_damage_is_an_error_to_whom_it_concerns(void **state) {
    struct fixture *f = *state;
    struct store_filter filter = {.state = -1};
    char junk[4096];
    struct stat st;

    assert_int_equal(submit(f, NULL, 0, 5000, true), 0);
    f->store = store_close(f->store);
    memset(junk, 0x5a, sizeof(junk));
    assert_return_code(stat(fixture_path(f, "queue.db"), &st), errno);
    _cleanup_close_ int fd = open(fixture_path(f, "queue.db"), O_WRONLY);
    for (off_t page = st.st_size / 8192; page < st.st_size / 8192 + 30; page++)
        assert_int_equal(pwrite(fd, junk, sizeof(junk), page * 4096), sizeof(junk));
    fixture_reopen(f);
    assert_int_equal(list(f, &filter), -EUCLEAN);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(batch_get(f, 1), 0);
    assert_int_equal(f->batch.count, 5000);

    /* All of it is looked at when it is started again. */
    store_settled(f->store);
    f->store = store_close(f->store);
    assert_refused(f, -EUCLEAN, "dld --recover");
}

/* The page above the leaves says that the first one ends with job 1: whoever goes from row to row
 * finds those behind it, and whoever looks for them by their ids doesn't. */
static void test_row_that_is_found_and_not_there_is_damage(void **state) {
    struct fixture *f = *state;
    struct store_filter filter = {.state = -1};
    unsigned char page[4096], one[] = {0x80, 0x01}, *key;

    assert_int_equal(submit(f, NULL, 0, 5000, true), 0);
    f->store = store_close(f->store);
    off_t root = file_number(f, "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'") - 1;
    _cleanup_close_ int fd = open(fixture_path(f, "queue.db"), O_RDWR);
    assert_int_equal(pread(fd, page, sizeof(page), root * 4096), sizeof(page));
    assert_int_equal(page[0], 5); /* it is no leaf; the places of its cells are from 12 on */
    key = page + page[12] * 256 + page[13] + 4;
    if (key[0] < 0x80)
        one[0] = one[1];
    assert_int_equal(pwrite(fd, one, key[0] < 0x80 ? 1 : 2, root * 4096 + (key - page)),
                     key[0] < 0x80 ? 1 : 2);
    fixture_reopen(f);
    assert_int_equal(list(f, &filter), -EUCLEAN);
    store_settled(f->store);
}

/* ---- a full disk ---- */

/* From now on no file grows beyond where the log is, but for `more` bytes. */
static void disk_limit(struct fixture *f, rlim_t more) {
    struct rlimit limit;
    struct stat st;

    signal(SIGXFSZ, SIG_IGN);
    assert_return_code(stat(fixture_path(f, "queue.db-wal"), &st), errno);
    assert_return_code(getrlimit(RLIMIT_FSIZE, &limit), errno);
    limit.rlim_cur = (rlim_t)st.st_size + more;
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
}

static void disk_unlimit(void) {
    struct rlimit limit;

    assert_return_code(getrlimit(RLIMIT_FSIZE, &limit), errno);
    limit.rlim_cur = limit.rlim_max;
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
}

static int teardown_unlimited(void **state) {
    disk_unlimit();
    return fixture_teardown(state);
}

static void test_full_disk_is_an_error_and_passes(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 0, 10, true), 0);
    disk_limit(f, 0);
    assert_int_equal(submit(f, "full", 0, 100, true), -ENOSPC);
    assert_int_equal(f->batch.id, 0);
    assert_int_equal(submit(f, "full", 0, 100, false), -ENOSPC);
    assert_int_equal(fetch(f, 100), 0); /* reading goes on */
    assert_int_equal(f->n_jobs, 10);
    assert_int_equal(put(f, f->jobs[0], JOB_DONE), -ENOSPC);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 10);
    disk_unlimit();
    assert_int_equal(put(f, f->jobs[0], JOB_DONE), 0);
    assert_int_equal(submit(f, "full", 0, 100, true), 0);
    assert_int_equal(f->ids[0], 11);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 109);
    check_numbers(f);
}

static int group_errors[3];

static void on_group_submit(void *userdata, int error, const struct store_batch *batch,
                            const int64_t *ids, size_t n_ids) {
    (void)batch;
    (void)ids;
    (void)n_ids;
    group_errors[(size_t)(uintptr_t)userdata] = error;
}

static void test_one_failure_spares_its_group(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 10, true), 0);
    disk_limit(f, 200 * KIB);
    for (uintptr_t i = 0; i < 3; i++) {
        struct store_chunk *c = chunk_new(NULL, 0, i == 1 ? 10000 : 10, true);
        assert_int_equal(store_submit(f->store, c, on_group_submit, (void *)i), 0);
    }
    assert_int_equal(batch_get(f, 1), 0);
    assert_int_equal(group_errors[0], 0);
    assert_int_equal(group_errors[1], -ENOSPC);
    assert_int_equal(group_errors[2], 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 30);
    disk_unlimit();
    check_numbers(f);
}

static void test_release_waits_for_room(void **state) {
    struct fixture *f = *state;
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;

    assert_int_equal(submit(f, "k", 0, 20000, false), 0);
    disk_limit(f, 40 * KIB); /* enough to complete it, not to release it */
    assert_int_equal(submit(f, "k", 20000, 1, true), 0);
    usleep(50000);
    assert_int_equal(batch_get(f, 1), 0);
    disk_unlimit();
    f->n_ready = 0;
    do
        assert_int_equal(fetch_after(f, HOST, (int64_t)created, 19999, 5), 0);
    while (f->n_jobs < 2 && now_usec(CLOCK_MONOTONIC) < end);
    assert_int_equal(f->n_jobs, 2);
    check_numbers(f);
}

/* ---- being killed ---- */

/* What the child was told is done: a batch submitted, or a job put. */
struct told {
    int64_t batch, job;
    unsigned key;
};

static void tell(int fd, struct told t) {
    assert_int_equal(write(fd, &t, sizeof(t)), sizeof(t));
}

/* Submits in one and in two chunks, ends jobs, and tells what was acknowledged, until it is killed.
 */
static _Noreturn void child(struct fixture *f, int fd, unsigned round) {
    char key[32], *why = NULL;

    assert_int_equal(fixture_open(f, &why), 0);
    for (unsigned n = round * 1000000;; n++) {
        snprintf(key, sizeof(key), "key %u", n);
        if (n % 2)
            assert_int_equal(submit(f, key, 0, 20, false), 0);
        assert_int_equal(submit(f, key, n % 2 ? 20 : 0, 20, true), 0);
        tell(fd, (struct told){.batch = f->batch.id, .key = n});
        assert_int_equal(fetch(f, 10), 0);
        for (size_t i = 0; i < f->n_jobs; i++) {
            f->jobs[i]->result.bytes = 5;
            assert_int_equal(put(f, f->jobs[i], JOB_DONE), 0);
            tell(fd, (struct told){.job = f->jobs[i]->id});
        }
    }
}

static void verify(struct fixture *f, struct told t) {
    char key[32];

    if (t.job != 0) {
        struct job *j = show(f, t.job);
        assert_non_null(j);
        assert_int_equal(j->state, JOB_DONE);
        return;
    }
    snprintf(key, sizeof(key), "key %u", t.key);
    assert_int_equal(submit(f, key, 0, 20, false), 0);
    assert_int_equal(f->batch.id, t.batch);
    assert_true(f->batch.complete);
    assert_int_equal(f->batch.count, t.key % 2 ? 40 : 20);
}

static void test_killed_in_mid_stream(void **state) {
    struct fixture *f = *state;
    struct told t;
    size_t told = 0;

    for (unsigned round = 1; round <= 8; round++) {
        int fds[2];

        f->store = store_close(f->store);
        assert_return_code(pipe(fds), errno);
        pid_t pid = fork();
        if (pid == 0) {
            sd_event_unref(f->event);
            assert_return_code(sd_event_new(&f->event), 0);
            child(f, fds[1], round);
        }
        close(fds[1]);
        usleep(20000 + round * 7919 % 30000);
        assert_return_code(kill(pid, SIGKILL), errno);
        assert_int_equal(waitpid(pid, NULL, 0), pid);

        fixture_reopen(f);
        while (read(fds[0], &t, sizeof(t)) == sizeof(t)) {
            verify(f, t);
            told++;
        }
        close(fds[0]);
        check_numbers(f);
    }
    assert_true(told > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown_unlimited)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_file_is_private),
        TEST(test_id_stays),
        TEST(test_settings),
        TEST(test_newer_schema_is_refused),
        TEST(test_database_of_another_is_refused),
        TEST(test_garbage_is_refused),
        TEST(test_two_at_once_are_refused),
        TEST(test_missing_directory_is_said),
        TEST(test_damage_is_an_error_to_whom_it_concerns),
        TEST(test_row_that_is_found_and_not_there_is_damage),
        TEST(test_full_disk_is_an_error_and_passes),
        TEST(test_one_failure_spares_its_group),
        TEST(test_release_waits_for_room),
        TEST(test_killed_in_mid_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
