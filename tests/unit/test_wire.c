/* wire.h: what is put is got, and nothing that is cut short or makes no sense is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/errors.h"
#include "common/naming.h"
#include "common/wire.h"

static const struct wire_job a_job = {
    .id = INT64_C(0x123456789abc),
    .attempt = 3,
    .on_conflict = CONFLICT_SKIP,
    .maybe_published = true,
    .max_size = UINT64_MAX,
    .timeout_usec = 1500000,
    .deadline_usec = UINT64_MAX - 1,
    .rate = 2048,
    .host_bucket = 3,
    .url = "http://example.org/a?b",
    .output = "dir/a.bin",
    .referer = "http://example.org/",
    .size = -1,
    .checksum = "md5:00",
    .connections = 7,
    .kept = {.offset = 4096, .total = 10000, .etag = "\"v1\"", .ranges = "5000-6000 7000-10000"},
    .auth = WIRE_AUTH_BASIC,
    .user = "me",
    .secret = "password",
    .certificate = "-----BEGIN",
    .proxy = "",
    .proxy_user = "you",
    .proxy_secret = "other",
    .n_headers = 2,
    .headers = {"A: b", "C: d"},
};

static const struct wire_result a_result = {
    .id = 7,
    .outcome = OUTCOME_DONE,
    .http_status = 200,
    .bytes = 10240,
    .size = 10240,
    .started_usec = 1,
    .output = "dir/a.bin",
    .content_type = "text/html",
    .digest = "sha-256:00",
    .kept = {.total = -1},
};

static const struct wire_config a_config = {
    .worker = 2,
    .transfers = 16,
    .fsync = FSYNC_NEVER,
    .max_redirects = 20,
    .file_mode = 0644,
    .dir_mode = 0755,
    .store_id = "0123456789abcdef0123456789abcdef",
    .schemes = "http https",
    .known_hosts = "/etc/ssh/ssh_known_hosts",
    .deny = "127.0.0.0/8",
    .allow = "",
};

/* The payload of the one record in b. */
static const void *payload(struct buf *b, uint8_t type, size_t *ret_len) {
    size_t pos = 0;
    const void *p;
    uint8_t t;

    assert_int_equal(wire_next(buf_head(b), buf_size(b), &pos, &t, &p, ret_len), 1);
    assert_int_equal(t, type);
    assert_int_equal(pos, buf_size(b));
    return p;
}

static void test_job_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_job m;
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_job(&b, &a_job), 0);
    p = payload(&b, WIRE_JOB, &n);
    assert_int_equal(wire_get_job(p, n, &m), 0);
    assert_true(m.id == a_job.id && m.attempt == 3 && m.max_size == UINT64_MAX);
    assert_true(m.maybe_published && m.on_conflict == CONFLICT_SKIP && m.timeout_usec == 1500000);
    assert_true(m.deadline_usec == UINT64_MAX - 1 && m.rate == 2048 && m.host_bucket == 3);
    assert_string_equal(m.url, a_job.url);
    assert_string_equal(m.output, a_job.output);
    assert_null(m.user_agent);
    assert_string_equal(m.referer, a_job.referer);
    assert_int_equal(m.n_headers, 2);
    assert_string_equal(m.headers[1], "C: d");
    assert_true(m.size == -1 && m.kept.offset == 4096 && m.kept.total == 10000);
    assert_string_equal(m.kept.etag, "\"v1\"");
    assert_string_equal(m.kept.ranges, "5000-6000 7000-10000");
    assert_int_equal(m.connections, 7);
    assert_null(m.kept.last_modified);
    buf_done(&b);
}

static void test_credentials_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_job m;
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_job(&b, &a_job), 0);
    p = payload(&b, WIRE_JOB, &n);
    assert_int_equal(wire_get_job(p, n, &m), 0);
    assert_int_equal(m.auth, WIRE_AUTH_BASIC);
    assert_string_equal(m.user, "me");
    assert_string_equal(m.secret, "password");
    assert_string_equal(m.certificate, "-----BEGIN");
    assert_string_equal(m.proxy, "");
    assert_string_equal(m.proxy_user, "you");
    assert_string_equal(m.proxy_secret, "other");
    buf_done(&b);
}

static int recode_job(const struct wire_job *job) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_job m;
    const void *p;
    size_t n;
    int r;

    assert_int_equal(wire_put_job(&b, job), 0);
    p = payload(&b, WIRE_JOB, &n);
    r = wire_get_job(p, n, &m);
    buf_done(&b);
    return r;
}

