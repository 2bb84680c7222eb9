#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job_json.h"
#include "tests/unit/job_fixture.h"

static void test_urls(void **state) {
    (void)state;
    expect_body("{'urls': ['HTTP://A/x y', 'http://b:80']}", NULL,
                "{'urls': ['http://a/x%20y', 'http://b/']}");
    expect_body("{'urls': ['http://h/'], 'tag': 't'}", NULL, "{'tag': 't'}");
    expect_body("{'urls': ['http://h/']}", NULL, NULL);
}

static void test_first_of_urls_is_that_of_the_job(void **state) {
    json_auto_t *object = json("{'urls': ['http://A/x', 'http://b/']}");
    struct job_error err;
    struct job_new new;

    (void)state;
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    assert_string_equal(new.url, "http://a/x");
    assert_string_equal(new.host, "a:80");
    job_new_done(&new);
}

static void test_bad_urls_are_refused(void **state) {
    (void)state;
    expect_error("{'urls': 'http://h/'}", NULL,
                 "jobs[3].urls: expected an array of URLs, found \"http://h/\"");
    expect_error("{'urls': []}", NULL, "jobs[3].urls: expected 1 to 16 URLs, found 0");
    expect_error("{'urls': [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", NULL,
                 "jobs[3].urls: expected 1 to 16 URLs, found 17");
    expect_error("{'urls': ['http://h/', 5]}", NULL, "jobs[3].urls[1]: expected a string, found 5");
    expect_error("{'urls': ['http://h/', 'scp://h/a']}", NULL,
                 "jobs[3].urls[1]: the scheme \"scp\" is not supported; use http, https, ftp, ftps or "
                 "sftp");
    expect_error("{'url': 'http://h/', 'urls': ['http://h/']}", NULL,
                 "jobs[3]: \"url\" and \"urls\" are both given; leave one out");
}

static void test_urls_are_bounded_together(void **state) {
    json_auto_t *object = json("{'urls': ['http://h/', 'http://h/']}");
    json_t *urls = json_object_get(object, "urls");
    char url[8194] = "http://h/";
    struct job_error err;
    struct job_new new;

    (void)state;
    memset(url + 9, 'a', 8192 - 9);
    json_array_set_new(urls, 0, json_string(url));
    json_array_set_new(urls, 1, json_string(url));
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    job_new_done(&new);
    url[8192] = 'a';
    json_array_set_new(urls, 1, json_string(url));
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
    assert_string_equal(err.text, "urls: expected at most 16384 bytes in all, found 16385");
}

#define SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_checksum_is_stored_in_hex(void **state) {
    (void)state;
    expect_taken("'checksum': 'sha-256:" SHA256 "'", "{'checksum': 'sha-256:" SHA256 "'}");
    expect_taken("'checksum': 'SHA-256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
                 "{'checksum': 'sha-256:" SHA256 "'}");
    expect_taken("'checksum': 'md5:D41D8CD98F00B204E9800998ECF8427E'",
                 "{'checksum': 'md5:d41d8cd98f00b204e9800998ecf8427e'}");
    expect_taken("'checksum': 'md5:1B2M2Y8AsgTpgAmY7PhCfg=='",
                 "{'checksum': 'md5:d41d8cd98f00b204e9800998ecf8427e'}");
    expect_taken("'checksum': 'sha-1:2jmj7l5rSw0yVb/vlWAYkK/YBwk='",
                 "{'checksum': 'sha-1:da39a3ee5e6b4b0d3255bfef95601890afd80709'}");
    expect_taken("'checksum': 'sha-512:" SHA256 SHA256 "'",
                 "{'checksum': 'sha-512:" SHA256 SHA256 "'}");
    expect_taken(
        "'checksum': 'sha-512:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKH"
        "fuwvY7kxvUdBeoGlODJ6+SfaPg=='",
        "{'checksum': 'sha-512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36c"
        "e9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e'}");
}

