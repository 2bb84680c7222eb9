#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/url.h"
#include "common/util.h"

/* s parses into the canonical text. */
static void expect(const char *s, const char *text) {
    struct url u;
    const char *why;
    size_t column;

    if (url_parse(s, &u, &why, &column) < 0)
        fail_msg("%s: %s", s, why);
    assert_string_equal(u.text, text);
    url_done(&u);
}

static void expect_refused(const char *s, const char *part_of_why) {
    struct url u;
    const char *why = NULL;
    size_t column = SIZE_MAX;

    if (url_parse(s, &u, &why, &column) != -EINVAL)
        fail_msg("%s was taken", s);
    assert_non_null(why);
    assert_true(column <= strlen(s) + 1);
    if (!strstr(why, part_of_why))
        fail_msg("%s: \"%s\" doesn't say \"%s\"", s, why, part_of_why);
}

static void expect_key(const char *s, const char *key) {
    struct url u;
    const char *why;
    size_t column;

    assert_int_equal(url_parse(s, &u, &why, &column), 0);
    assert_string_equal(u.host_key, key);
    url_done(&u);
}

static void test_plain_url_stays(void **state) {
    (void)state;
    expect("http://example.com/a/b.jpg?x=1&y=%20", "http://example.com/a/b.jpg?x=1&y=%20");
    expect("https://h/~a/!$&'()*+,;=:@-._", "https://h/~a/!$&'()*+,;=:@-._");
}

static void test_parts_are_views_into_text(void **state) {
    struct url u;
    const char *why;
    size_t column;

    (void)state;
    assert_int_equal(url_parse("http://Example.com:8080/a/b?c/d", &u, &why, &column), 0);
    assert_int_equal(u.port, 8080);
    assert_int_equal(u.host_len, strlen("example.com"));
    assert_memory_equal(u.host, "example.com:8080/", 17);
    assert_int_equal(u.path_len, 4);
    assert_string_equal(u.path, "/a/b?c/d");
    url_done(&u);
    assert_null(u.text);
}

static void test_scheme_and_host_become_lower_case(void **state) {
    (void)state;
    expect("HTTP://EXAMPLE.Com/Path", "http://example.com/Path");
    expect("hTTpS://E/", "https://e/");
}

static void test_default_port_is_dropped(void **state) {
    (void)state;
    expect("http://h:80/", "http://h/");
    expect("https://h:443/", "https://h/");
    expect("http://h:443/", "http://h:443/");
    expect("http://h:/", "http://h/");
    expect("http://h:0080/", "http://h/");
}

static void test_bad_ports_are_refused(void **state) {
    (void)state;
    expect_refused("http://h:0/", "port");
    expect_refused("http://h:99999/", "port");
    expect_refused("http://h:65536/", "port");
    expect_refused("http://h:000080/", "port");
    expect_refused("http://h:8a/", "port");
    expect_refused("http://h:-1/", "port");
    expect_refused("http://h:80:80/", "port");
}

static void test_host_key_always_has_the_port(void **state) {
    (void)state;
    expect_key("http://A.example/", "a.example:80");
    expect_key("https://a.example", "a.example:443");
    expect_key("https://a.example:65535/", "a.example:65535");
    expect_key("http://[::1]/", "[::1]:80");
}

static void test_empty_path_becomes_a_slash(void **state) {
    (void)state;
    expect("http://h", "http://h/");
    expect("http://h?x", "http://h/?x");
    expect("http://h#x", "http://h/");
    expect("http://h/?", "http://h/?");
}

static void test_fragment_is_dropped(void **state) {
    (void)state;
    expect("http://h/a?b#c?d#e%", "http://h/a?b");
    expect("http://h/#@evil/", "http://h/");
}

static void test_dot_segments_are_removed(void **state) {
    (void)state;
    /* RFC 3986 section 5.4 */
    expect("http://a/b/c/./g", "http://a/b/c/g");
    expect("http://a/b/c/../g", "http://a/b/g");
    expect("http://a/b/c/..", "http://a/b/");
    expect("http://a/b/c/.", "http://a/b/c/");
    expect("http://a/../../g", "http://a/g");
    expect("http://a/b/..g/g../...", "http://a/b/..g/g../...");
    expect("http://a//b//../c", "http://a//b/c");
    expect("http://a/..", "http://a/");
}

