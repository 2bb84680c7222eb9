/*
 * The n-th allocation fails, for all n: what has no input and no output says so, and leaks nothing.
 *
 * The linker puts the functions below in the place of malloc() and its like (see the Makefile).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/disposition.h"
#include "common/naming.h"
#include "common/url.h"
#include "common/util.h"
#include "common/wire.h"
#include "daemon/config.h"
#include "daemon/job_json.h"
#include "daemon/params.h"
#include "tests/unit/job_fixture.h"
#include "tests/unit/sched_fixture.h"

/* ---- allocations ---- */

#define LIVE_MAX 65536
#define ROUNDS_MAX 20000

static struct {
    bool on;
    long n;       /* allocations so far */
    long fail_at; /* the one that fails, from 1 */
    void *live[LIVE_MAX];
    size_t n_live;
} heap;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void __real_free(void *p);
int __real_vasprintf(char **ret, const char *fmt, va_list ap);

static bool fails(void) {
    return heap.on && ++heap.n == heap.fail_at;
}

static void *remember(void *p) {
    if (heap.on && p) {
        assert_true(heap.n_live < LIVE_MAX);
        heap.live[heap.n_live++] = p;
    }
    return p;
}

static void forget(void *p) {
    for (size_t i = heap.n_live; p && i-- > 0;) {
        if (heap.live[i] != p)
            continue;
        heap.live[i] = heap.live[--heap.n_live];
        return;
    }
}

static void *no_memory(void) {
    errno = ENOMEM;
    return NULL;
}

void *__wrap_malloc(size_t n) {
    return fails() ? no_memory() : remember(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? no_memory() : remember(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n) {
    if (fails())
        return no_memory();
    forget(p);
    return remember(__real_realloc(p, n));
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
    if (fails())
        return no_memory();
    forget(p);
    return remember(__real_reallocarray(p, n, size));
}

char *__wrap_strdup(const char *s) {
    return fails() ? no_memory() : remember(__real_strdup(s));
}

char *__wrap_strndup(const char *s, size_t n) {
    return fails() ? no_memory() : remember(__real_strndup(s, n));
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap) {
    int n = -1;

    if (fails())
        errno = ENOMEM;
    else
        n = __real_vasprintf(ret, fmt, ap);
    if (n >= 0)
        remember(*ret);
    return n;
}

int __wrap_asprintf(char **ret, const char *fmt, ...) {
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = __wrap_vasprintf(ret, fmt, ap);
    va_end(ap);
    return n;
}

/* What -D_FORTIFY_SOURCE makes of them. */
int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap) {
    (void)flag;
    return __wrap_vasprintf(ret, fmt, ap);
}

int __wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...) {
    va_list ap;
    int n;

    (void)flag;
    va_start(ap, fmt);
    n = __wrap_vasprintf(ret, fmt, ap);
    va_end(ap);
    return n;
}

void __wrap_free(void *p) {
    forget(p);
    __real_free(p);
}

/* Runs it with the first allocation failing, then the second, and so on until it needs no more. It returns 0 when all
 * is well, which it has looked at itself; -ENOMEM when it was told otherwise. may: it may do without some memory.
 * Returns how many failed. */
static long fail_each(int (*run)(void *userdata), void *userdata, bool may) {
    memset(&heap, 0, sizeof(heap));
    for (long n = 1; n < ROUNDS_MAX; n++) {
        bool failed;
        int r;

        heap.n = 0;
        heap.fail_at = n;
        heap.on = true;
        r = run(userdata);
        heap.on = false;
        failed = heap.n >= n;
        if (heap.n_live > 0)
            fail_msg("allocation %ld fails: %zu pieces of memory are lost", n, heap.n_live);
        if (!failed) {
            assert_int_equal(r, 0);
            return n - 1;
        }
        if (r != -ENOMEM && !(may && r == 0))
            fail_msg("allocation %ld fails: %d is said", n, r);
    }
    fail_msg("there is no end of it");
    return 0;
}

/* ---- jobs ---- */

