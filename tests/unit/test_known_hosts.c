/* known_hosts_pick(): whose lines are taken, in what order, and what is left out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/worker/known_hosts.h"

/* The lines picked for name of a file of this text. */
static void expect(const char *text, const char *name, const char *picked) {
    char *copy = strdup(text), *out = NULL;
    size_t size = 0;
    FILE *from = fmemopen(copy, strlen(copy) + 1, "r"), *to = open_memstream(&out, &size);
    int lines = 0, n;

    assert_non_null(from);
    assert_non_null(to);
    n = known_hosts_pick(from, name, to);
    fclose(from);
    fclose(to);
    for (const char *s = picked; (s = strchr(s, '\n')); s++)
        lines++;
    assert_string_equal(out, picked);
    assert_int_equal(n, lines);
    free(out);
    free(copy);
}

static void test_host_by_name(void **state) {
    (void)state;
    expect("# ssh-rsa\n\na ssh-ed25519 AA\nb,c ssh-ed25519 BB me@there\n", "c",
           "c ssh-ed25519 BB\n");
    expect("a ssh-ed25519 AA\n", "aa", "");
    expect("A ssh-ed25519 AA\n", "a", "a ssh-ed25519 AA\n");
}

static void test_port_belongs_to_the_name(void **state) {
    (void)state;
    expect("a ssh-ed25519 AA\n[a]:2222 ssh-ed25519 BB\n", "[a]:2222", "[a]:2222 ssh-ed25519 BB\n");
    expect("[a]:2222 ssh-ed25519 BB\n", "a", "");
    expect("[::1]:2222 ssh-ed25519 BB\n", "[::1]:2222", "[::1]:2222 ssh-ed25519 BB\n");
}

static void test_hashed_name(void **state) {
    const char *text =
        "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 AA\n";

    (void)state; /* ssh-keygen(1)'s example of 192.168.1.61 */
    expect(text, "192.168.1.61", "192.168.1.61 ssh-ed25519 AA\n");
    expect(text, "192.168.1.62", "");
    expect("|1|x|y ssh-ed25519 AA\n|1||  ssh-ed25519 AA\n|1| ssh-ed25519 AA\n", "a", "");
}

static void test_patterns(void **state) {
    (void)state;
    expect("*.example.org,!bad.example.org ssh-ed25519 AA\n", "x.example.org",
           "x.example.org ssh-ed25519 AA\n");
    expect("*.example.org,!bad.example.org ssh-ed25519 AA\n", "bad.example.org", "");
    expect("[*.org]:22?? ssh-ed25519 AA\n", "[a.org]:2222", "[a.org]:2222 ssh-ed25519 AA\n");
    expect("[ab] ssh-ed25519 AA\n", "a", "");
}

static void test_strong_types_first(void **state) {
    (void)state;
    expect(
        "a ssh-rsa CC\na ecdsa-sha2-nistp256 BB\na ssh-ed25519 AA\na ssh-dss DD\na 1024 35 1234\n",
        "a", "a ssh-ed25519 AA\na ecdsa-sha2-nistp256 BB\na ssh-rsa CC\n");
}

static void test_marked_lines(void **state) {
    (void)state;
    expect("a ssh-ed25519 AA\na ssh-rsa BB\n@revoked * ssh-ed25519 AA\n", "a", "a ssh-rsa BB\n");
    expect("@cert-authority * ssh-rsa AA\n@other a ssh-rsa AA\n", "a", "");
}

static void test_broken_lines(void **state) {
    (void)state;
    expect("a\na ssh-ed25519\n@revoked\n@revoked a\n,, ssh-ed25519 AA\n a ssh-ed25519 BB", "a",
           "a ssh-ed25519 BB\n");
}

static void name_is(const char *url, const char *name) {
    struct url u;
    const char *why;
    size_t column;
    char got[320];

    assert_int_equal(url_parse(url, &u, &why, &column), 0);
    known_hosts_name(&u, got, sizeof(got));
    assert_string_equal(got, name);
    url_done(&u);
}

static void test_names(void **state) {
    (void)state;
    name_is("sftp://h/a", "h");
    name_is("sftp://h:2222/a", "[h]:2222");
    name_is("sftp://[::1]/a", "::1");
    name_is("sftp://[::1]:2222/a", "[::1]:2222");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_by_name),       cmocka_unit_test(test_port_belongs_to_the_name),
        cmocka_unit_test(test_hashed_name),        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_strong_types_first), cmocka_unit_test(test_marked_lines),
        cmocka_unit_test(test_broken_lines),       cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
