#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job_json.h"
#include "daemon/job_keys.h"
#include "tests/unit/job_fixture.h"

static void test_url_is_made_canonical(void **state) {
    json_auto_t *object = json("{'url': 'HTTP://Example.COM:80/a b#c'}");
    struct job_error err;
    struct job_new new;

    (void)state;
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    assert_string_equal(new.url, "http://example.com/a%20b");
    assert_string_equal(new.host, "example.com:80");
    assert_null(new.body);
    assert_int_equal(new.priority, 0);
    job_new_done(&new);
}

static void test_url_is_needed(void **state) {
    (void)state;
    expect_error("{}", NULL, "jobs[3]: \"url\" is missing");
    expect_error("{'url': null}", NULL, "jobs[3].url: expected a string, found null");
    expect_error("{'url': ['a']}", NULL, "jobs[3].url: expected a string, found an array");
}

static void test_job_is_an_object(void **state) {
    (void)state;
    expect_error("'http://h/'", NULL, "jobs[3]: expected an object, found \"http://h/\"");
    expect_error("7", NULL, "jobs[3]: expected an object, found 7");
    expect_error("[]", NULL, "jobs[3]: expected an object, found an array");
}

static void test_bad_url_tells_where(void **state) {
    (void)state;
    expect_error("{'url': 'gopher://h/'}", NULL,
                 "jobs[3].url: the scheme \"gopher\" is not supported; use http, https, ftp, ftps or sftp");
    expect_error("{'url': ''}", NULL, "jobs[3].url: it is empty");
    expect_error("{'url': 'http://h/a%zz'}", NULL,
                 "jobs[3].url: two hex digits must follow a '%'; write a '%' itself as %25 "
                 "(at byte 11: \"%zz\")");
}

static void test_lone_job_has_no_place(void **state) {
    json_auto_t *object = json("{'url': 'http://h/', 'max_size': 0}");
    json_auto_t *empty = json("{}");
    struct job_error err;
    struct job_new new;

    (void)state;
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
    assert_string_equal(err.text, "max_size: expected a number of bytes above 0, as 20000000 or "
                                  "\"20M\", found 0");
    assert_int_equal(job_new_parse(empty, NULL, "", 0, &new, &err), -EINVAL);
    assert_string_equal(err.text, "\"url\" is missing");
}

static void test_unknown_key_names_the_nearest(void **state) {
    (void)state;
    expect_refused("'priorty': 1", ".priorty: unknown key; did you mean \"priority\"?");
    expect_refused("'maxsize': 1", ".maxsize: unknown key; did you mean \"max_size\"?");
}

static void test_unknown_key_lists_the_known(void **state) {
    (void)state;
    expect_refused(
        "'zzzzzzzz': 1",
        ".zzzzzzzz: unknown key; the keys are url, urls, output, on_conflict, headers, "
        "user_agent, referer, priority, retries, timeout, tag, max_size, max_decoded_size, "
        "size, checksum, retry_on, deadline, not_before, content_disposition, "
        "if_modified, remote_time, compressed, "
        "auth, client_certificate, proxy, proxy_auth, rate_limit, connections");
}

static void test_errors_are_safe_on_a_terminal(void **state) {
    char key[800] = "'\\u001b[31m", text[600] = "[\"\\x1b[31m";

    (void)state;
    memset(key + strlen(key), 'q', 600);
    strcat(key, "': 1");
    memset(text + strlen(text), 'q', 56);
    strcat(text,
           "...\"]: unknown key; the keys are url, urls, output, on_conflict, headers, "
           "user_agent, referer, priority, retries, timeout, tag, max_size, max_decoded_size, "
           "size, checksum, retry_on, deadline, not_before, content_disposition, "
           "if_modified, remote_time, compressed, "
        "auth, client_certificate, proxy, proxy_auth, rate_limit, connections");
    expect_refused(key, text);
    expect_refused("'on_conflict': '\\u202e\\u009b'",
                   ".on_conflict: expected \"fail\", \"overwrite\", \"rename\" or \"skip\", found "
                   "\"\\xe2\\x80\\xae\\xc2\\x9b\"");
}

