/* access.h: which attempt gets what, by where its URL leads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "daemon/access.h"
#include "tests/unit/scratch.h"

static const struct access_settings none = {.proxy = "", .proxy_auth = ""};

struct fixture {
    struct scratch scratch;
    struct access_settings settings;
    struct job_spec spec; /* its strings are constants */
    struct access access;
    struct wire_job message;
    char *urls[2];
    char why[CREDENTIAL_WHY_MAX];
};

static void credential_write(struct fixture *f, const char *name, const char *text) {
    scratch_write(&f->scratch, name, text);
    assert_int_equal(fchmodat(f->scratch.fd, name, 0600, 0), 0);
}

static int setup(void **state) {
    struct scratch *scratch;
    struct fixture *f;

    if (scratch_setup(state) != 0)
        return -1;
    scratch = *state;
    f = calloc(1, sizeof(*f));
    if (!f)
        return -1;
    f->scratch = *scratch;
    f->settings = none;
    f->settings.dir = f->scratch.path;
    f->spec = JOB_SPEC_INIT;
    free(scratch);
    *state = f;
    credential_write(f, "pw", "ann:secret");
    credential_write(f, "netrc", "machine h login a password b\ndefault login c password d\n");
    credential_write(f, "pem", "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n");
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    struct scratch *scratch = malloc(sizeof(*scratch));

    access_done(&f->access);
    if (!scratch)
        return -1;
    *scratch = f->scratch;
    free(f);
    *state = scratch;
    return scratch_teardown(state);
}

/* An attempt at url, of a job whose first URL is another one (NULL: this). */
static int fill(struct fixture *f, const char *url, const char *first) {
    access_done(&f->access);
    f->message = (struct wire_job){
        .url = url,
        .n_headers = 4,
        .headers = {"Cookie: a", "A: b", "authorization: c", "Proxy-Authorization: d"}};
    f->urls[0] = (char *)first;
    f->urls[1] = (char *)url;
    f->spec.urls = f->urls;
    f->spec.n_urls = first ? 2 : 0;
    return access_fill(&f->access, &f->settings, &f->spec, &f->message, f->why);
}

static void test_private_things_go_to_the_origin_of_the_first_url(void **state) {
    static const struct {
        const char *url, *first;
        bool home;
    } cases[] = {
        {"https://h/a", NULL, true},
        {"https://h/b", "https://h/a", true},
        {"https://h/b", "https://h:443/a", true},
        {"https://h:444/b", "https://h/a", false},
        {"http://h/b", "https://h/a", false},
        {"http://h:443/b", "https://h/a", false},
        {"https://i/b", "https://h/a", false},
        {"https://h.example/b", "https://h/a", false},
    };
    struct fixture *f = *state;

    f->spec.auth = JOB_AUTH_BASIC;
    f->spec.credential = (char *)"pw";
    f->spec.client_certificate = (char *)"pem";
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        assert_int_equal(fill(f, cases[i].url, cases[i].first), 0);
        assert_int_equal(f->message.auth, cases[i].home ? WIRE_AUTH_BASIC : WIRE_AUTH_NONE);
        assert_int_equal(f->message.secret != NULL, cases[i].home);
        assert_int_equal(f->message.certificate != NULL, cases[i].home);
        assert_int_equal(f->message.n_headers, cases[i].home ? 4 : 1);
        assert_string_equal(f->message.headers[!!cases[i].home], "A: b");
    }
}

static void test_what_is_not_sent_is_not_read(void **state) {
    struct fixture *f = *state;

    f->spec.auth = JOB_AUTH_BEARER;
    f->spec.credential = f->spec.client_certificate = (char *)"missing";
    assert_int_equal(fill(f, "https://i/", "https://h/"), 0);
    assert_int_equal(fill(f, "https://h/", "https://h/"), -ENOKEY);
    f->spec.auth = JOB_AUTH_NONE;
    assert_int_equal(fill(f, "http://h/", NULL), 0); /* there is no TLS to show it */
    assert_int_equal(fill(f, "https://h/", NULL), -ENOKEY);
}

static void test_netrc_is_looked_up_by_host(void **state) {
    struct fixture *f = *state;

    f->spec.auth = JOB_AUTH_NETRC;
    f->spec.credential = (char *)"netrc";
    assert_int_equal(fill(f, "http://h:8080/", "http://i/"), 0);
    assert_string_equal(f->message.user, "a");
    assert_int_equal(f->message.auth, WIRE_AUTH_BASIC);
    assert_int_equal(fill(f, "http://i/", NULL), 0);
    assert_string_equal(f->message.user, "c");
    assert_int_equal(fill(f, "http://i/", "http://j/"), 0);
    assert_int_equal(f->message.auth, WIRE_AUTH_NONE);
    credential_write(f, "netrc", "machine ::1 login a password b");
    assert_int_equal(fill(f, "http://[::1]/", NULL), 0);
    assert_string_equal(f->message.secret, "b");
}

static void test_proxies(void **state) {
    struct fixture *f = *state;

    f->settings.proxy = "http://p:1";
    f->settings.proxy_auth = "pw";
    assert_int_equal(fill(f, "http://h/", NULL), 0);
    assert_null(f->message.proxy);
    assert_string_equal(f->message.proxy_secret, "secret");
    f->spec.proxy = (char *)"none";
    f->spec.proxy_auth = (char *)"missing"; /* of the defaults, say */
    assert_int_equal(fill(f, "http://h/", NULL), 0);
    assert_string_equal(f->message.proxy, "");
    assert_null(f->message.proxy_user);
    f->spec.proxy = (char *)"http://q:1";
    assert_int_equal(fill(f, "http://h/", NULL), -ENOKEY);
    assert_non_null(strstr(f->why, "missing"));
    f->spec.proxy_auth = NULL;
    assert_int_equal(fill(f, "http://h/", NULL), 0);
    assert_string_equal(f->message.proxy, "http://q:1");
    assert_null(f->message.proxy_user);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_private_things_go_to_the_origin_of_the_first_url,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_sent_is_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_netrc_is_looked_up_by_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_proxies, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
