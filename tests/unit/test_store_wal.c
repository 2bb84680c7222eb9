/* A log's writes: gathered, and seen by whoever does anything else with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "daemon/store_wal.h"
#include "scratch.h"

#define FLAGS (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)

struct log {
    char path[100];
    sqlite3_file *file;
};

static struct log log_begin(const struct scratch *s, int type) {
    sqlite3_vfs *vfs;
    struct log log;

    assert_int_equal(store_wal_register(), 0);
    assert_int_equal(store_wal_register(), 0);
    vfs = sqlite3_vfs_find(STORE_WAL_VFS);
    assert_non_null(vfs);
    close(openat(s->fd, "queue.db", O_CREAT | O_WRONLY, 0600)); /* of which a log takes the mode */
    snprintf(log.path, sizeof(log.path), "%s/queue.db-wal", s->path);
    log.file = calloc(1, (size_t)vfs->szOsFile);
    assert_int_equal(vfs->xOpen(vfs, log.path, log.file, FLAGS | type, NULL), SQLITE_OK);
    return log;
}

static void log_end(struct log *log, int result) {
    assert_int_equal(log->file->pMethods->xClose(log->file), result);
    free(log->file);
}

static int put(const struct log *log, const char *text, sqlite3_int64 offset) {
    return log->file->pMethods->xWrite(log->file, text, (int)strlen(text), offset);
}

/* What others see of it. */
static off_t size_on_disk(const struct log *log) {
    struct stat st;

    assert_int_equal(stat(log->path, &st), 0);
    return st.st_size;
}

static void assert_text(const struct log *log, const char *text) {
    char found[64] = "";

    assert_int_equal(log->file->pMethods->xRead(log->file, found, (int)strlen(text), 0), SQLITE_OK);
    assert_string_equal(found, text);
}

static void test_sync_writes_what_was_gathered(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_WAL);

    assert_int_equal(put(&log, "one ", 0), SQLITE_OK);
    assert_int_equal(put(&log, "two", 4), SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 0);
    assert_int_equal(log.file->pMethods->xSync(log.file, SQLITE_SYNC_FULL), SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 7);
    assert_text(&log, "one two");
    log_end(&log, SQLITE_OK);
}

static void test_reading_sees_it(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_WAL);
    sqlite3_int64 size = 0;

    put(&log, "header, ", 0);
    put(&log, "page", 8);
    assert_text(&log, "header, page");
    put(&log, "!", 12);
    assert_int_equal(log.file->pMethods->xFileSize(log.file, &size), SQLITE_OK);
    assert_int_equal(size, 13);
    log_end(&log, SQLITE_OK);
}

/* Writing again what was written in the same transaction. */
static void test_elsewhere(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_WAL);

    put(&log, "one two three", 0);
    put(&log, "TWO", 4);
    put(&log, " THREE", 7);
    assert_text(&log, "one TWO THREE");
    put(&log, "x", 0);
    assert_int_equal(log.file->pMethods->xTruncate(log.file, 3), SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 3);
    assert_text(&log, "xne");
    log_end(&log, SQLITE_OK);
}

static void test_more_than_is_gathered(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_WAL);
    static unsigned char page[65536], found[65536];

    for (int i = 0; i < 40; i++) {
        memset(page, i, sizeof(page));
        assert_int_equal(log.file->pMethods->xWrite(log.file, page, 4120, i * 4120), SQLITE_OK);
    }
    assert_in_range(size_on_disk(&log), 1, 40 * 4120 - 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            log.file->pMethods->xWrite(log.file, page, sizeof(page), 164800 + i * 65536),
            SQLITE_OK);
    assert_int_equal(log.file->pMethods->xSync(log.file, SQLITE_SYNC_FULL), SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 164800 + 4 * 65536);
    for (int i = 0; i < 40; i++) {
        memset(page, i, sizeof(page));
        assert_int_equal(log.file->pMethods->xRead(log.file, found, 4120, i * 4120), SQLITE_OK);
        assert_memory_equal(found, page, 4120);
    }
    log_end(&log, SQLITE_OK);
}

static void test_closing_loses_nothing(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_WAL);

    put(&log, "end", 0);
    log_end(&log, SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 3);
}

/* The error is told where the write is made, and what could not be written is not tried again. */
static void test_no_room(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_WAL);
    struct rlimit none = {0, RLIM_INFINITY}, old;

    getrlimit(RLIMIT_FSIZE, &old);
    none.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none);
    assert_int_equal(put(&log, "lost", 0), SQLITE_OK);
    assert_int_not_equal(log.file->pMethods->xSync(log.file, SQLITE_SYNC_FULL), SQLITE_OK);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(log.file->pMethods->xSync(log.file, SQLITE_SYNC_FULL), SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 0);
    put(&log, "kept", 0);
    assert_text(&log, "kept");
    log_end(&log, SQLITE_OK);
}

static void test_other_files_are_written_at_once(void **state) {
    struct log log = log_begin(*state, SQLITE_OPEN_MAIN_DB);

    assert_int_equal(put(&log, "page", 0), SQLITE_OK);
    assert_int_equal(size_on_disk(&log), 4);
    log_end(&log, SQLITE_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_sync_writes_what_was_gathered),
        TEST(test_reading_sees_it),
        TEST(test_elsewhere),
        TEST(test_more_than_is_gathered),
        TEST(test_closing_loses_nothing),
        TEST(test_no_room),
        TEST(test_other_files_are_written_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
