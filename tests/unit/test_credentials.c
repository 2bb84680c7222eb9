/* credentials.h: which names, which files, and what is made out of their content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "daemon/credentials.h"
#include "tests/unit/scratch.h"

/* A credential of this text. */
static struct credential of(const char *text) {
    struct credential c = {.text = strdup(text), .size = strlen(text) + 1};

    assert_non_null(c.text);
    return c;
}

static void test_names(void **state) {
    static const char *const bad[] = {"",   ".",   "..",  ".a",       "a/b",
                                      "/a", "a b", "a\n", "\xc3\xa4", "a:b"};
    char longest[66];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(credential_name_is_valid(bad[i]));
    assert_true(credential_name_is_valid("A-z_0.9@example.org"));
    memset(longest, 'a', 65);
    longest[65] = '\0';
    assert_false(credential_name_is_valid(longest));
    assert_true(credential_name_is_valid(longest + 1));
}

static void expect_password(const char *text, const char *user, const char *password) {
    struct credential c = of(text);
    char why[CREDENTIAL_WHY_MAX] = "";

    assert_int_equal(credential_password(&c, "n", why), 0);
    assert_string_equal(c.user, user);
    assert_string_equal(c.secret, password);
    credential_done(&c);
    assert_null(c.text);
}

static void test_passwords(void **state) {
    (void)state;
    expect_password("a:b", "a", "b");
    expect_password("a:b\n", "a", "b");
    expect_password("a:b\r\nc:d\n", "a", "b");
    expect_password("a: b:c ", "a", " b:c ");
    expect_password(":", "", "");
}

static void test_what_is_refused_is_not_repeated(void **state) {
    static const char *const bad[] = {"", "\na:secret", "secret", "a:secret\x01", "\tsecret:a"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        struct credential c = of(bad[i]);
        char why[CREDENTIAL_WHY_MAX] = "";

        assert_int_equal(credential_password(&c, "n", why), -ENOKEY);
        assert_non_null(strstr(why, "credential n"));
        assert_null(strstr(why, "secret"));
        credential_done(&c);
    }
}

static void test_tokens(void **state) {
    static const char *const bad[] = {"", "a b", "=", "a=b", "a\xc3\xa4", " a"};
    struct credential c = of("aZ09-._~+/==\nmore");
    char why[CREDENTIAL_WHY_MAX];

    (void)state;
    assert_int_equal(credential_token(&c, "n", why), 0);
    assert_string_equal(c.secret, "aZ09-._~+/==");
    assert_null(c.user);
    credential_done(&c);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        c = of(bad[i]);
        assert_int_equal(credential_token(&c, "n", why), -ENOKEY);
        credential_done(&c);
    }
}

/* ---- netrc ---- */

static int look_up(const char *text, const char *host, bool may_default, char ret[100]) {
    struct credential c = of(text);
    char why[CREDENTIAL_WHY_MAX] = "";
    int r = credential_netrc(&c, "n", host, may_default, why);

    *ret = '\0';
    if (r == 1)
        snprintf(ret, 100, "%s|%s", c.user, c.secret);
    else
        assert_true(!c.user && !c.secret);
    assert_true((r < 0) == (*why != '\0'));
    credential_done(&c);
    return r;
}

static void expect_entry(const char *text, const char *entry) {
    char found[100];

    assert_int_equal(look_up(text, "h.example", true, found), 1);
    assert_string_equal(found, entry);
}

static void expect_no_entry(const char *text, int error) {
    char found[100];

    assert_int_equal(look_up(text, "h.example", true, found), error);
}

static void test_netrc_entries(void **state) {
    (void)state;
    expect_entry("machine h.example login a password b", "a|b");
    expect_entry("machine H.Example\n\tlogin a\r\n\tpassword b\r\n", "a|b");
    expect_entry("machine h.example password b account c login a machine x", "a|b");
    expect_entry("machine x login y password z machine h.example login a password b", "a|b");
    expect_entry("machine h.example login a password b\nmachine h.example login c password d",
                 "a|b");
    expect_entry("machine x login y password z\ndefault login a password b", "a|b");
    expect_entry("machine h.example login machine password default", "machine|default");
}

static void test_netrc_quotes_and_comments(void **state) {
    (void)state;
    expect_entry("machine \"h.example\" login \"a b\" password \"\\\"c\\\\\"", "a b|\"c\\");
    expect_entry("# machine h.example login x password y\nmachine h.example login a # comment\n"
                 "password #b",
                 "a|#b");
    expect_entry("machine h.example login \"\" password \"\"", "|");
}

static void test_netrc_macros_are_skipped(void **state) {
    (void)state;
    expect_entry("macdef init\ncd /pub\nmachine h.example login x password y\n\n"
                 "machine h.example login a password b\n",
                 "a|b");
    expect_entry("machine x macdef init \nlogin z\r\n\r\nmachine h.example login a password b",
                 "a|b");
    expect_entry("macdef m\n\nmachine h.example login a password b\nmacdef n\nx", "a|b");
    expect_no_entry("macdef init", 0);
}

static void test_netrc_without_an_entry(void **state) {
    char found[100];

    (void)state;
    expect_no_entry("", 0);
    expect_no_entry("machine x login a password b", 0);
    expect_no_entry("machine h.example.org login a password b", 0);
    assert_int_equal(look_up("default login a password b", "h.example", false, found), 0);
}

static void test_netrc_that_makes_no_sense(void **state) {
    (void)state;
    expect_no_entry("machine h.example login a", -ENOKEY);
    expect_no_entry("machine h.example password a", -ENOKEY);
    expect_no_entry("machine h.example login a password", -ENOKEY);
    expect_no_entry("machine h.example login \"a password b", -ENOKEY);
    expect_no_entry("machine h.example login \"a\nb\" password b", -ENOKEY);
    expect_no_entry("machine h.example login a password \"b\\nc\"", -ENOKEY);
    expect_no_entry("machine h.example login a:b password c", -ENOKEY);
    expect_no_entry("user a", -ENOKEY);
}

/* ---- files ---- */

static void test_file_is_read_and_checked(void **state) {
    struct scratch *s = *state;
    struct credential c = {0};
    char why[CREDENTIAL_WHY_MAX];

    scratch_write(s, "name", "a:b\n");
    assert_int_equal(fchmodat(s->fd, "name", 0600, 0), 0);
    assert_int_equal(credential_read(s->path, "name", &c, why), 0);
    assert_string_equal(c.text, "a:b\n");
    credential_done(&c);
    assert_int_equal(fchmodat(s->fd, "name", 0644, 0), 0);
    assert_int_equal(credential_read(s->path, "name", &c, why), -ENOKEY);
    assert_non_null(strstr(why, "mode 0644"));
    assert_int_equal(credential_read(s->path, "other", &c, why), -ENOKEY);
    assert_non_null(strstr(why, "there is no credential other in "));
    assert_int_equal(credential_read(NULL, "name", &c, why), -ENOKEY);
    assert_non_null(strstr(why, "set [credentials] dir"));
    assert_null(c.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_what_is_refused_is_not_repeated),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_netrc_entries),
        cmocka_unit_test(test_netrc_quotes_and_comments),
        cmocka_unit_test(test_netrc_macros_are_skipped),
        cmocka_unit_test(test_netrc_without_an_entry),
        cmocka_unit_test(test_netrc_that_makes_no_sense),
        cmocka_unit_test_setup_teardown(test_file_is_read_and_checked, scratch_setup,
                                        scratch_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