static void test_bad_checksums_are_refused(void **state) {
    (void)state;
    expect_refused("'checksum': 'sha-256:abc'",
                   ".checksum: expected \"sha-256:<64 hex digits>\", found \"sha-256:abc\"");
    expect_refused("'checksum': 'sha-1:'",
                   ".checksum: expected \"sha-1:<40 hex digits>\", found \"sha-1:\"");
    expect_refused("'checksum': 'sha-512'",
                   ".checksum: expected \"sha-512:<128 hex digits>\", found \"sha-512\"");
    expect_refused(
        "'checksum': 'crc32:12345678'",
        ".checksum: expected \"sha-256:<64 hex digits>\" (or sha-512, sha-1, md5), found "
        "\"crc32:12345678\"");
    expect_refused(
        "'checksum': 5",
        ".checksum: expected \"sha-256:<64 hex digits>\" (or sha-512, sha-1, md5), found "
        "5");
    /* bits left over, no padding, too much of it, no hex */
    expect_refused("'checksum': 'md5:1B2M2Y8AsgTpgAmY7PhCfh=='",
                   ".checksum: expected \"md5:<32 hex digits>\", found "
                   "\"md5:1B2M2Y8AsgTpgAmY7PhCfh==\"");
    expect_refused("'checksum': 'md5:1B2M2Y8AsgTpgAmY7PhCfg'",
                   ".checksum: expected \"md5:<32 hex digits>\", found "
                   "\"md5:1B2M2Y8AsgTpgAmY7PhCfg\"");
    expect_refused("'checksum': 'md5:1B2M2Y8AsgTpgAmY7PhCf==='",
                   ".checksum: expected \"md5:<32 hex digits>\", found "
                   "\"md5:1B2M2Y8AsgTpgAmY7PhCf===\"");
    expect_refused("'checksum': 'md5:g41d8cd98f00b204e9800998ecf8427e'",
                   ".checksum: expected \"md5:<32 hex digits>\", found "
                   "\"md5:g41d8cd98f00b204e9800998ecf8427e\"");
}

static void test_size(void **state) {
    (void)state;
    expect_taken("'size': 0", "{'size': 0}");
    expect_taken("'size': 2e9", "{'size': 2000000000}");
    expect_taken("'size': '20M'", "{'size': 20971520}");
    expect_taken("'size': 9223372036854775807", "{'size': 9223372036854775807}");
    expect_refused("'size': -1",
                   ".size: expected a number of bytes, as 20000000 or \"20M\", found -1");
    expect_refused("'size': 1.5",
                   ".size: expected a number of bytes, as 20000000 or \"20M\", found 1.5");
    expect_refused("'size': 'x'",
                   ".size: expected a number of bytes, as 20000000 or \"20M\", found \"x\"");
}

static void test_max_decoded_size(void **state) {
    (void)state;
    expect_taken("'max_decoded_size': '1G'", "{'max_decoded_size': 1073741824}");
    expect_refused("'max_decoded_size': 0",
                   ".max_decoded_size: expected a number of bytes above 0, as 20000000 or "
                   "\"20M\", found 0");
}

static void test_rate_limit(void **state) {
    static const char *const wrong[] = {"-1", "1.5", "1023", "'5'", "'fast'", "true", "2000000000000"};

    (void)state;
    expect_taken("'rate_limit': '1M'", "{'rate_limit': 1048576}");
    expect_taken("'rate_limit': 1024", "{'rate_limit': 1024}");
    expect_taken("'rate_limit': 1e6", "{'rate_limit': 1000000}");
    expect_taken("'rate_limit': 1048576.0", "{'rate_limit': 1048576}");
    expect_taken("'rate_limit': 'none'", "{'rate_limit': 0}");
    expect_taken("'rate_limit': 0", "{'rate_limit': 0}");
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        char job[64], text[128], quoted[32];

        snprintf(quoted, sizeof(quoted), *wrong[i] == '\'' ? "\"%.*s\"" : "%.*s",
                 (int)strcspn(wrong[i] + (*wrong[i] == '\''), "'"), wrong[i] + (*wrong[i] == '\''));
        snprintf(job, sizeof(job), "'rate_limit': %s", wrong[i]);
        snprintf(text, sizeof(text),
                 ".rate_limit: expected bytes a second from 1K to 1T, as 1000000 or \"1M\", or "
                 "\"none\", found %s",
                 quoted);
        expect_refused(job, text);
    }
}

