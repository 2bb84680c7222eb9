/* Damage to each page of a queue, to its ends and to its log: it is found out or does no harm, and
 * what can be read is recovered. */
#include "store_fixture.h"

#include <fcntl.h>

#include "daemon/store_image.h"
#include "daemon/store_repair.h"

struct bytes {
    uint8_t *data;
    size_t n;
};

/* The queue that is damaged, and its log as a crash left it (none where n is 0). */
static struct bytes whole, whole_log;
static char original[64]; /* a file with the queue as it should be */

static struct bytes file_read(const char *path) {
    struct bytes b = {0};
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_return_code(fd, errno);
    assert_return_code(fstat(fd, &st), errno);
    b.n = (size_t)st.st_size;
    b.data = malloc(b.n + 1);
    assert_non_null(b.data);
    assert_int_equal(read(fd, b.data, b.n), b.n);
    return b;
}

static void file_write(const char *path, const uint8_t *data, size_t n) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, data, n), n);
}

/* ---- the queue that is damaged ---- */

static struct store_chunk *chunk_rich(const char *key, uint64_t offset, size_t n, bool last) {
    struct store_chunk *c = chunk_new(key, offset, n, last);

    for (size_t i = 0; i < n; i++) {
        struct job_new *j = &c->jobs[i];
        size_t host = i % 7, length = i % 40 == 3 ? 30000 : 10;

        free(j->url);
        free(j->host);
        assert_true(asprintf(&j->url, "http://h%zu.example/%zu", host, (size_t)offset + i) > 0);
        assert_true(asprintf(&j->host, "h%zu.example:80", host) > 0);
        assert_true(asprintf(&j->body, "{\"referer\":\"%*zu\"}", (int)length, i) > 0);
        j->tag = i % 3 == 0 ? strdup("some-tag") : NULL;
        j->not_before = i % 11 == 5 ? created + 3600 * USEC_PER_SEC : 0;
    }
    return c;
}

/* Ends n jobs of a host, with a word said about each. */
static void end_some(struct fixture *f, const char *host, size_t n, enum job_state to) {
    assert_int_equal(fetch_after(f, host, INT64_MIN, 0, n), 0);
    struct job **jobs = TAKE_PTR(f->jobs);
    size_t got = f->n_jobs;

    f->n_jobs = 0;
    for (size_t i = 0; i < got; i++) {
        jobs[i]->attempts = 3;
        jobs[i]->due = to == JOB_WAITING ? created + 60 * USEC_PER_SEC : 0;
        jobs[i]->result.bytes = 100 + i;
        jobs[i]->result.finished = created;
        jobs[i]->result.error = to == JOB_DONE ? 0 : 1;
        jobs[i]->result.message = strdup("what was said about it");
        assert_int_equal(put(f, jobs[i], to), 0);
    }
    job_free_many(jobs, got);
}

static void queue_fill(struct fixture *f) {
    struct store_filter filter = {.state = JOB_DONE, .batch = 1};

    assert_int_equal(submit_chunk(f, chunk_rich(NULL, 0, 150, true)), 0);
    assert_int_equal(submit_chunk(f, chunk_rich("two", 0, 40, false)), 0);
    assert_int_equal(submit_chunk(f, chunk_rich("open", 0, 15, false)), 0);
    assert_int_equal(submit_chunk(f, chunk_rich("two", 40, 40, true)), 0);
    assert_int_equal(submit(f, NULL, 0, 60, true), 0);
    end_some(f, "h1.example:80", 10, JOB_DONE);
    end_some(f, "h2.example:80", 10, JOB_FAILED);
    end_some(f, "h3.example:80", 8, JOB_WAITING);
    end_some(f, HOST, 9, JOB_DONE);
    assert_int_equal(purge(f, &filter), 0);
    assert_true(f->n_ids > 0);
    end_some(f, "h4.example:80", 10, JOB_DONE);
    struct store_filter host = {.state = -1, .host = "h5.example:80"};
    assert_int_equal(change(f, &host, STORE_PAUSE), 0);
    host.host = "h6.example:80";
    assert_int_equal(change(f, &host, STORE_CANCEL), 0);
}