#define JOB                                                                                        \
    "{'urls': ['http://Example.com/a/b.jpg', 'https://mirror.example/b'], 'output': "              \
    "'{host}/{stem}.{index}{ext}',"                                                                \
    " 'headers': {'X-A': 'b', 'X-C': 'd'}, 'checksum': 'sha-256:"                                  \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'priority': 3, 'tag': "    \
    "'nightly',"                                                                                   \
    " 'retry_on': [500, 503], 'timeout': 2.5, 'max_size': '4k', 'not_before': 2000000000, "        \
    "'referer': 'http://r/',"                                                                      \
    " 'user_agent': 'me', 'auth': {'type': 'basic', 'credential': 'name'}, 'proxy': "              \
    "'http://p:3128', 'on_conflict': "                                                             \
    "'skip'}"

static int parse_job(void *userdata) {
    json_t **objects = userdata;
    struct job_error err = {.text = ""};
    struct job_new new;
    int r = job_new_parse(objects[0], objects[1], "jobs[3]", 3, &new, &err);

    if (r == 0) {
        assert_string_equal(new.url, "http://example.com/a/b.jpg");
        assert_string_equal(new.tag, "nightly");
        assert_non_null(strstr(new.body, "mirror.example"));
        assert_non_null(strstr(new.body, "X-E"));
        job_new_done(&new);
    } else
        assert_string_equal(err.text, "");
    return r;
}

static void test_job_is_parsed(void **state) {
    json_t *objects[] = {json(JOB), json("{'headers': {'X-E': 'f'}, 'retries': 7}")};

    (void)state;
    assert_true(fail_each(parse_job, objects, false) > 10);
    json_decref(objects[0]);
    json_decref(objects[1]);
}

static int check_defaults(void *userdata) {
    struct job_error err = {.text = ""};

    return job_defaults_check(userdata, &err);
}

static void test_defaults_are_checked(void **state) {
    json_auto_t *defaults =
        json("{'headers': {'X-E': 'f'}, 'retries': 7, 'output': '{host}/{name}', 'tag': 't'}");

    (void)state;
    fail_each(check_defaults, defaults, false);
}

static int read_body(void *userdata) {
    struct job_spec spec = JOB_SPEC_INIT;
    int r = job_spec_parse(userdata, &spec);

    if (r == 0) {
        assert_int_equal(spec.n_urls, 2);
        assert_int_equal(spec.n_headers, 3);
        assert_string_equal(spec.user_agent, "me");
    }
    job_spec_done(&spec);
    return r;
}

static void test_body_is_read(void **state) {
    json_auto_t *object = json(JOB), *defaults = json("{'headers': {'X-E': 'f'}}");
    struct job_error err;
    struct job_new new;

    (void)state;
    assert_int_equal(job_new_parse(object, defaults, "", 0, &new, &err), 0);
    assert_true(fail_each(read_body, new.body, false) > 10);
    job_new_done(&new);
}

static int write_job(void *userdata) {
    struct job job = {.id = 1,
                      .url = (char *)"http://h/",
                      .host = (char *)"h:80",
                      .body = userdata,
                      .result = {.size = -1, .message = (char *)"why"}};
    struct buf b = BUF_INIT(MIB);
    int r;

    json_begin(&b, NULL, '{');
    job_to_json(&b, "job", &job, NULL);
    json_end(&b, '}');
    r = buf_error(&b);
    buf_done(&b);
    return r;
}

static void test_job_is_written(void **state) {
    (void)state;
    fail_each(write_job, (char *)"{\"tag\": \"nightly\"}", false);
}

/* ---- names ---- */

static int parse_url(void *userdata) {
    const char *why;
    size_t column;
    struct url u;
    int r = url_parse(userdata, &u, &why, &column);

    if (r == 0) {
        assert_string_equal(u.text, "http://xn--nxasmq6b.example/%c3%a9?q");
        url_done(&u);
    }
    return r;
}

static void test_url(void **state) {
    (void)state;
    assert_true(fail_each(parse_url, (char *)"HTTP://xn--nxasmq6b.example:80/%c3%a9?q#f", false) >
                1);
}