static void test_output(void **state) {
    (void)state;
    expect_taken("'output': '{host}/{name}'", "{'output': '{host}/{name}'}");
    expect_refused("'output': 5", ".output: expected a string, found 5");
    expect_refused("'output': ''",
                   ".output: it is empty; leave the key out for the name in the URL");
    expect_refused("'output': '../x'",
                   ".output: no part of the path may be \".\" or \"..\", found \"../x\"");
}

static void test_output_too_long_with_its_url(void **state) {
    char job[9000] = "{\"url\": \"http://h/";
    struct job_error err;
    struct job_new new;
    json_t *object;

    (void)state;
    for (int i = 0; i < 2100; i++)
        strcat(job, "a/");
    strcat(job, "\", \"output\": \"{path}/{name}\"}");
    object = json_loads(job, 0, NULL);
    assert_non_null(object);
    assert_int_equal(job_new_parse(object, NULL, "jobs[3]", 3, &new, &err), -EINVAL);
    assert_string_equal(err.text,
                        "jobs[3].output: with this URL it gives a path longer than 4095 bytes");
    json_decref(object);
}

static void test_on_conflict(void **state) {
    (void)state;
    expect_taken("'on_conflict': 'skip'", "{'on_conflict': 'skip'}");
    expect_refused("'on_conflict': 'replace'",
                   ".on_conflict: expected \"fail\", \"overwrite\", \"rename\" or \"skip\", found "
                   "\"replace\"");
    expect_refused(
        "'on_conflict': true",
        ".on_conflict: expected \"fail\", \"overwrite\", \"rename\" or \"skip\", found true");
}

static void test_priority(void **state) {
    (void)state;
    expect_taken("'priority': -100", "{'priority': -100}");
    expect_refused("'priority': 101", ".priority: expected an integer from -100 to 100, found 101");
    expect_refused("'priority': 1.5", ".priority: expected an integer from -100 to 100, found 1.5");
    expect_refused("'priority': '1'",
                   ".priority: expected an integer from -100 to 100, found \"1\"");
}

static void test_priority_comes_out(void **state) {
    json_auto_t *object = json("{'url': 'http://h/'}"), *defaults = json("{'priority': 7}");
    struct job_error err;
    struct job_new new;

    (void)state;
    assert_int_equal(job_new_parse(object, defaults, "", 0, &new, &err), 0);
    assert_int_equal(new.priority, 7);
    job_new_done(&new);
}

static void test_retries(void **state) {
    (void)state;
    expect_taken("'retries': 0", "{'retries': 0}");
    expect_taken("'retries': 1000", "{'retries': 1000}");
    expect_taken("'retries': 1e2", "{'retries': 100}");
    expect_taken("'retries': 3.0", "{'retries': 3}");
    expect_refused("'retries': 2.5", ".retries: expected an integer from 0 to 1000, found 2.5");
    expect_refused("'retries': -1", ".retries: expected an integer from 0 to 1000, found -1");
    expect_refused("'retries': 1001", ".retries: expected an integer from 0 to 1000, found 1001");
}

static void test_timeout_is_stored_in_seconds(void **state) {
    (void)state;
    expect_taken("'timeout': 90", "{'timeout': 90}");
    expect_taken("'timeout': '90 s'", "{'timeout': 90}");
    expect_taken("'timeout': '2min'", "{'timeout': 120}");
    expect_taken("'timeout': '1.5'", "{'timeout': 1.5}");
    expect_taken("'timeout': 0.0014", "{'timeout': 0.001}");
    expect_taken("'timeout': 2592000", "{'timeout': 2592000}");
}

static void test_timeout_has_a_range(void **state) {
    static const char *const values[] = {"0",     "-1", "0.0001", "2592001",
                                         "'31d'", "''", "'x'",    "1e300"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(values); i++) {
        json_auto_t *object = json("{'url': 'http://h/'}");
        struct job_error err;
        struct job_new new;

        json_object_set_new(object, "timeout", json(values[i]));
        assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
        assert_memory_equal(err.text, "timeout: expected seconds, from 0.001 to", 40);
    }
}

static void test_max_size_is_stored_in_bytes(void **state) {
    (void)state;
    expect_taken("'max_size': 1", "{'max_size': 1}");
    expect_taken("'max_size': '20M'", "{'max_size': 20971520}");
    expect_taken("'max_size': '512'", "{'max_size': 512}");
}