static int queue_setup(void **state) {
    struct fixture *f;

    assert_int_equal(fixture_setup(state), 0);
    f = *state;
    queue_fill(f);
    store_settled(f->store);
    f->store = store_close(f->store);
    whole = file_read(fixture_path(f, "queue.db"));
    whole_log = (struct bytes){0};
    snprintf(original, sizeof(original), "%s/original", f->dir);
    file_write(original, whole.data, whole.n);
    return 0;
}

/* As a crash leaves it: some of it in the log, in several commits. */
static int crashed_setup(void **state) {
    struct fixture *f;
    char *why = NULL;

    assert_int_equal(queue_setup(state), 0);
    f = *state;
    assert_int_equal(fixture_open(f, &why), 0);
    for (int i = 0; i < 12; i++)
        assert_int_equal(submit(f, NULL, 0, 20, true), 0);
    whole = (free(whole.data), file_read(fixture_path(f, "queue.db")));
    whole_log = file_read(fixture_path(f, "queue.db-wal"));
    store_settled(f->store);
    f->store = store_close(f->store);
    struct bytes b = file_read(fixture_path(f, "queue.db"));
    file_write(original, b.data, b.n);
    free(b.data);
    return 0;
}

static int queue_teardown(void **state) {
    struct fixture *f = *state;

    free(whole.data);
    free(whole_log.data);
    unlink(original);
    store_close(TAKE_PTR(f->store));
    return fixture_teardown(state);
}

/* ---- one try ---- */

static void damage_place(struct fixture *f, const uint8_t *data, size_t n, const uint8_t *log,
                         size_t n_log) {
    file_write(fixture_path(f, "queue.db"), data, n);
    unlink(fixture_path(f, "queue.db-wal"));
    unlink(fixture_path(f, "queue.db-suspect"));
    if (n_log > 0)
        file_write(fixture_path(f, "queue.db-wal"), log, n_log);
}