static int expand(void *userdata) {
    char *path = NULL;
    int r = output_expand("{host}/{path}/{stem}-{id}.{index}{ext}", userdata, 7, 3, &path);

    if (r == 0)
        assert_string_equal(path, "example.com/a/b-7.3.jpg");
    else
        assert_null(path);
    free(path);
    return r;
}

static void test_output(void **state) {
    const char *why;
    size_t column;
    struct url u;

    (void)state;
    assert_int_equal(url_parse("http://example.com/a/b.jpg", &u, &why, &column), 0);
    fail_each(expand, &u, false);
    url_done(&u);
}

/* NULL is all that can be said. */
static int name_of(void *userdata) {
    char *name = disposition_name(userdata);

    if (!name)
        return -ENOMEM;
    assert_string_equal(name, "na\xc3\xafve.txt");
    free(name);
    return 0;
}

static void test_disposition(void **state) {
    (void)state;
    fail_each(name_of, (char *)"attachment; filename=\"plain\"; filename*=UTF-8''na%c3%afve.txt",
              false);
}

/* ---- messages ---- */

static int put_messages(void *userdata) {
    struct wire_job job = {.id = 1,
                           .url = "http://h/",
                           .output = "a",
                           .size = -1,
                           .user_agent = userdata,
                           .n_headers = 2,
                           .headers = {"A: b", "C: d"}};
    struct wire_result result = {
        .id = 1, .size = -1, .outcome = OUTCOME_FAILED, .message = userdata};
    struct wire_hello hello = {.wire_version = WIRE_VERSION, .program_version = DLD_VERSION};
    struct buf b = BUF_INIT(64 * MIB);
    int r = 0;

    for (int i = 0; i < 40 && r == 0; i++) {
        size_t before = buf_size(&b), pos = 0, len;
        const void *payload;
        uint8_t type;

        r = wire_put_job(&b, &job);
        if (r == 0)
            r = wire_put_result(&b, &result);
        if (r == 0)
            r = wire_put_hello(&b, &hello);
        if (r == 0)
            assert_true(wire_next(buf_head(&b) + before, buf_size(&b) - before, &pos, &type,
                                  &payload, &len) > 0);
    }
    buf_done(&b);
    return r;
}

static void test_messages(void **state) {
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_true(fail_each(put_messages, text, false) > 1);
}

/* ---- parameters of methods ---- */

static int choose_jobs(void *userdata) {
    static const char *const known[] = {"ids", "batch", "tag", "host", "all", NULL};
    struct params_error err = {.text = ""};
    struct params_choice choice;
    int r = params_choice(userdata, known, &choice, &err);

    if (r == 0)
        params_choice_done(&choice);
    else
        assert_string_equal(err.text, "out of memory; try again later");
    return r < 0 ? -ENOMEM : 0;
}

static void test_choices(void **state) {
    static const char *const all[] = {"{'ids': [3, 1, 2, 1]}", "{'tag': 'nightly'}",
                                      "{'host': 'EXAMPLE.com:80'}"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(all); i++) {
        json_auto_t *params = json(all[i]);

        assert_int_equal(fail_each(choose_jobs, params, false), 1);
    }
}

/* ---- the configuration ---- */

struct loading {
    char path[64];
    FILE *out, *err;
};

/* It says so to a person; what it returns is that it can't be read. */
static int load_config(void *userdata) {
    struct loading *l = userdata;
    char *argv[] = {(char *)"dld",
                    (char *)"--config",
                    l->path,
                    (char *)"--state-dir",
                    (char *)"/s",
                    (char *)"--socket",
                    (char *)"/c",
                    (char *)"--set",
                    (char *)"retry.base=50ms",
                    NULL};
    struct config config;
    long before = ftell(l->err);
    int r = config_load(&config, ELEMENTSOF(argv) - 1, argv, l->out, l->err);

    if (r != 1) {
        assert_true(ftell(l->err) > before);
        return -ENOMEM;
    }
    assert_int_equal(config.retry.base, 50000);
    assert_string_equal(config.output.root, "/out");
    config_done(&config);
    return 0;
}