static void test_max_size_has_a_range(void **state) {
    static const char end[] = ".max_size: expected a number of bytes above 0, as 20000000 or "
                              "\"20M\", found ";
    char text[200];

    (void)state;
    snprintf(text, sizeof(text), "%s-5", end);
    expect_refused("'max_size': -5", text);
    snprintf(text, sizeof(text), "%s1.5", end);
    expect_refused("'max_size': 1.5", text);
    snprintf(text, sizeof(text), "%s\"20X\"", end);
    expect_refused("'max_size': '20X'", text);
    snprintf(text, sizeof(text), "%s\"0\"", end);
    expect_refused("'max_size': '0'", text);
}

static void test_tag(void **state) {
    char key[400] = "'tag': '";

    (void)state;
    expect_taken("'tag': '\xc3\xa4 \xe2\x82\xac'", "{'tag': '\xc3\xa4 \xe2\x82\xac'}");
    expect_refused("'tag': ''", ".tag: expected 1 to 255 bytes, found 0");
    expect_refused("'tag': 'a\\nb'", ".tag: control characters are not allowed, found \"a\\x0ab\"");
    memset(key + 8, 'a', 256);
    strcat(key, "'");
    expect_refused(key, ".tag: expected 1 to 255 bytes, found 256");
}

static void test_user_agent_and_referer(void **state) {
    (void)state;
    expect_taken("'user_agent': 'a', 'referer': 'http://r/'",
                 "{'user_agent': 'a', 'referer': 'http://r/'}");
    expect_refused("'user_agent': 'a\\r\\nb'",
                   ".user_agent: control characters are not allowed, found \"a\\x0d\\x0ab\"");
    expect_refused("'referer': {}", ".referer: expected a string, found an object");
}

static void test_headers(void **state) {
    (void)state;
    expect_taken("'headers': {'X-A': 'b\\tc', 'Host': 'h2', 'Empty': ''}",
                 "{'headers': {'X-A': 'b\\tc', 'Host': 'h2', 'Empty': ''}}");
    expect_refused("'headers': []",
                   ".headers: expected an object of names and values, found an array");
    expect_refused("'headers': {'X: y': 'a'}",
                   ".headers[\"X: y\"]: expected a header name: letters, digits and "
                   "!#$%&'*+-.^_`|~ only");
    expect_refused("'headers': {'': 'a'}",
                   ".headers[\"\"]: expected a header name: letters, digits "
                   "and !#$%&'*+-.^_`|~ only");
    expect_refused("'headers': {'X': 5}", ".headers[\"X\"]: expected a string, found 5");
    expect_refused("'headers': {'X': 'a\\r\\nB: c'}",
                   ".headers[\"X\"]: control characters are not allowed in its value");
    expect_refused("'headers': {'X': 'a', 'x': 'b'}", ".headers[\"X\"]: the header is given twice");
}

static void test_headers_of_the_transfer_are_refused(void **state) {
    static const char *const names[] = {
        "content-length", "Transfer-Encoding", "Connection", "TE",
        "Trailer",        "Upgrade",           "Expect",     "Range",
        "If-Range",       "Accept-Encoding",   "Keep-Alive", "Proxy-Connection"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        char key[100], text[100];

        snprintf(key, sizeof(key), "'headers': {'%s': 'x'}", names[i]);
        snprintf(text, sizeof(text), ".headers[\"%s\"]: dld sets this header itself", names[i]);
        expect_refused(key, text);
    }
}

static void test_headers_are_bounded(void **state) {
    json_auto_t *object = json("{'url': 'http://h/'}"), *defaults = json("{}");
    json_t *headers = json_object(), *more = json_object();
    struct job_error err;
    struct job_new new;
    char name[20];

    (void)state;
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "A%d", i);
        json_object_set_new(headers, name, json_string(""));
        snprintf(name, sizeof(name), "%c%d", i < 20 ? 'a' : 'B', i);
        json_object_set_new(more, name, json_string(""));
    }
    json_object_set_new(object, "headers", headers);
    json_object_set_new(defaults, "headers", more);
    /* 20 of the defaults are beaten by the job's */
    assert_int_equal(job_new_parse(object, defaults, "", 0, &new, &err), 0);
    job_new_done(&new);
    json_object_set_new(headers, "one-more", json_string(""));
    assert_int_equal(job_new_parse(object, defaults, "", 0, &new, &err), -EINVAL);
    assert_string_equal(err.text,
                        "headers: expected at most 100 headers, found 101 with the defaults");
}

