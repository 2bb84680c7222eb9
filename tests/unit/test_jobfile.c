/* The reader of job files: how they are split, and what is said of those that are wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/jobfile.h"

static void open_text(struct jobfile *f, const char *text, size_t n) {
    int fd = memfd_create("jobs", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(jobfile_open_fd(f, fd, "t.json"), 0);
}

/* Reads all of text; the jobs, each followed by '|', go to ret. */
static int read_jobs(struct jobfile *f, const char *text, char *ret, size_t size) {
    struct jobfile_job job;
    size_t n = 0;
    int r;

    ret[0] = '\0';
    open_text(f, text, strlen(text));
    while ((r = jobfile_next(f, &job)) > 0)
        n += (size_t)snprintf(ret + n, size - n, "%.*s|", (int)job.len, job.text);
    return r;
}

static void expect_jobs(const char *text, const char *jobs) {
    struct jobfile f;
    char got[1024];

    assert_int_equal(read_jobs(&f, text, got, sizeof(got)), 0);
    assert_string_equal(got, jobs);
    jobfile_done(&f);
}

static void expect_error(const char *text, const char *error) {
    struct jobfile f;
    char got[1024];

    assert_int_equal(read_jobs(&f, text, got, sizeof(got)), -EBADMSG);
    assert_string_equal(f.error, error);
    jobfile_done(&f);
}

static void test_array(void **state) {
    (void)state;
    expect_jobs("[{\"url\":\"a\"}, {\"url\":\"b\"}]\n", "{\"url\":\"a\"}|{\"url\":\"b\"}|");
}

static void test_lone_object(void **state) {
    (void)state;
    expect_jobs(" {\"url\": \"a\"} ", "{\"url\": \"a\"}|");
}

static void test_wrapped(void **state) {
    (void)state;
    expect_jobs("{\"jobs\": [{\"url\":\"a\"}]}", "{\"url\":\"a\"}|");
}

static void test_defaults_come_first(void **state) {
    struct jobfile f;
    struct jobfile_job job;
    const char *text = "{\"defaults\":\n {\"tag\":\"x\"}, \"jobs\": [{}]}";

    (void)state;
    open_text(&f, text, strlen(text));
    assert_int_equal(jobfile_next(&f, &job), 1);
    assert_string_equal(buf_cstr(&f.defaults), "{\"tag\":\"x\"}");
    assert_int_equal(f.defaults_line, 2);
    jobfile_done(&f);
}

static void test_key_written_with_escapes(void **state) {
    (void)state;
    expect_jobs("{\"\\u006aobs\": [{}]}", "{}|");
}

static void test_object_with_url_is_a_job(void **state) {
    (void)state;
    expect_jobs("{\"url\":\"a\",\"jobs\":[1]}", "{\"url\":\"a\",\"jobs\":[1]}|");
    expect_jobs("{\"urls\":[\"a\"],\"jobs\":[1]}", "{\"urls\":[\"a\"],\"jobs\":[1]}|");
}

static void test_object_with_strange_keys_is_a_job(void **state) {
    (void)state;
    expect_jobs("{\"job\":[1]}", "{\"job\":[1]}|");
}

static void test_elements_need_not_be_objects(void **state) {
    (void)state;
    expect_jobs("[1,null , \"x\",[2]]", "1|null|\"x\"|[2]|");
}

static void test_brackets_and_quotes_in_strings(void **state) {
    (void)state;
    expect_jobs("[{\"a\":\"}]\\\"{\\\\\"}]", "{\"a\":\"}]\\\"{\\\\\"}|");
}

static void test_line_ends_become_blanks(void **state) {
    (void)state;
    expect_jobs("[{\n\"a\":\n1}]", "{ \"a\": 1}|");
}

static void test_byte_order_mark(void **state) {
    (void)state;
    expect_jobs("\xef\xbb\xbf[{}]", "{}|");
}

static void test_lines_of_jobs(void **state) {
    struct jobfile f;
    struct jobfile_job job;
    const char *text = "[\n{},\n\n{\n}]";

    (void)state;
    open_text(&f, text, strlen(text));
    assert_int_equal(jobfile_next(&f, &job), 1);
    assert_int_equal(job.line, 2);
    assert_int_equal(jobfile_next(&f, &job), 1);
    assert_int_equal(job.line, 4);
    assert_int_equal(jobfile_next(&f, &job), 0);
    jobfile_done(&f);
}