static void test_half_credentials_are_refused(void **state) {
    struct wire_job job = a_job;

    (void)state;
    job.auth = WIRE_AUTH_MAX_;
    assert_int_equal(recode_job(&job), -EBADMSG);
    job.auth = WIRE_AUTH_NONE; /* what would the secret be for? */
    assert_int_equal(recode_job(&job), -EBADMSG);
    job.auth = WIRE_AUTH_BEARER; /* has no user */
    assert_int_equal(recode_job(&job), -EBADMSG);
    job.user = NULL;
    assert_int_equal(recode_job(&job), 0);
    job.auth = WIRE_AUTH_DIGEST;
    assert_int_equal(recode_job(&job), -EBADMSG);
    job.user = "";
    assert_int_equal(recode_job(&job), 0);
    job.secret = NULL;
    assert_int_equal(recode_job(&job), -EBADMSG);
    job = a_job;
    job.proxy_secret = NULL;
    assert_int_equal(recode_job(&job), -EBADMSG);
}

/* The largest credential, beside the longest strings that a job may have. */
static void test_the_largest_job_fits(void **state) {
    _cleanup_free_ char *text = malloc(48 * KIB + 1), *shorter = malloc(16 * KIB + 1);
    struct wire_job job = a_job;

    (void)state;
    memset(text, 'x', 48 * KIB);
    text[48 * KIB] = '\0';
    memset(shorter, 'x', 16 * KIB);
    shorter[16 * KIB] = '\0';
    job.certificate = text;
    job.url = job.referer = job.headers[0] = shorter;
    job.output = job.secret = job.proxy_secret = shorter + 12 * KIB;
    assert_int_equal(recode_job(&job), 0);
}

static void test_result_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_result m;
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_result(&b, &a_result), 0);
    p = payload(&b, WIRE_RESULT, &n);
    assert_int_equal(wire_get_result(p, n, &m), 0);
    assert_true(m.id == 7 && m.bytes == 10240 && m.size == 10240 && m.http_status == 200);
    assert_string_equal(m.content_type, "text/html");
    assert_null(m.message);
    buf_done(&b);
}

static void test_config_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_config m;
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_config(&b, &a_config), 0);
    p = payload(&b, WIRE_CONFIG, &n);
    assert_int_equal(wire_get_config(p, n, &m), 0);
    assert_true(m.worker == 2 && m.transfers == 16 && m.fsync == FSYNC_NEVER && m.dir_mode == 0755);
    assert_string_equal(m.store_id, a_config.store_id);
    buf_done(&b);
}

static void test_widen_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_widen m = {.id = 4, .n = 5};
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_widen(&b, &m), 0);
    m = (struct wire_widen){0};
    p = payload(&b, WIRE_WIDEN, &n);
    assert_int_equal(wire_get_widen(p, n, &m), 0);
    assert_true(m.id == 4 && m.n == 5);
    assert_int_equal(wire_get_widen(p, n - 1, &m), -EBADMSG);
    buf_done(&b);
}

static void test_widened_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_widened m = {.id = 4, .n = 5, .n_mirrors = 2, .mirrors = {{"a", 1}, {"b", 2}}};
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_widened(&b, &m), 0);
    m = (struct wire_widened){0};
    p = payload(&b, WIRE_WIDENED, &n);
    assert_int_equal(wire_get_widened(p, n, &m), 0);
    assert_true(m.id == 4 && m.n == 5 && m.n_mirrors == 2);
    assert_true(m.mirrors[0].n == 1 && m.mirrors[1].n == 2);
    assert_string_equal(m.mirrors[1].url, "b");
    assert_int_equal(wire_get_widened(p, n - 1, &m), -EBADMSG);
    buf_done(&b);
}

static void test_widened_to_too_many(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_widened m = {.id = 4};
    const void *p;
    char *bytes;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_widened(&b, &m), 0);
    p = payload(&b, WIRE_WIDENED, &n);
    bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, p, n);
    memset(bytes + n - 4, 0xff, 4);
    assert_int_equal(wire_get_widened(bytes, n, &m), -EBADMSG);
    free(bytes);
    buf_done(&b);
}

