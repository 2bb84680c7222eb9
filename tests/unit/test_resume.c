/* resume.h: validators and Content-Range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/worker/resume.h"

static void test_strong_etags(void **state) {
    char large[VERSION_ETAG_MAX + 3];

    (void)state;
    assert_true(etag_is_strong("\"a\""));
    assert_true(etag_is_strong("\"\""));
    assert_false(etag_is_strong("W/\"a\""));
    assert_false(etag_is_strong("a"));
    assert_false(etag_is_strong("\""));
    assert_false(etag_is_strong(""));
    assert_false(etag_is_strong("\"a\"b\""));
    memset(large, 'x', sizeof(large));
    large[0] = large[sizeof(large) - 2] = '"';
    large[sizeof(large) - 1] = '\0';
    assert_false(etag_is_strong(large));
}

static void test_strong_dates(void **state) {
    const char *modified = "Mon, 02 Jan 2023 10:00:00 GMT";

    (void)state;
    assert_true(date_is_strong(modified, "Mon, 02 Jan 2023 10:01:00 GMT"));
    assert_false(date_is_strong(modified, "Mon, 02 Jan 2023 10:00:59 GMT"));
    assert_false(date_is_strong(modified, "Mon, 02 Jan 2023 09:00:00 GMT"));
    assert_false(date_is_strong(modified, "yesterday-ish"));
    assert_false(date_is_strong("never", "Mon, 02 Jan 2023 10:01:00 GMT"));
}

static void test_content_range(void **state) {
    struct content_range r;

    (void)state;
    assert_true(content_range_parse("bytes 5-9/10", &r));
    assert_true(r.first == 5 && r.last == 9 && r.total == 10);
    assert_true(content_range_parse("bytes 0-0/*", &r));
    assert_true(r.first == 0 && r.last == 0 && r.total == -1);
    assert_true(content_range_parse("bytes */10", &r));
    assert_true(r.first == -1 && r.last == -1 && r.total == 10);
}

static void test_content_range_that_makes_no_sense(void **state) {
    static const char *const wrong[] = {
        "",
        "bytes",
        "bytes ",
        "bytes */*",
        "bytes 5-9",
        "bytes 9-5/10",
        "bytes 5-10/10",
        "bytes 5-/10",
        "bytes -5/10",
        "bytes 5-9/10 ",
        "bytes 5 - 9/10",
        "items 5-9/10",
        "bytes 5-9/10, bytes 1-2/10",
        "bytes 0-99999999999999999999/100000000000000000000",
        "bytes 0-9223372036854775808/*",
        "bytes +5-9/10",
    };
    struct content_range r;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(content_range_parse(wrong[i], &r));
}

static void test_condition(void **state) {
    struct wire_kept kept = {.offset = 5, .etag = "\"e\"", .last_modified = "date"};

    (void)state;
    assert_string_equal(resume_condition(&kept), "\"e\"");
    kept.etag = NULL;
    assert_string_equal(resume_condition(&kept), "date");
    kept.last_modified = NULL;
    assert_null(resume_condition(&kept));
    kept = (struct wire_kept){.offset = 0, .etag = "\"e\""};
    assert_null(resume_condition(&kept));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strong_etags),
        cmocka_unit_test(test_strong_dates),
        cmocka_unit_test(test_content_range),
        cmocka_unit_test(test_content_range_that_makes_no_sense),
        cmocka_unit_test(test_condition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