/* Jobs lie across the reader's buffers in every way. */
static void test_large_file(void **state) {
    struct buf b = BUF_INIT(64 * MIB);
    struct jobfile f;
    struct jobfile_job job;
    int r, n = 0;

    (void)state;
    buf_addc(&b, '[');
    for (int i = 0; i < 20000; i++)
        buf_addf(&b, "%s{\"url\":\"http://h/%d\",\"tag\":\"%.*s\"}", i ? ",\n" : "", i, i % 97,
                 "0123456789012345678901234567890123456789012345678901234567890123456789"
                 "012345678901234567890123456789");
    buf_addc(&b, ']');
    assert_int_equal(buf_error(&b), 0);
    open_text(&f, buf_head(&b), buf_size(&b));
    while ((r = jobfile_next(&f, &job)) > 0) {
        char start[64];

        snprintf(start, sizeof(start), "{\"url\":\"http://h/%d\"", n);
        assert_memory_equal(job.text, start, strlen(start));
        assert_int_equal(job.line, ++n);
    }
    assert_int_equal(r, 0);
    assert_int_equal(n, 20000);
    jobfile_done(&f);
    buf_done(&b);
}

static void test_empty(void **state) {
    (void)state;
    expect_error("", "no jobs in t.json");
    expect_error(" \n\t", "no jobs in t.json");
    expect_error("[]", "no jobs in t.json");
    expect_error("{\"jobs\": [ ]}", "no jobs in t.json");
}

static void test_missing_comma(void **state) {
    (void)state;
    expect_error("[{},\n {\"a\": 1 \"b\":2}]", "t.json:2:12: '}' expected near '\"b\"'");
    expect_error("[{}\n{}]", "t.json:2:1: expected ',' or ']' after a job, found '{'");
}

static void test_trailing_comma(void **state) {
    (void)state;
    expect_error("[{},]", "t.json:1:5: expected a job after ',', found ']'");
    expect_error("{\"a\":1,}", "t.json:1:8: string or '}' expected near '}'");
}

static void test_columns_count_characters(void **state) {
    (void)state;
    expect_error("[{\"\xc3\xa4\xc3\xb6\":x}]", "t.json:1:8: invalid token near 'x'");
    expect_error("[\"\xe2\x82\xac\" 1]", "t.json:1:6: expected ',' or ']' after a job, found '1'");
}

static void test_cut_off(void **state) {
    (void)state;
    expect_error("[{}", "t.json:1:4: expected ',' or ']' after a job, found the end of the file");
    expect_error("[{\"a\"", "t.json:1:5: ':' expected near end of file");
    expect_error("[{}\n,", "t.json:2:2: expected a job after ',', found the end of the file");
}

static void test_string_without_end(void **state) {
    (void)state;
    expect_error("[{\"a\":\"b\n\"}]", "t.json:1:8: unexpected newline near '\"b'");
}

static void test_duplicate_key(void **state) {
    (void)state;
    expect_error("[{\"a\":1,\"a\":2}]", "t.json:1:11: duplicate object key near '\"a\"'");
}

static void test_brackets_that_do_not_match(void **state) {
    (void)state;
    expect_error("[{\"a\":[1}]", "t.json:1:9: ']' expected near '}'");
    expect_error("{\"jobs\":[{}]]", "t.json:1:13: expected ',' or '}' after the jobs, found ']'");
}

static void test_text_after_the_end(void **state) {
    (void)state;
    expect_error("[{}]\n x", "t.json:2:2: expected the end of the file, found 'x'");
}

static void test_json_lines(void **state) {
    (void)state;
    expect_error("{\"url\":\"a\"}\n{\"url\":\"b\"}",
                 "t.json:2:1: expected the end of the file (several jobs belong in an array: "
                 "[{...}, {...}]), found '{'");
}

static void test_no_json_at_all(void **state) {
    (void)state;
    expect_error("http://h/a\n",
                 "t.json:1:1: expected a job (an object) or an array of jobs (a list of URLs: "
                 "xargs -d '\\n' dlctl submit < FILE), found 'h'");
    expect_error("\"a\"", "t.json:1:1: expected a job (an object) or an array of jobs, found '\"'");
    expect_error("\x1f\x8b", "t.json:1:1: expected a job (an object) or an array of jobs, found "
                             "the byte 0x1f");
}

static void test_defaults_after_jobs(void **state) {
    (void)state;
    expect_error("{\"jobs\":[{}],\n\"defaults\":{}}",
                 "t.json:2:1: \"defaults\" must stand before \"jobs\"");
}

static void test_unknown_key_beside_jobs(void **state) {
    (void)state;
    expect_error("{\"defaults\":{}, \"job\":[]}",
                 "t.json:1:17: \"job\": unknown key beside the jobs; did you mean \"jobs\"?");
    expect_error("{\"comment\":1, \"jobs\":[{}]}",
                 "t.json:1:2: \"comment\": unknown key; beside \"jobs\" there can be \"defaults\" "
                 "only");
    expect_error("{\"jobs\":[{}], \"comment\":1}",
                 "t.json:1:15: \"comment\": unknown key; beside \"jobs\" there can be "
                 "\"defaults\" only");
}