static void test_ranges_that_make_no_sense(void **state) {
    static const char *const wrong[] = {"", "4000-5000", "5000-10001", "6000-7000 5000-5500", "x"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        struct buf b = BUF_INIT(WIRE_PACKET_MAX);
        struct wire_checkpoint m = {.id = 9, .kept = a_job.kept};
        const void *p;
        size_t n;

        m.kept.ranges = wrong[i];
        assert_int_equal(wire_put_checkpoint(&b, &m), 0);
        p = payload(&b, WIRE_CHECKPOINT, &n);
        assert_int_equal(wire_get_checkpoint(p, n, &m), -EBADMSG);
        buf_done(&b);
    }
}

static void test_rate_round_trip(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_rate m = {.id = 4, .rate = 5};
    const void *p;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_rate(&b, &m), 0);
    m = (struct wire_rate){0};
    p = payload(&b, WIRE_RATE, &n);
    assert_int_equal(wire_get_rate(p, n, &m), 0);
    assert_true(m.id == 4 && m.rate == 5);
    buf_done(&b);
}

static int get(uint8_t type, const void *p, size_t n) {
    union {
        struct wire_hello hello;
        struct wire_config config;
        struct wire_job job;
        struct wire_result result;
        struct wire_fetched fetched;
        struct wire_checkpoint checkpoint;
        struct wire_discard discard;
        struct wire_rate rate;
        int64_t id;
    } m;

    switch (type) {
    case WIRE_HELLO:
        return wire_get_hello(p, n, &m.hello);
    case WIRE_CONFIG:
        return wire_get_config(p, n, &m.config);
    case WIRE_JOB:
        return wire_get_job(p, n, &m.job);
    case WIRE_RESULT:
        return wire_get_result(p, n, &m.result);
    case WIRE_FETCHED:
        return wire_get_fetched(p, n, &m.fetched);
    case WIRE_CHECKPOINT:
        return wire_get_checkpoint(p, n, &m.checkpoint);
    case WIRE_DISCARD:
        return wire_get_discard(p, n, &m.discard);
    case WIRE_RATE:
        return wire_get_rate(p, n, &m.rate);
    case WIRE_STOP:
    case WIRE_DRAIN:
        return wire_get_empty(p, n);
    default:
        return wire_get_id(p, n, &m.id);
    }
}

/* One of each kind. */
static void put_all(struct buf *b) {
    const struct wire_hello hello = {.wire_version = WIRE_VERSION, .program_version = "1"};
    const struct wire_discard discard = {.id = 8, .output = "a/b"};
    const struct wire_fetched fetched = {.id = 6, .error = ERR_HTTP, .http_status = 503};
    const struct wire_checkpoint checkpoint = {.id = 9, .kept = a_job.kept};

    assert_int_equal(wire_put_hello(b, &hello), 0);
    assert_int_equal(wire_put_config(b, &a_config), 0);
    assert_int_equal(wire_put_job(b, &a_job), 0);
    assert_int_equal(wire_put_cancel(b, 5), 0);
    assert_int_equal(wire_put_discard(b, &discard), 0);
    assert_int_equal(wire_put_discarded(b, 7), 0);
    assert_int_equal(wire_put_release(b, 5), 0);
    assert_int_equal(wire_put_rate(b, &(struct wire_rate){.id = 5, .rate = 1}), 0);
    assert_int_equal(wire_put_stop(b), 0);
    assert_int_equal(wire_put_drain(b), 0);
    assert_int_equal(wire_put_fetched(b, &fetched), 0);
    assert_int_equal(wire_put_checkpoint(b, &checkpoint), 0);
    assert_int_equal(wire_put_result(b, &a_result), 0);
}

/* Every truncation of every record, in memory of just that size so that a sanitizer sees an
 * overrun. */
static void test_every_truncation_is_refused(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    size_t pos = 0, n, records = 0;
    const void *p;
    uint8_t type;

    (void)state;
    put_all(&b);
    while (wire_next(buf_head(&b), buf_size(&b), &pos, &type, &p, &n) > 0) {
        assert_int_equal(get(type, p, n), 0);
        for (size_t cut = 0; cut < n; cut++) {
            char *copy = malloc(cut ? cut : 1);

            memcpy(copy, p, cut);
            assert_int_equal(get(type, copy, cut), -EBADMSG);
            free(copy);
        }
        records++;
    }
    assert_int_equal(records, 13);
    buf_done(&b);
}