static void test_retry_on(void **state) {
    (void)state;
    expect_taken("'retry_on': [400, 599]", "{'retry_on': [400, 599]}");
    expect_refused("'retry_on': 404", ".retry_on: expected an array of HTTP statuses, found 404");
    expect_refused("'retry_on': []", ".retry_on: expected 1 to 32 HTTP statuses, found 0");
    expect_refused("'retry_on': [404, 200]",
                   ".retry_on[1]: expected an HTTP status from 400 to 599, found 200");
    expect_refused("'retry_on': ['404']",
                   ".retry_on[0]: expected an HTTP status from 400 to 599, found \"404\"");
}

static void test_retry_on_is_bounded(void **state) {
    json_auto_t *object = json("{'url': 'http://h/', 'retry_on': []}");
    json_t *list = json_object_get(object, "retry_on");
    struct job_error err;
    struct job_new new;

    (void)state;
    for (int i = 0; i < 32; i++)
        json_array_append_new(list, json_integer(400 + i));
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    job_new_done(&new);
    json_array_append_new(list, json_integer(500));
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
    assert_string_equal(err.text, "retry_on: expected 1 to 32 HTTP statuses, found 33");
}

static void test_times_are_stored_in_seconds(void **state) {
    (void)state;
    expect_taken("'deadline': 1700000000", "{'deadline': 1700000000}");
    expect_taken("'deadline': 1700000000.0004", "{'deadline': 1700000000}");
    expect_taken("'not_before': 1700000000.25", "{'not_before': 1700000000.25}");
    expect_taken("'deadline': '2026-11-22T10:00:00Z'", "{'deadline': 1795341600}");
    expect_taken("'deadline': '2026-11-22t10:00:00.5+01:30'", "{'deadline': 1795336200.5}");
    expect_taken("'deadline': '2026-11-22 10:00:00-00:30'", "{'deadline': 1795343400}");
    expect_taken("'deadline': '2024-02-29T23:59:60Z'", "{'deadline': 1709251200}");
}

static void test_bad_times_are_refused(void **state) {
    static const char *const values[] = {"0",
                                         "-1",
                                         "1e300",
                                         "true",
                                         "''",
                                         "'2h'",
                                         "'+'",
                                         "'+2 weeks'",
                                         "'+999999999d'",
                                         "'1700000000'",
                                         "'2026-11-22'",
                                         "'2026-11-22T10:00:00'",
                                         "'2026-11-22T10:00:00Zx'",
                                         "'2026-11-22T10:00:00.Z'",
                                         "'2026-11-22T10:00:00+0100'",
                                         "'2026-11-22T24:00:00Z'",
                                         "'2025-02-29T10:00:00Z'",
                                         "'2026-04-31T10:00:00Z'",
                                         "'2026-13-01T10:00:00Z'"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(values); i++) {
        json_auto_t *object = json("{'url': 'http://h/'}");
        struct job_error err;
        struct job_new new;

        json_object_set_new(object, "deadline", json(values[i]));
        assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
        assert_memory_equal(err.text, "deadline: expected a time: seconds since", 40);
    }
    expect_refused("'not_before': 'soon'",
                   ".not_before: expected a time: seconds since the epoch, as "
                   "\"2026-11-22T10:00:00Z\", or from now, as \"+2h\", found \"soon\"");
}