/* How many of the original's rows of jobs are there as they were; others that differ must be none. */
static int64_t jobs_kept(struct fixture *f) {
    char sql[1024];
    sqlite3 *db;
    sqlite3_stmt *st;

    snprintf(sql, sizeof(sql), "ATTACH '%s' AS o", original);
    assert_int_equal(sqlite3_open(fixture_path(f, "queue.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(
            db,
            "SELECT ifnull(sum((j.batch, j.idx, j.rank, j.created, j.url, j.body, j.tag, j.due,"
            " j.attempts, j.bytes, j.error, j.message, iif(j.state = 7, 0, j.state)) IS (o.batch,"
            " o.idx, o.rank, o.created, o.url, o.body, o.tag, o.due, o.attempts, o.bytes, o.error,"
            " o.message, iif(o.state = 7, 0, o.state))), 0), count(*)"
            " FROM main.jobs j LEFT JOIN o.jobs o USING(id)",
            -1, &st, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t same = sqlite3_column_int64(st, 0);
    assert_int_equal(same, sqlite3_column_int64(st, 1));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return same;
}

static int64_t original_number(const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *st;

    assert_int_equal(sqlite3_open(original, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* Recovers; no more jobs than these may be lost of those that are visible, and the numbers say how
 * many are. Jobs of the batch that is not complete may go, and all of them then. */
static void recover_and_look(struct fixture *f, int64_t may_lose, const char *what) {
    struct store_recovered v;
    char *why = NULL;
    int r = store_recover(f->dir, &v, &why);

    if (r < 0)
        fail_msg("%s: %s", what, why ? why : strerror(-r));
    int64_t kept = jobs_kept(f), all = original_number("SELECT count(*) FROM jobs");
    int64_t open = original_number("SELECT count FROM batches WHERE phase = 0");
    if (kept < all - open - may_lose)
        fail_msg("%s: %d of %d jobs are left, where %d could go", what, (int)kept, (int)all,
                 (int)may_lose);
    if (streq(what, "nothing"))
        assert_true(v.lost_known && v.lost == 0 && v.unreadable == 0 && v.pieced == 0);
    /* Where the row of the batch that isn't complete is gone, its jobs are taken for complete. */
    if (v.lost_known && v.pieced == 0)
        assert_int_equal((int64_t)(v.jobs + v.lost),
                         original_number("SELECT sum(n) FROM counters"));
    free(why);
    if (*v.kept) {
        char log[600];

        assert_return_code(unlink(v.kept), errno);
        snprintf(log, sizeof(log), "%s-wal", v.kept);
        unlink(log);
    }
    r = fixture_open(f, &why);
    if (r < 0)
        fail_msg("%s: %s", what, why ? why : strerror(-r));
    check_numbers(f);
    store_settled(f->store);
    f->store = store_close(f->store);
}

/* It is refused, or it is the queue: never an empty one. */
static void open_and_look(struct fixture *f, const char *what) {
    char *why = NULL;
    int r = fixture_open(f, &why);
    uint64_t n = 0;

    if (r >= 0) {
        for (int i = 0; i < JOB_STATE_MAX_; i++)
            n += store_counts(f->store)[i];
        if (n == 0)
            fail_msg("%s: an empty queue", what);
        f->store = store_close(f->store);
    } else if (!why)
        fail_msg("%s: no word on %s", what, strerror(-r));
    free(why);
}

/* How many jobs may be on that page. */
static int64_t jobs_on(const uint8_t *page) {
    return page[0] == 0x0d ? (int64_t)image_u16(page + 3) : page[0] == 0 ? 1 : 0;
}

/* ---- tests ---- */

static void test_sound_queue_is_sound(void **state) {
    struct fixture *f = *state;
    char *why = NULL;

    assert_int_equal(store_check(f->dir, &why), 0);
    recover_and_look(f, 0, "nothing");
    assert_int_equal(store_check(f->dir, &why), 0);
}

static void test_each_page(void **state) {
    struct fixture *f = *state;
    size_t n_pages = whole.n / IMAGE_PAGE;
    uint8_t *data = malloc(whole.n);
    char what[64];

    assert_non_null(data);
    for (size_t page = 0; page < n_pages; page++)
        for (int kind = 0; kind < 3; kind++) {
            uint8_t *p = data + page * IMAGE_PAGE;

            memcpy(data, whole.data, whole.n);
            if (kind == 2)
                for (size_t i = 0; i < 24; i++)
                    p[(i * 167 + page * 31) % IMAGE_PAGE] ^= (uint8_t)(1u << (i + page) % 8);
            else
                memset(p, kind == 0 ? 0 : 0x5a, IMAGE_PAGE);
            snprintf(what, sizeof(what), "page %zu, kind %d", page + 1, kind);
            damage_place(f, data, whole.n, NULL, 0);
            if (kind == (int)(page % 3))
                open_and_look(f, what);
            /* A flipped bit may leave a row that is one, and is another. */
            if (kind < 2) {
                damage_place(f, data, whole.n, NULL, 0);
                recover_and_look(f, jobs_on(whole.data + page * IMAGE_PAGE), what);
            }
        }
    free(data);
}

static void test_cut_off(void **state) {
    struct fixture *f = *state;
    struct store_recovered v;
    char what[64], *why = NULL;

    for (size_t n = 0; n < whole.n; n += whole.n / 12 + 500) {
        snprintf(what, sizeof(what), "%zu of %zu bytes", n, whole.n);
        damage_place(f, whole.data, n, NULL, 0);
        assert_int_equal(fixture_open(f, &why), -EUCLEAN);
        assert_non_null(strstr(why, "dld --recover"));
        free(TAKE_PTR(why));
        int64_t may_lose = 0;
        for (size_t page = n / IMAGE_PAGE; page < whole.n / IMAGE_PAGE; page++)
            may_lose += jobs_on(whole.data + page * IMAGE_PAGE);
        if (n >= 2 * IMAGE_PAGE)
            recover_and_look(f, may_lose, what);
        else {
            assert_int_equal(store_recover(f->dir, &v, &why), -ENODATA);
            assert_non_null(strstr(why, "nothing of a queue"));
            free(TAKE_PTR(why));
        }
    }
}

static void test_missing_beside_its_log(void **state) {
    struct fixture *f = *state;
    char *why = NULL;

    damage_place(f, whole.data, whole.n, whole_log.data, whole_log.n);
    unlink(fixture_path(f, "queue.db"));
    assert_int_equal(fixture_open(f, &why), -EUCLEAN);
    assert_non_null(strstr(why, "it is missing"));
    free(why);
}

/* A crash may leave the end of a log unwritten: that is no damage, and so is nothing in it that
 * comes behind. */
static void test_log_without_its_end(void **state) {
    struct fixture *f = *state;
    char *why = NULL;

    for (int i = 1; i < 6; i++) {
        damage_place(f, whole.data, whole.n, whole_log.data, whole_log.n - (size_t)i * 1777);
        assert_int_equal(image_log_damaged(fixture_path(f, "queue.db")), 0);
        int r = fixture_open(f, &why);
        if (r < 0)
            fail_msg("%s", why);
        check_numbers(f);
        f->store = store_close(f->store);
    }
}

static void test_log_with_a_gap(void **state) {
    struct fixture *f = *state;
    uint8_t *log = malloc(whole_log.n);
    char what[64], *why = NULL;

    assert_non_null(log);
    for (size_t at = 0; at < whole_log.n / 2; at += whole_log.n / 9 + 13) {
        memcpy(log, whole_log.data, whole_log.n);
        log[at] ^= 0x10;
        snprintf(what, sizeof(what), "byte %zu of %zu in the log", at, whole_log.n);
        damage_place(f, whole.data, whole.n, log, whole_log.n);
        assert_int_equal(fixture_open(f, &why), -EUCLEAN);
        assert_non_null(strstr(why, "has a gap"));
        free(TAKE_PTR(why));
        recover_and_look(f, 100, what);
    }
    free(log);
}

static void test_another_program(void **state) {
    struct fixture *f = *state;
    struct store_recovered v;
    char *why = NULL;
    sqlite3 *db;

    unlink(fixture_path(f, "queue.db"));
    assert_int_equal(sqlite3_open(fixture_path(f, "queue.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE notes(a, b); INSERT INTO notes VALUES(1, 2)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(fixture_open(f, &why), -EINVAL);
    assert_non_null(strstr(why, "another program"));
    free(TAKE_PTR(why));
    assert_int_equal(store_check(f->dir, &why), -EINVAL);
    free(TAKE_PTR(why));
    assert_int_equal(store_recover(f->dir, &v, &why), -ENODATA);
    free(TAKE_PTR(why));
    assert_int_equal(access(fixture_path(f, "queue.db.new"), F_OK), -1);
}

/* Numbers that are wrong, in a file that is sound. */
static void test_wrong_numbers(void **state) {
    static const char *const changes[] = {
        "UPDATE counters SET n = n + 1 WHERE state = 4",
        "UPDATE lanes SET queued = queued + 1 WHERE id = 1",
        "UPDATE batches SET done = done + 1 WHERE id = 2",
        "UPDATE jobs SET lane = 1 WHERE state = 4",
        "DELETE FROM batches WHERE id = 2",
        "UPDATE meta SET value = 5 WHERE name = 'next_job'",
    };
    struct fixture *f = *state;
    sqlite3 *db;

    for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
        char *why = NULL;

        damage_place(f, whole.data, whole.n, NULL, 0);
        assert_int_equal(sqlite3_open(fixture_path(f, "queue.db"), &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, changes[i], NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        if (i < 5) {
            assert_int_equal(store_check(f->dir, &why), -EUCLEAN);
            free(TAKE_PTR(why));
        } else {
            assert_int_equal(fixture_open(f, &why), -EUCLEAN);
            free(TAKE_PTR(why));
        }
        struct store_recovered v;
        assert_int_equal(store_recover(f->dir, &v, &why), 0);
        unlink(v.kept);
        assert_int_equal(jobs_kept(f), original_number("SELECT count(*) FROM jobs"));
        assert_int_equal(fixture_open(f, &why), 0);
        check_numbers(f);
        f->store = store_close(f->store);
    }
}

int main(void) {
    if (access("/dev/shm", W_OK) == 0)
        fixture_top = "/dev/shm"; /* hundreds of queues are made */
#define TEST(name) cmocka_unit_test_setup_teardown(name, queue_setup, queue_teardown)
#define CRASHED(name) cmocka_unit_test_setup_teardown(name, crashed_setup, queue_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sound_queue_is_sound),
        TEST(test_each_page),
        TEST(test_cut_off),
        CRASHED(test_missing_beside_its_log),
        CRASHED(test_log_without_its_end),
        CRASHED(test_log_with_a_gap),
        TEST(test_another_program),
        TEST(test_wrong_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