static void test_header_bytes_are_bounded(void **state) {
    json_auto_t *object = json("{'url': 'http://h/', 'headers': {}}");
    char *value = malloc(20000);
    struct job_error err;
    struct job_new new;

    (void)state;
    assert_non_null(value);
    memset(value, 'a', 20000);
    value[16384 - 5] = '\0';
    json_object_set_new(json_object_get(object, "headers"), "A", json_string(value));
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    job_new_done(&new);
    value[16384 - 5] = 'a';
    value[16384 - 4] = '\0';
    json_object_set_new(json_object_get(object, "headers"), "A", json_string(value));
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
    assert_string_equal(err.text, "headers: expected at most 16384 bytes in all, found 16385");
    free(value);
}

static void test_job_beats_defaults(void **state) {
    (void)state;
    expect_body("{'url': 'http://h/', 'retries': 1}", "{'retries': 5, 'tag': 'd'}",
                "{'retries': 1, 'tag': 'd'}");
}

static void test_headers_beat_one_by_one(void **state) {
    (void)state;
    expect_body("{'url': 'http://h/', 'headers': {'accept': 'a'}}",
                "{'headers': {'Accept': 'd', 'X': 'e'}}", "{'headers': {'X': 'e', 'accept': 'a'}}");
    expect_body("{'url': 'http://h/'}", "{'headers': {'X': 'e'}}", "{'headers': {'X': 'e'}}");
}

static void test_key_of_a_job_beats_a_default_header(void **state) {
    const char *defaults = "{'headers': {'user-agent': 'd', 'Referer': 'http://d/', 'X': 'd'}}";

    (void)state;
    expect_body("{'url': 'http://h/', 'user_agent': 'j'}", defaults,
                "{'headers': {'Referer': 'http://d/', 'X': 'd'}, 'user_agent': 'j'}");
    expect_body("{'url': 'http://h/', 'referer': 'http://j/'}", defaults,
                "{'headers': {'user-agent': 'd', 'X': 'd'}, 'referer': 'http://j/'}");
}

static void test_defaults_are_checked(void **state) {
    static const char *const table[][2] = {
        {"{'retries': -1}", "defaults.retries: expected an integer from 0 to 1000, found -1"},
        {"{'url': 'http://h/'}", "defaults.url: each job has its own, the defaults can't have it"},
        {"{'urls': []}", "defaults.urls: each job has its own, the defaults can't have it"},
        {"{'retrys': 1}", "defaults.retrys: unknown key; did you mean \"retries\"?"},
        {"{'headers': {'a b': ''}}", "defaults.headers[\"a b\"]: expected a header name: letters, "
                                     "digits and !#$%&'*+-.^_`|~ only"},
        {"[]", "defaults: expected an object, found an array"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(table); i++) {
        json_auto_t *defaults = json(table[i][0]);
        struct job_error err;

        assert_int_equal(job_defaults_check(defaults, &err), -EINVAL);
        assert_string_equal(err.text, table[i][1]);
        assert_int_equal(err.index, -1);
    }
}

static void test_good_defaults_are_taken(void **state) {
    json_auto_t *defaults = json("{'headers': {'A': 'b'}, 'max_size': '1G'}");
    struct job_error err;

    (void)state;
    assert_int_equal(job_defaults_check(defaults, &err), 0);
    assert_int_equal(job_defaults_check(NULL, &err), 0);
}

static void test_body_comes_back_as_spec(void **state) {
    json_auto_t *object =
        json("{'url': 'http://h/', 'output': 'a/', 'on_conflict': 'fail', 'headers': {'A': 'b', "
             "'C': ''}, 'user_agent': 'u', 'referer': 'r', 'priority': -3, 'retries': 4, "
             "'timeout': 1.5, 'tag': '\\\"t', 'max_size': '1K'}");
    struct job_error err;
    struct job_new new;
    struct job_spec spec;

    (void)state;
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    assert_int_equal(job_spec_parse(new.body, &spec), 0);
    assert_string_equal(spec.output, "a/");
    assert_int_equal(spec.on_conflict, CONFLICT_FAIL);
    assert_int_equal(spec.n_headers, 2);
    assert_string_equal(spec.headers[0], "A: b");
    assert_string_equal(spec.headers[1], "C: ");
    assert_string_equal(spec.user_agent, "u");
    assert_string_equal(spec.referer, "r");
    assert_string_equal(spec.tag, "\"t");
    assert_int_equal(spec.priority, -3);
    assert_int_equal(spec.retries, 4);
    assert_int_equal(spec.timeout_usec, 1500000);
    assert_int_equal(spec.max_size, 1024);
    job_spec_done(&spec);
    job_new_done(&new);
}

static void test_no_body_is_a_spec_of_nothing(void **state) {
    struct job_spec spec;

    (void)state;
    assert_int_equal(job_spec_parse(NULL, &spec), 0);
    assert_null(spec.output);
    assert_int_equal(spec.on_conflict, CONFLICT_RENAME);
    assert_int_equal(spec.retries, -1);
    assert_int_equal(spec.timeout_usec, 0);
    assert_int_equal(spec.max_size, 0);
    assert_int_equal(spec.n_headers, 0);
    assert_int_equal(spec.size, -1);
    assert_int_equal(spec.n_urls, 0);
    assert_int_equal(spec.n_retry_on, 0);
    assert_int_equal(spec.deadline, 0);
    assert_null(spec.checksum);
    assert_false(spec.compressed);
    job_spec_done(&spec);
}

static void test_bad_bodies_are_refused(void **state) {
    static const char *const bodies[] = {"",
                                         "{",
                                         "[]",
                                         "null",
                                         "{\"x\": 1}",
                                         "{\"retries\": -1}",
                                         "{\"tag\": \"a\", \"tag\": \"b\"}",
                                         "{\"url\": \"http://h/\"}",
                                         "{\"output\": \"../x\"}"};
    struct job_spec spec;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bodies); i++)
        assert_int_equal(job_spec_parse(bodies[i], &spec), -EBADMSG);
}

