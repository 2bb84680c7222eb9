#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job_json.h"
#include "tests/unit/job_fixture.h"

static json_t *write_job(const struct job *j, const struct job_progress *progress) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(64 * KIB);
    json_error_t e;
    json_t *v;

    job_to_json(&b, NULL, j, progress);
    json_end(&b, '}');
    v = json_loads(buf_cstr(&b), JSON_REJECT_DUPLICATES, &e);
    if (!v)
        fail_msg("%s: %s", buf_cstr(&b), e.text);
    return v;
}

static void expect_object(const struct job *j, const struct job_progress *progress,
                          const char *want) {
    json_auto_t *got = write_job(j, progress), *expected = json(want);
    _cleanup_free_ char *text = json_dumps(got, 0);

    if (!json_equal(got, expected))
        fail_msg("wrote %s", text);
}

static struct job queued_job(void) {
    return (struct job){
        .id = 41,
        .batch = 17,
        .index = 2,
        .url = (char *)"http://h/a%20b.jpg",
        .host = (char *)"h:80",
        .created = 1700000000250000,
        .rank = 1700000000250000,
        .result.size = -1,
    };
}

static void test_queued_job_as_json(void **state) {
    struct job j = queued_job();
    const char *want = "{'id': 41, 'batch': 17, 'index': 2, 'url': 'http://h/a%20b.jpg', "
                       "'state': 'queued', 'attempts': 0, 'http_status': null, 'bytes': null, "
                       "'size': null, 'output': 'a b.jpg', 'error': null, 'worker': null, "
                       "'created': 1700000000.25, 'started': null, 'finished': null, "
                       "'effective_url': null, 'content_type': null}";

    (void)state;
    expect_object(&j, NULL, want);
    j.state = JOB_STAGED;
    expect_object(&j, NULL, want);
}

static void test_done_job_as_json(void **state) {
    struct job j = queued_job();

    (void)state;
    j.state = JOB_DONE;
    j.attempts = 2;
    j.body = (char *)"{\"output\": \"{id}/\", \"tag\": \"t\", \"timeout\": 1.500, "
                     "\"headers\": {\"A\": \"\xc3\xa4\"}}";
    j.result = (struct job_result){
        .http_status = 200,
        .bytes = 10,
        .size = 10,
        .worker = 3,
        .skipped = true,
        .started = 1700000001000000,
        .finished = 1700000002000001,
        .output = (char *)"41/a b.1.jpg",
        .content_type = (char *)"image/jpeg",
    };
    expect_object(&j, NULL,
                  "{'id': 41, 'batch': 17, 'index': 2, 'url': 'http://h/a%20b.jpg', "
                  "'state': 'done', 'attempts': 2, 'http_status': 200, 'bytes': 10, "
                  "'size': 10, 'output': '41/a b.1.jpg', 'error': null, 'worker': 3, "
                  "'created': 1700000000.25, 'started': 1700000001.0, "
                  "'finished': 1700000002.000001, 'effective_url': 'http://h/a%20b.jpg', "
                  "'content_type': 'image/jpeg', 'skipped': true, 'tag': 't', 'timeout': 1.5, "
                  "'headers': {'A': '\xc3\xa4'}}");
}

static void test_waiting_job_as_json(void **state) {
    struct job j = queued_job();

    (void)state;
    j.state = JOB_WAITING;
    j.attempts = 1;
    j.due = 1700000010000000;
    j.body = (char *)"{\"output\": \"{id}/\"}";
    j.result.http_status = 503;
    j.result.error = ERR_HTTP;
    j.result.effective_url = (char *)"http://other/";
    expect_object(&j, NULL,
                  "{'id': 41, 'batch': 17, 'index': 2, 'url': 'http://h/a%20b.jpg', "
                  "'state': 'waiting', 'attempts': 1, 'http_status': 503, 'bytes': 0, "
                  "'size': null, 'output': '41/a b.jpg', 'error': {'name': 'http', 'message': "
                  "'the server answered with an error status'}, 'worker': null, "
                  "'created': 1700000000.25, 'started': null, 'finished': null, "
                  "'effective_url': 'http://other/', 'content_type': null, "
                  "'due': 1700000010.0}");
}

static void test_progress_overrides(void **state) {
    struct job j = queued_job();
    struct job_progress progress = {.bytes = 5, .total = 100};
    json_auto_t *got = NULL;

    (void)state;
    j.state = JOB_ACTIVE;
    j.attempts = 1;
    got = write_job(&j, &progress);
    assert_int_equal(json_integer_value(json_object_get(got, "bytes")), 5);
    assert_int_equal(json_integer_value(json_object_get(got, "size")), 100);
    assert_string_equal(json_string_value(json_object_get(got, "state")), "active");
}

static void test_size_asked_for_shows_until_one_is_known(void **state) {
    struct job j = queued_job();
    struct job_progress progress = {.total = -1};
    json_auto_t *before = NULL, *during = NULL, *after = NULL;

    (void)state;
    j.body = (char *)"{\"size\": 7}";
    before = write_job(&j, NULL);
    assert_int_equal(json_integer_value(json_object_get(before, "size")), 7);
    j.state = JOB_ACTIVE;
    during = write_job(&j, &progress);
    assert_int_equal(json_integer_value(json_object_get(during, "size")), 7);
    j.state = JOB_FAILED;
    j.result.size = 8;
    after = write_job(&j, NULL);
    assert_int_equal(json_integer_value(json_object_get(after, "size")), 8);
}

static void test_keys_of_the_body_show(void **state) {
    struct job j = queued_job();
    json_auto_t *got = NULL, *urls = json("['http://h/', 'http://b/']");

    (void)state;
    j.body = (char *)"{\"urls\": [\"http://h/\", \"http://b/\"], \"deadline\": 1700000000.500, "
                     "\"compressed\": true}";
    got = write_job(&j, NULL);
    assert_true(json_equal(json_object_get(got, "urls"), urls));
    assert_true(json_real_value(json_object_get(got, "deadline")) == 1700000000.5);
    assert_true(json_is_true(json_object_get(got, "compressed")));
}

static void test_error_message_of_the_case_wins(void **state) {
    struct job j = queued_job();
    json_auto_t *got = NULL;
    json_t *error;

    (void)state;
    j.state = JOB_FAILED;
    j.result.error = ERR_DNS;
    j.result.message = (char *)"no h";
    got = write_job(&j, NULL);
    error = json_object_get(got, "error");
    assert_string_equal(json_string_value(json_object_get(error, "name")), "dns");
    assert_string_equal(json_string_value(json_object_get(error, "message")), "no h");
}

static void test_caller_may_add_keys(void **state) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(64 * KIB);
    struct job j = queued_job();
    json_auto_t *got = NULL;

    (void)state;
    json_begin(&b, NULL, '{');
    job_to_json(&b, "job", &j, NULL);
    json_int(&b, "more", 1);
    json_end(&b, '}');
    json_end(&b, '}');
    got = json_loads(buf_cstr(&b), 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(got, "job"), "more")), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queued_job_as_json),
        cmocka_unit_test(test_done_job_as_json),
        cmocka_unit_test(test_waiting_job_as_json),
        cmocka_unit_test(test_progress_overrides),
        cmocka_unit_test(test_size_asked_for_shows_until_one_is_known),
        cmocka_unit_test(test_keys_of_the_body_show),
        cmocka_unit_test(test_error_message_of_the_case_wins),
        cmocka_unit_test(test_caller_may_add_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