static void test_configuration(void **state) {
    struct loading l = {.path = "/tmp/dld-test-XXXXXX", .out = tmpfile(), .err = tmpfile()};
    FILE *file = fdopen(mkstemp(l.path), "w");

    (void)state;
    assert_true(file && l.out && l.err);
    fputs("[output]\nroot = /out\n[host \"*.example.com\"]\nconnections = 3\n[network]\nproxy = "
          "http://p:1\n"
          "[credentials]\ndir = /cred\n",
          file);
    fclose(file);
    assert_true(fail_each(load_config, &l, true) > 20);
    fclose(l.out);
    fclose(l.err);
    unlink(l.path);
}

/* ---- the scheduler ---- */

#define HOSTS 12
#define JOBS_EACH 6

/* Whatever it could not take is handed to it again, as its caller does. */
static void fill(struct sched *s, struct sched_job *jobs, uint64_t now, bool *failed) {
    struct sched_request q;

    for (int i = 0; i < 1000; i++) {
        sched_wants(s, &q);
        if (q.want == SCHED_WANT_USERS) {
            *failed |= sched_user_add(s, 7) == -ENOMEM;
            sched_users_listed(s, false, 7);
        } else if (q.want == SCHED_WANT_LANES) {
            for (int64_t lane = 1; lane <= HOSTS; lane++) {
                char host[32];

                snprintf(host, sizeof(host), "h%d:80", (int)lane);
                *failed |= sched_lane_add(s, 7, lane, lane, host, 0, 0, now) == -ENOMEM;
            }
            sched_lanes_listed(s, 7, false, HOSTS, HOSTS);
        } else if (q.want == SCHED_WANT_JOBS) {
            for (int64_t k = 0; k < JOBS_EACH; k++) {
                struct sched_job *job = &jobs[(q.lane - 1) * JOBS_EACH + k];

                *job = (struct sched_job){.id = q.lane * 100 + k, .rank = k};
                *failed |= sched_add(s, q.lane, job) == -ENOMEM;
            }
            sched_filled(s, q.lane, false, JOBS_EACH, 0);
        } else {
            return;
        }
    }
    fail_msg("it wants for ever");
}

static int schedule(void *userdata) {
    struct sched_policy policy = {.connections = 2, .base = SEC, .max = 60 * SEC, .patience = 2};
    const struct sched_settings settings = {.max_lanes = 64,
                                            .max_jobs = 1000,
                                            .max_users = 4,
                                            .policy = policy_of,
                                            .userdata = &policy};
    struct sched_job *job, *jobs = userdata;
    struct sched *s = sched_new(&settings);
    bool failed = s == NULL, refused;
    uint64_t now = 1000 * SEC;
    unsigned n = 0;

    if (!s)
        return -ENOMEM;
    failed |= sched_ready(s, 7, 1, 1, 1, 1) == -ENOMEM;
    fill(s, jobs, now, &failed);
    while ((job = sched_next(s, now, &refused))) {
        sched_ended(s, job, SCHED_SAYS_FINE, 0, ERR_NONE, now);
        assert_true(++n <= HOSTS * JOBS_EACH);
    }
    if (!failed)
        assert_int_equal(n, HOSTS * JOBS_EACH);
    sched_free(s);
    return failed ? -ENOMEM : 0;
}

static void test_scheduler(void **state) {
    static struct sched_job jobs[HOSTS * JOBS_EACH];

    (void)state;
    assert_true(fail_each(schedule, jobs, false) > HOSTS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_is_parsed), cmocka_unit_test(test_defaults_are_checked),
        cmocka_unit_test(test_body_is_read),  cmocka_unit_test(test_job_is_written),
        cmocka_unit_test(test_url),           cmocka_unit_test(test_output),
        cmocka_unit_test(test_disposition),   cmocka_unit_test(test_messages),
        cmocka_unit_test(test_choices),       cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_scheduler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