static void test_encoded_dots_are_dots(void **state) {
    (void)state;
    expect("http://a/b/%2e%2E/c", "http://a/c");
    expect("http://a/b/.%2e/c", "http://a/c");
    expect("http://a/b/%2e/c", "http://a/b/c");
    expect("http://a/b/%2ec", "http://a/b/%2ec");
}

static void test_dots_in_the_query_stay(void **state) {
    (void)state;
    expect("http://a/b?c/../d", "http://a/b?c/../d");
}

static void test_what_people_paste_is_encoded(void **state) {
    (void)state;
    expect("http://h/a b\"<>[]^`{|}?a b|", "http://h/a%20b%22%3C%3E%5B%5D%5E%60%7B%7C%7D?a%20b%7C");
    expect("http://h/\xc3\xa4?\xe2\x82\xac", "http://h/%C3%A4?%E2%82%AC");
}

static void test_escapes_stay_as_they_are(void **state) {
    (void)state;
    expect("http://h/%7e%41%2f%00?%ff", "http://h/%7e%41%2f%00?%ff");
}

static void test_half_escapes_are_refused(void **state) {
    (void)state;
    expect_refused("http://h/%", "%25");
    expect_refused("http://h/%2", "%25");
    expect_refused("http://h/%zz", "%25");
    expect_refused("http://h/?100%", "%25");
    expect_refused("http://h/%2/f", "%25");
}

static void test_controls_and_backslashes_are_refused(void **state) {
    (void)state;
    expect_refused("http://h/a\tb", "control");
    expect_refused("http://h/a\nb", "control");
    expect_refused("http://h/\x7f", "control");
    expect_refused("http://h/\xc2\x85", "control");
    expect_refused("http://h/#a\rb", "control");
    expect_refused("http://h\\a", "backslash");
    expect_refused("http://h/?\\", "backslash");
}

static void test_bad_utf8_is_refused(void **state) {
    (void)state;
    expect_refused("http://h/\xff", "UTF-8");
    expect_refused("http://h/\xc3", "UTF-8");
    expect_refused("http://h/\xed\xa0\x80", "UTF-8");
    expect_refused("http://h/\xc0\xaf", "UTF-8");
}

static void test_blanks_around_are_refused(void **state) {
    (void)state;
    expect_refused(" http://h/", "blanks");
    expect_refused("http://h/ ", "blanks");
}

static void test_empty_is_refused(void **state) {
    (void)state;
    expect_refused("", "empty");
}

static void test_missing_scheme_is_refused(void **state) {
    (void)state;
    expect_refused("//h/x", "http://");
    expect_refused("h", "http://");
    expect_refused("www.example.com/x", "http://");
    expect_refused("example.com:80/x", "http://");
    expect_refused("localhost:80/x", "http://");
    expect_refused("://h", "http://");
}

static void test_other_schemes_are_refused(void **state) {
    struct url u;
    const char *why;
    size_t column;

    (void)state;
    assert_int_equal(url_parse("gopher://h/", &u, &why, &column), -EINVAL);
    assert_ptr_equal(why, url_scheme_unsupported);
    expect_refused("file:///etc/passwd", "not supported");
    expect_refused("javascript:alert(1)", "not supported");
    expect_refused("httpss://h/", "not supported");
}

static void test_file_schemes(void **state) {
    (void)state;
    expect("FTP://Host:21/a/../b%20c", "ftp://host/b%20c");
    expect("ftps://h:990/a", "ftps://h/a");
    expect("ftps://h:21/a", "ftps://h:21/a");
    expect("sftp://h:22/~/a", "sftp://h/~/a");
    expect("sftp://[::1]:2222/a", "sftp://[::1]:2222/a");
    expect("ftp://h//etc/a#b", "ftp://h//etc/a");
    expect_key("ftp://h/a", "h:21");
    expect_key("ftps://h/a", "h:990");
    expect_key("sftp://h/a", "h:22");
}