static void test_time_from_now_is_made_absolute(void **state) {
    json_auto_t *object = json("{'url': 'http://h/', 'not_before': '+2h'}");
    uint64_t before = now_usec(CLOCK_REALTIME), wait = 7200 * USEC_PER_SEC;
    struct job_error err;
    struct job_new new;
    struct job_spec spec;

    (void)state;
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    assert_in_range(new.not_before, before + wait - USEC_PER_MSEC,
                    now_usec(CLOCK_REALTIME) + wait + USEC_PER_MSEC);
    assert_int_equal(job_spec_parse(new.body, &spec), 0);
    assert_int_equal(spec.not_before, new.not_before);
    job_spec_done(&spec);
    job_new_done(&new);
}

static void test_booleans_are_stored_when_true(void **state) {
    static const char *const keys[] = {"content_disposition", "if_modified", "remote_time",
                                       "compressed"};
    char job[100], text[200], defaults[110];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        snprintf(job, sizeof(job), "'%s': true", keys[i]);
        snprintf(defaults, sizeof(defaults), "{%s}", job);
        expect_taken(job, defaults);
        snprintf(job, sizeof(job), "{'url': 'http://h/', '%s': false}", keys[i]);
        expect_body(job, NULL, NULL);
        expect_body(job, defaults, NULL);
        snprintf(job, sizeof(job), "'%s': 1", keys[i]);
        snprintf(text, sizeof(text), ".%s: expected true or false, found 1", keys[i]);
        expect_refused(job, text);
    }
}

static void test_later_keys_come_back_as_spec(void **state) {
    json_auto_t *object =
        json("{'urls': ['http://a/', 'http://b/'], 'checksum': 'md5:1B2M2Y8AsgTpgAmY7PhCfg==', "
             "'size': 7, 'retry_on': [404, 503], 'deadline': 1700000000.25, 'not_before': 5, "
             "'content_disposition': true, 'if_modified': true, 'remote_time': true, "
             "'compressed': true, 'max_decoded_size': '2K', 'rate_limit': '3K'}");
    struct job_error err;
    struct job_new new;
    struct job_spec spec;

    (void)state;
    assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), 0);
    assert_int_equal(new.not_before, 5000000);
    assert_int_equal(job_spec_parse(new.body, &spec), 0);
    assert_int_equal(spec.n_urls, 2);
    assert_string_equal(spec.urls[0], "http://a/");
    assert_string_equal(spec.urls[1], "http://b/");
    assert_string_equal(spec.checksum, "md5:d41d8cd98f00b204e9800998ecf8427e");
    assert_int_equal(spec.size, 7);
    assert_int_equal(spec.n_retry_on, 2);
    assert_int_equal(spec.retry_on[1], 503);
    assert_int_equal(spec.deadline, 1700000000250000);
    assert_int_equal(spec.not_before, 5000000);
    assert_true(spec.content_disposition && spec.if_modified && spec.remote_time);
    assert_true(spec.compressed);
    assert_int_equal(spec.max_decoded_size, 2048);
    assert_int_equal(new.rate_limit, 3072);
    job_spec_done(&spec);
    job_new_done(&new);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_first_of_urls_is_that_of_the_job),
        cmocka_unit_test(test_bad_urls_are_refused),
        cmocka_unit_test(test_urls_are_bounded_together),
        cmocka_unit_test(test_checksum_is_stored_in_hex),
        cmocka_unit_test(test_bad_checksums_are_refused),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_max_decoded_size),
        cmocka_unit_test(test_rate_limit),
        cmocka_unit_test(test_retry_on),
        cmocka_unit_test(test_retry_on_is_bounded),
        cmocka_unit_test(test_times_are_stored_in_seconds),
        cmocka_unit_test(test_bad_times_are_refused),
        cmocka_unit_test(test_time_from_now_is_made_absolute),
        cmocka_unit_test(test_booleans_are_stored_when_true),
        cmocka_unit_test(test_later_keys_come_back_as_spec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