static void test_keys_that_come_twice(void **state) {
    (void)state;
    expect_error("{\"defaults\":{},\"defaults\":{}}", "t.json:1:26: \"defaults\" is there twice");
    expect_error("{\"jobs\":[{}],\"jobs\":[]}", "t.json:1:14: \"jobs\" is there twice");
}

static void test_jobs_of_the_wrong_type(void **state) {
    (void)state;
    expect_error("{\"jobs\": {}}", "t.json:1:10: expected an array of jobs, found '{'");
    expect_error("{\"defaults\": {}}",
                 "t.json:1:16: expected \"jobs\" after the defaults, found '}'");
}

static void test_too_deep(void **state) {
    char text[JOBFILE_DEPTH_MAX + 16];

    (void)state;
    memset(text, '[', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    expect_error(text, "t.json:1:2: this is nested too deeply for a job");
}

static char *large_job(const char *start) {
    char *text = malloc(JOBFILE_JOB_MAX + 64);
    size_t n = strlen(start);

    assert_non_null(text);
    memcpy(text, start, n);
    memset(text + n, 'x', JOBFILE_JOB_MAX);
    strcpy(text + n + JOBFILE_JOB_MAX, "\"}]");
    return text;
}

static void test_too_large(void **state) {
    char *text = large_job("[{\"a\":\"");

    (void)state;
    expect_error(text, "t.json:1:2: this is larger than 1 MiB, which is the most for one job");
    free(text);
}

/* The likely reason for a job without end is an error before. */
static void test_error_before_too_large(void **state) {
    char *text = large_job("[{\"a\":b,\"");

    (void)state;
    expect_error(text, "t.json:1:7: invalid token near 'b'");
    free(text);
}

static void test_directory(void **state) {
    struct jobfile f;

    (void)state;
    assert_int_equal(jobfile_open(&f, "/"), -EISDIR);
    jobfile_done(&f);
}

static void test_missing_file(void **state) {
    struct jobfile f;

    (void)state;
    assert_int_equal(jobfile_open(&f, "/nowhere/jobs.json"), -ENOENT);
    jobfile_done(&f);
}

static void test_unreadable(void **state) {
    struct jobfile f;
    struct jobfile_job job;
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    close(fd[0]);
    assert_int_equal(jobfile_open_fd(&f, fd[1], "t.json"), 0);
    assert_int_equal(jobfile_next(&f, &job), -EBADMSG);
    assert_string_equal(f.error, "cannot read t.json: Bad file descriptor");
    jobfile_done(&f);
}

/* Every beginning of a good file is an error, and none makes the reader crash or go on for ever. */
static void test_every_truncation(void **state) {
    static const char text[] = "{\"defaults\": {\"tag\": \"\\u00e4\"},\n"
                               " \"jobs\": [{\"url\": \"a\", \"headers\": {\"b\": \"c\"}}, [1.5e3, "
                               "true]]}";

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        struct jobfile f;
        struct jobfile_job job;
        int r;

        open_text(&f, text, n);
        while ((r = jobfile_next(&f, &job)) > 0)
            ;
        assert_int_equal(r, -EBADMSG);
        assert_true(f.error[0]);
        jobfile_done(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_lone_object),
        cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_defaults_come_first),
        cmocka_unit_test(test_key_written_with_escapes),
        cmocka_unit_test(test_object_with_url_is_a_job),
        cmocka_unit_test(test_object_with_strange_keys_is_a_job),
        cmocka_unit_test(test_elements_need_not_be_objects),
        cmocka_unit_test(test_brackets_and_quotes_in_strings),
        cmocka_unit_test(test_line_ends_become_blanks),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_lines_of_jobs),
        cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_missing_comma),
        cmocka_unit_test(test_trailing_comma),
        cmocka_unit_test(test_columns_count_characters),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_string_without_end),
        cmocka_unit_test(test_duplicate_key),
        cmocka_unit_test(test_brackets_that_do_not_match),
        cmocka_unit_test(test_text_after_the_end),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_no_json_at_all),
        cmocka_unit_test(test_defaults_after_jobs),
        cmocka_unit_test(test_unknown_key_beside_jobs),
        cmocka_unit_test(test_keys_that_come_twice),
        cmocka_unit_test(test_jobs_of_the_wrong_type),
        cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_error_before_too_large),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_every_truncation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