static void test_file_type(void **state) {
    (void)state;
    expect("ftp://h/a;type=i", "ftp://h/a");
    expect("ftps://h/a;TYPE=I", "ftps://h/a");
    expect("sftp://h/a;type=a", "sftp://h/a;type=a");
    expect("ftp://h/a%3Btype=a", "ftp://h/a%3Btype=a");
    expect_refused("ftp://h/a;type=a", ";type=");
    expect_refused("ftp://h/a;Type=D", ";type=");
    expect_refused("ftp://h/a;type=i/b", ";type=");
    expect_refused("ftp://h/a;type=", ";type=");
    expect_refused("ftp://h/;type=i", "directory");
    expect_refused("ftp://h/a/..;type=i", "directory");
    expect_refused("ftp://h/a/%2E;type=i", "directory");
}

static void test_what_is_no_file(void **state) {
    (void)state;
    expect_refused("ftp://h", "directory");
    expect_refused("ftp://h/", "directory");
    expect_refused("sftp://h/a/", "directory");
    expect_refused("ftps://h/a/..", "directory");
    expect_refused("ftp://h/a?b", "'?'");
    expect_refused("ftp://h/a?", "'?'");
    expect_refused("ftp://h/a%0d%0aDELE%20b", "control character");
    expect_refused("ftp://h/%00", "control character");
    expect_refused("sftp://h/a%0A", "control character");
    expect_refused("ftp://h/%7Fa", "control character");
    expect_refused("ftp://h/a%2", "two hex digits");
    expect_refused("ftp://a:b@h/a", "\"auth\"");
    expect("http://h/a%0d", "http://h/a%0d");
}

static void test_slashes_after_the_scheme_are_two(void **state) {
    (void)state;
    expect_refused("http:/h", "//");
    expect_refused("http:h", "//");
    expect_refused("http:", "//");
    expect_refused("http:///h", "host name is missing");
    expect_refused("http://", "host name is missing");
    expect_refused("http://:80/", "host name is missing");
    expect_refused("http://?x", "host name is missing");
}

static void test_user_names_are_refused(void **state) {
    (void)state;
    expect_refused("http://a@b", "user name");
    expect_refused("http://a:b@c/", "user name");
    expect_refused("http://@b/", "user name");
    expect_refused("http://a@b@c/", "user name");
    expect("http://a/@b", "http://a/@b");
}

static void test_odd_hosts_are_refused(void **state) {
    (void)state;
    expect_refused("http://a b/", "host name");
    expect_refused("http://a%2eb/", "host name");
    expect_refused("http://a..b/", "empty part");
    expect_refused("http://.a/", "empty part");
    expect_refused("http://a./", "dot at either end");
    expect_refused("http://a,b/", "host name");
    expect_refused("http://b\xc3\xbc"
                   "cher.example/",
                   "xn--");
    expect("http://a_b.-c-/", "http://a_b.-c-/");
}

static void test_host_lengths_are_bounded(void **state) {
    char s[400], label[65];

    (void)state;
    memset(label, 'a', 64);
    label[64] = '\0';
    snprintf(s, sizeof(s), "http://%s/", label);
    expect_refused(s, "63");
    label[63] = '\0';
    snprintf(s, sizeof(s), "http://%s.%s.%s.%.61s/", label, label, label, label);
    expect(s, s);
    snprintf(s, sizeof(s), "http://%s.%s.%s.%.62s/", label, label, label, label);
    expect_refused(s, "253");
}

static void test_ipv4_is_exact(void **state) {
    (void)state;
    expect("http://1.2.3.4/", "http://1.2.3.4/");
    expect("http://1.2.3.4x/", "http://1.2.3.4x/");
    expect_refused("http://1.2.3.4./", "dot");
    expect_refused("http://0x7f.1/", "IPv4");
    expect_refused("http://127.1/", "IPv4");
    expect_refused("http://2130706433/", "IPv4");
    expect_refused("http://01.2.3.4/", "IPv4");
    expect_refused("http://1.2.3.256/", "IPv4");
    expect_refused("http://1.2.3.4.5/", "IPv4");
    expect_refused("http://a.0x/", "IPv4");
    expect_refused("http://a.0XfF/", "IPv4");
    expect_refused("http://a.1/", "IPv4");
}