/* Run from the top of the tree. */
static void test_schema_has_the_same_keys(void **state) {
    json_auto_t *schema = json_load_file("daemon/job.schema.json", JSON_REJECT_DUPLICATES, NULL);
    json_t *defs, *own, *common;

    (void)state;
    assert_non_null(schema);
    defs = json_object_get(schema, "$defs");
    own = json_object_get(json_object_get(defs, "job"), "properties");
    common = json_object_get(json_object_get(defs, "settings"), "properties");
    assert_int_equal(json_object_size(own) + json_object_size(common), KEY_MAX_);
    for (int k = 0; k < KEY_MAX_; k++)
        if (!json_object_get(k == KEY_URL || k == KEY_URLS ? own : common, job_key_names[k]))
            fail_msg("the schema lacks %s", job_key_names[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_is_made_canonical),
        cmocka_unit_test(test_url_is_needed),
        cmocka_unit_test(test_job_is_an_object),
        cmocka_unit_test(test_bad_url_tells_where),
        cmocka_unit_test(test_lone_job_has_no_place),
        cmocka_unit_test(test_unknown_key_names_the_nearest),
        cmocka_unit_test(test_unknown_key_lists_the_known),
        cmocka_unit_test(test_errors_are_safe_on_a_terminal),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_output_too_long_with_its_url),
        cmocka_unit_test(test_on_conflict),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_priority_comes_out),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_timeout_is_stored_in_seconds),
        cmocka_unit_test(test_timeout_has_a_range),
        cmocka_unit_test(test_max_size_is_stored_in_bytes),
        cmocka_unit_test(test_max_size_has_a_range),
        cmocka_unit_test(test_tag),
        cmocka_unit_test(test_user_agent_and_referer),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_headers_of_the_transfer_are_refused),
        cmocka_unit_test(test_headers_are_bounded),
        cmocka_unit_test(test_header_bytes_are_bounded),
        cmocka_unit_test(test_job_beats_defaults),
        cmocka_unit_test(test_headers_beat_one_by_one),
        cmocka_unit_test(test_key_of_a_job_beats_a_default_header),
        cmocka_unit_test(test_defaults_are_checked),
        cmocka_unit_test(test_good_defaults_are_taken),
        cmocka_unit_test(test_body_comes_back_as_spec),
        cmocka_unit_test(test_no_body_is_a_spec_of_nothing),
        cmocka_unit_test(test_bad_bodies_are_refused),
        cmocka_unit_test(test_schema_has_the_same_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