static void test_bytes_left_over_are_refused(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    size_t pos = 0, n;
    const void *p;
    uint8_t type;

    (void)state;
    put_all(&b);
    while (wire_next(buf_head(&b), buf_size(&b), &pos, &type, &p, &n) > 0) {
        char *copy = calloc(1, n + 1);

        memcpy(copy, p, n);
        assert_int_equal(get(type, copy, n + 1), -EBADMSG);
        free(copy);
    }
    buf_done(&b);
}

static void test_every_truncated_packet_is_refused_or_ends_between_records(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);

    (void)state;
    put_all(&b);
    for (size_t cut = 0; cut < buf_size(&b); cut++) {
        size_t pos = 0, n, end = 0;
        const void *p;
        uint8_t type;
        int r;

        while ((r = wire_next(buf_head(&b), cut, &pos, &type, &p, &n)) > 0)
            end = pos;
        assert_true(r == -EBADMSG || (r == 0 && end == cut));
    }
    buf_done(&b);
}

static int result_with(struct wire_result m) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_result got;
    const void *p;
    size_t n;
    int r;

    assert_int_equal(wire_put_result(&b, &m), 0);
    p = payload(&b, WIRE_RESULT, &n);
    r = wire_get_result(p, n, &got);
    buf_done(&b);
    return r;
}

static void test_results_that_make_no_sense_are_refused(void **state) {
    struct wire_result m;

    (void)state;
    m = a_result, m.outcome = OUTCOME_MAX_;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.error = ERR_MAX_;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.error = ERR_HTTP;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.outcome = OUTCOME_FAILED, m.output = NULL;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.output = NULL;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.size = -2;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.bytes = UINT64_MAX;
    assert_int_equal(result_with(m), -EBADMSG);
    m = a_result, m.http_status = 1000;
    assert_int_equal(result_with(m), -EBADMSG);
}

static void test_output_outside_the_root_is_refused(void **state) {
    static const char *const paths[] = {"../a", "/etc/passwd", "a/../../b", "", "a//b", "a\nb"};
    struct wire_result m = a_result;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        m.output = paths[i];
        assert_int_equal(result_with(m), -EBADMSG);
    }
}

static void test_record_too_large_leaves_no_trace(void **state) {
    struct buf b = BUF_INIT(4 * WIRE_PACKET_MAX);
    struct wire_job m = a_job;
    char *url = malloc(WIRE_RECORD_MAX + 1);
    size_t before;

    (void)state;
    memset(url, 'a', WIRE_RECORD_MAX);
    url[WIRE_RECORD_MAX] = '\0';
    m.url = url;
    assert_int_equal(wire_put_cancel(&b, 1), 0);
    before = buf_size(&b);
    assert_int_equal(wire_put_job(&b, &m), -EMSGSIZE);
    assert_int_equal(buf_size(&b), before);
    assert_int_equal(wire_put_cancel(&b, 2), 0);
    free(url);
    buf_done(&b);
}

static void test_string_with_nul_inside_is_refused(void **state) {
    struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    struct wire_job m;
    const void *p;
    char *at;
    size_t n;

    (void)state;
    assert_int_equal(wire_put_job(&b, &a_job), 0);
    at = memmem(buf_head(&b), buf_size(&b), "example", 7);
    assert_non_null(at);
    *at = '\0';
    p = payload(&b, WIRE_JOB, &n);
    assert_int_equal(wire_get_job(p, n, &m), -EBADMSG);
    buf_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_round_trip),
        cmocka_unit_test(test_credentials_round_trip),
        cmocka_unit_test(test_half_credentials_are_refused),
        cmocka_unit_test(test_the_largest_job_fits),
        cmocka_unit_test(test_result_round_trip),
        cmocka_unit_test(test_config_round_trip),
        cmocka_unit_test(test_widen_round_trip),
        cmocka_unit_test(test_widened_round_trip),
        cmocka_unit_test(test_widened_to_too_many),
        cmocka_unit_test(test_ranges_that_make_no_sense),
        cmocka_unit_test(test_rate_round_trip),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_bytes_left_over_are_refused),
        cmocka_unit_test(test_every_truncated_packet_is_refused_or_ends_between_records),
        cmocka_unit_test(test_results_that_make_no_sense_are_refused),
        cmocka_unit_test(test_output_outside_the_root_is_refused),
        cmocka_unit_test(test_record_too_large_leaves_no_trace),
        cmocka_unit_test(test_string_with_nul_inside_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