static void test_ipv6_is_canonical(void **state) {
    (void)state;
    expect("http://[2001:DB8:0:0:0::0001]:8080/", "http://[2001:db8::1]:8080/");
    expect("http://[::FFFF:1.2.3.4]/", "http://[::ffff:1.2.3.4]/");
    expect("http://[1::1.2.3.4]/", "http://[1::102:304]/");
}

static void test_bad_ipv6_is_refused(void **state) {
    (void)state;
    expect_refused("http://[::1", "']'");
    expect_refused("http://[]/", "IPv6");
    expect_refused("http://[::1]x/", "port");
    expect_refused("http://[:::1]/", "IPv6");
    expect_refused("http://[1.2.3.4]/", "IPv6");
    expect_refused("http://[fe80::1%25eth0]/", "zone");
    expect_refused("http://[fe80::1%eth0]/", "zone");
    expect_refused("http://::1/", "host name is missing");
    expect_refused("http://[v1.a]/", "IPv6");
}

static void test_length_is_bounded(void **state) {
    char *s = malloc(2 * URL_MAX_LENGTH);

    (void)state;
    assert_non_null(s);
    memset(s, 'a', URL_MAX_LENGTH);
    memcpy(s, "http://h/", 9);
    s[URL_MAX_LENGTH] = '\0';
    expect(s, s);
    s[URL_MAX_LENGTH] = 'a';
    s[URL_MAX_LENGTH + 1] = '\0';
    expect_refused(s, "16384");
    s[URL_MAX_LENGTH] = '\0';
    s[100] = ' ';
    expect_refused(s, "16384");
    free(s);
}

static void test_column_tells_where(void **state) {
    struct url u;
    const char *why;
    size_t column;

    (void)state;
    assert_int_equal(url_parse("http://h/a%zz", &u, &why, &column), -EINVAL);
    assert_int_equal(column, 11);
    assert_int_equal(url_parse("http://a,b/", &u, &why, &column), -EINVAL);
    assert_int_equal(column, 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_url_stays),
        cmocka_unit_test(test_parts_are_views_into_text),
        cmocka_unit_test(test_scheme_and_host_become_lower_case),
        cmocka_unit_test(test_default_port_is_dropped),
        cmocka_unit_test(test_bad_ports_are_refused),
        cmocka_unit_test(test_host_key_always_has_the_port),
        cmocka_unit_test(test_empty_path_becomes_a_slash),
        cmocka_unit_test(test_fragment_is_dropped),
        cmocka_unit_test(test_dot_segments_are_removed),
        cmocka_unit_test(test_encoded_dots_are_dots),
        cmocka_unit_test(test_dots_in_the_query_stay),
        cmocka_unit_test(test_what_people_paste_is_encoded),
        cmocka_unit_test(test_escapes_stay_as_they_are),
        cmocka_unit_test(test_half_escapes_are_refused),
        cmocka_unit_test(test_controls_and_backslashes_are_refused),
        cmocka_unit_test(test_bad_utf8_is_refused),
        cmocka_unit_test(test_blanks_around_are_refused),
        cmocka_unit_test(test_empty_is_refused),
        cmocka_unit_test(test_missing_scheme_is_refused),
        cmocka_unit_test(test_other_schemes_are_refused),
        cmocka_unit_test(test_file_schemes),
        cmocka_unit_test(test_file_type),
        cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_slashes_after_the_scheme_are_two),
        cmocka_unit_test(test_user_names_are_refused),
        cmocka_unit_test(test_odd_hosts_are_refused),
        cmocka_unit_test(test_host_lengths_are_bounded),
        cmocka_unit_test(test_ipv4_is_exact),
        cmocka_unit_test(test_ipv6_is_canonical),
        cmocka_unit_test(test_bad_ipv6_is_refused),
        cmocka_unit_test(test_length_is_bounded),
        cmocka_unit_test(test_column_tells_where),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
