/* Notifications of ended jobs, read without a tree: what is read, and what is left to a parser. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client/ended.h"
#include "common/buf.h"
#include "daemon/job_json.h"

#define PROLOGUE "{\"jsonrpc\": \"2.0\", \"method\": \"job\", \"params\": "

static void expect_text(const char *got, const char *text) {
    if (text)
        assert_string_equal(got, text);
    else
        assert_null(got);
}

static void expect_same(const struct ended *a, const struct ended *b) {
    expect_text(a->state, b->state);
    expect_text(a->url, b->url);
    expect_text(a->output, b->output);
    expect_text(a->error_name, b->error_name);
    expect_text(a->error_message, b->error_message);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->worker, b->worker);
    assert_int_equal(a->http_status, b->http_status);
    assert_int_equal(a->bytes, b->bytes);
    assert_true(a->started - b->started < 1e-6 && b->started - a->started < 1e-6);
    assert_true(a->finished - b->finished < 1e-6 && b->finished - a->finished < 1e-6);
    assert_int_equal(a->skipped, b->skipped);
}

/* Both readers see the same in params. */
static void expect_agreement(const char *params) {
    json_t *job = json_loads(params, 0, NULL);
    struct ended slow, fast;
    char line[4096];
    int n = snprintf(line, sizeof(line), "%s%s}", PROLOGUE, params);

    assert_non_null(job);
    ended_from_json(job, &slow);
    assert_true(ended_from_line(line, (size_t)n, &fast));
    expect_same(&fast, &slow);
    json_decref(job);
}

static void expect_left(const char *text) {
    char line[4096];
    struct ended e;

    assert_in_range(snprintf(line, sizeof(line), "%s", text), 0, sizeof(line) - 1);
    assert_false(ended_from_line(line, strlen(line), &e));
    assert_string_equal(line, text);
}

static void test_what_the_daemon_writes(void **state) {
    struct job job = {
        .id = 41,
        .batch = 17,
        .index = 3,
        .url = (char *)"http://example.com/a",
        .state = JOB_DONE,
        .attempts = 1,
        .created = 1700000000000000,
        .result = {.http_status = 200,
                   .bytes = 10240,
                   .size = 10240,
                   .worker = 2,
                   .output = (char *)"d/a",
                   .started = 1700000000000001,
                   .finished = 1700000000250000},
    };

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct buf b = BUF_INIT(4096);

        job.result.skipped = round == 2;
        job.state = round < 4 ? JOB_DONE : JOB_FAILED;
        job.result.error = round < 4 ? ERR_NONE : ERR_HTTP;
        job.result.started = round == 5 ? 0 : job.result.started;
        if (round % 2 == 0)
            job_to_json_brief(&b, NULL, &job);
        else
            job_to_json(&b, NULL, &job, NULL);
        json_end(&b, '}');
        expect_agreement(buf_cstr(&b));
        buf_done(&b);
    }
}

static void test_keys_unknown_are_passed_over(void **state) {
    (void)state;
    expect_agreement(
        "{\"id\": 1, \"more\": \"x\", \"n\": -1.5e3, \"t\": true, \"state\": \"done\"}");
    expect_agreement(
        "{\"error\": {\"name\": \"http\", \"message\": \"404 Not Found\", \"more\": 3}}");
    expect_agreement("{\"error\": null, \"output\": null, \"skipped\": false}");
}

static void test_what_is_not_plain_is_left(void **state) {
    (void)state;
    expect_left("");
    expect_left("{}");
    expect_left(PROLOGUE "{\"error\": {}}}");
    expect_left("{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {}}");
    expect_left(PROLOGUE "{\"url\": \"http://a/\\u0041\"}}");
    expect_left(PROLOGUE "{\"url\": \"http://a/\303\244\"}}");
    expect_left(PROLOGUE "{\"url\": \"a\", \"headers\": {\"A\": \"b\"}}}");
    expect_left(PROLOGUE "{\"url\": \"a\", \"retry_on\": [500]}}");
    expect_left(PROLOGUE "{\"id\": 12345678901234567890}}");
    expect_left(PROLOGUE "{\"id\": 1.5}}");
    expect_left(PROLOGUE "{\"id\": \"1\"}}");
    expect_left(PROLOGUE "{\"state\": 1}}");
}

static void test_every_cut_is_left(void **state) {
    static const char whole[] =
        PROLOGUE "{\"id\": 1, \"state\": \"done\", \"error\": {\"name\": \"x\"}, "
                 "\"started\": 1.5, \"skipped\": true}}";
    char cut[sizeof(whole)];
    struct ended e;

    (void)state;
    for (size_t n = 0; n < strlen(whole); n++) {
        memcpy(cut, whole, n);
        cut[n] = '\0';
        expect_left(cut);
    }
    memcpy(cut, whole, sizeof(whole));
    assert_true(ended_from_line(cut, strlen(cut), &e));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_daemon_writes),
        cmocka_unit_test(test_keys_unknown_are_passed_over),
        cmocka_unit_test(test_what_is_not_plain_is_left),
        cmocka_unit_test(test_every_cut_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
