/* From one version of the schema to the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "common/util.h"
#include "daemon/store_schema.h"
#include "scratch.h"

/* Three versions of a small program. */
static const char *const recipes[] = {
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY, url TEXT);"
    "INSERT INTO jobs(url) VALUES('http://a.example/'), ('http://b.example/')",
    "ALTER TABLE jobs ADD COLUMN host TEXT;"
    "UPDATE jobs SET host = substr(url, 8, 9)",
    "CREATE TABLE hosts(name TEXT PRIMARY KEY); INSERT INTO hosts SELECT host FROM jobs",
};
static const char broken[] =
    "CREATE TABLE hosts(name TEXT PRIMARY KEY); INSERT INTO nothing SELECT host FROM jobs";

struct queue {
    char path[100];
    sqlite3 *sqlite;
};

static struct queue queue_open(const struct scratch *s) {
    struct queue q;

    snprintf(q.path, sizeof(q.path), "%s/queue.db", s->path);
    assert_int_equal(sqlite3_open(q.path, &q.sqlite), SQLITE_OK);
    return q;
}

/* Opens the file with the program of that version. */
static int upgrade(const struct scratch *s, const char *const *with, size_t version, char **why) {
    struct queue q = queue_open(s);
    int r = schema_migrate(q.sqlite, q.path, with, version, why);

    sqlite3_close(q.sqlite);
    return r;
}

static int64_t number(const struct scratch *s, const char *sql) {
    struct queue q = queue_open(s);
    sqlite3_stmt *st;

    assert_int_equal(sqlite3_prepare_v2(q.sqlite, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(q.sqlite);
    return n;
}

static void test_one_by_one(void **state) {
    char *why = NULL;

    for (size_t version = 1; version <= 3; version++) {
        assert_int_equal(upgrade(*state, recipes, version, &why), 0);
        assert_int_equal(number(*state, "PRAGMA user_version"), version);
        assert_int_equal(number(*state, "PRAGMA application_id"), SCHEMA_APPLICATION_ID);
    }
    assert_int_equal(number(*state, "SELECT count(*) FROM hosts WHERE name = 'a.example'"), 1);
    assert_int_equal(upgrade(*state, recipes, 3, &why), 0);
    assert_int_equal(number(*state, "SELECT count(*) FROM jobs"), 2);
}

static void test_several_at_once(void **state) {
    char *why = NULL;

    assert_int_equal(upgrade(*state, recipes, 1, &why), 0);
    assert_int_equal(upgrade(*state, recipes, 3, &why), 0);
    assert_int_equal(number(*state, "SELECT count(*) FROM hosts"), 2);
}

static void test_an_older_program_refuses(void **state) {
    char *why = NULL;

    assert_int_equal(upgrade(*state, recipes, 3, &why), 0);
    assert_int_equal(upgrade(*state, recipes, 2, &why), -ENOTSUP);
    assert_non_null(strstr(why, "written by a newer dld (schema 3;"));
    assert_non_null(strstr(why, "knows up to 2"));
    free(why);
    assert_int_equal(number(*state, "PRAGMA user_version"), 3);
}

/* What failed is undone; what came before is done, and goes on with a better program. */
static void test_a_step_that_fails(void **state) {
    const char *with[] = {recipes[0], recipes[1], broken};
    char *why = NULL;

    assert_int_equal(upgrade(*state, recipes, 1, &why), 0);
    assert_true(upgrade(*state, with, 3, &why) < 0);
    assert_non_null(why);
    free(TAKE_PTR(why));
    assert_int_equal(number(*state, "PRAGMA user_version"), 2);
    assert_int_equal(number(*state, "SELECT count(*) FROM sqlite_schema WHERE name = 'hosts'"), 0);
    assert_int_equal(upgrade(*state, recipes, 3, &why), 0);
    assert_int_equal(number(*state, "SELECT count(*) FROM hosts"), 2);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_by_one),
        TEST(test_several_at_once),
        TEST(test_an_older_program_refuses),
        TEST(test_a_step_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
