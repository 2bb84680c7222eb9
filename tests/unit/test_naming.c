#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/naming.h"
#include "common/util.h"

static void parse(const char *s, struct url *ret) {
    const char *why;
    size_t column;

    if (url_parse(s, ret, &why, &column) < 0)
        fail_msg("%s: %s", s, why);
}

static void expect_name(const char *path, const char *name) {
    char text[2000];
    struct url u;
    char *got;

    snprintf(text, sizeof(text), "http://h%s", path);
    parse(text, &u);
    got = name_from_url(&u);
    assert_non_null(got);
    assert_string_equal(got, name);
    assert_true(path_is_safe(got));
    free(got);
    url_done(&u);
}

static void expect_path(const char *output, const char *url, const char *path) {
    const char *why = NULL;
    struct url u;
    char *got = NULL;

    parse(url, &u);
    if (output && output_check(output, &why) < 0)
        fail_msg("%s: %s", output, why);
    assert_int_equal(output_expand(output, &u, 42, 7, &got), 0);
    assert_string_equal(got, path);
    assert_true(path_is_safe(got));
    free(got);
    url_done(&u);
}

static void expect_refused(const char *output, const char *part_of_why) {
    const char *why = NULL;

    if (output_check(output, &why) != -EINVAL)
        fail_msg("%s was taken", output);
    if (!strstr(why, part_of_why))
        fail_msg("%s: \"%s\" doesn't say \"%s\"", output, why, part_of_why);
}

static void expect_number(const char *path, unsigned n, const char *name) {
    char got[NAME_MAX_BYTES + 1];

    name_with_number(path, n, got);
    assert_string_equal(got, name);
}

static void test_conflict_names_go_both_ways(void **state) {
    enum on_conflict c;

    (void)state;
    for (unsigned i = 0; i < CONFLICT_MAX_; i++) {
        assert_int_equal(on_conflict_parse(on_conflict_name((enum on_conflict)i), &c), 0);
        assert_int_equal(c, i);
    }
    assert_null(on_conflict_name(CONFLICT_MAX_));
    assert_int_equal(on_conflict_parse("replace", &c), -EINVAL);
    assert_int_equal(on_conflict_parse("", &c), -EINVAL);
}

static void test_name_is_the_last_segment(void **state) {
    (void)state;
    expect_name("/a/b/c.jpg", "c.jpg");
    expect_name("/a/b/c.jpg?x=/d.png", "c.jpg");
}

static void test_name_of_a_directory_is_index_html(void **state) {
    (void)state;
    expect_name("", "index.html");
    expect_name("/", "index.html");
    expect_name("/a/", "index.html");
    expect_name("/a/b/..", "index.html");
}

static void test_name_is_decoded(void **state) {
    (void)state;
    expect_name("/a%20b%2Bc+d.txt", "a b+c+d.txt");
    expect_name("/%c3%a4%E2%82%AC.txt", "\xc3\xa4\xe2\x82\xac.txt");
    expect_name("/100%25.txt", "100%.txt");
}

static void test_name_is_decoded_once(void **state) {
    (void)state;
    expect_name("/%252e%252e", "%2e%2e");
    expect_name("/a%252Fb", "a%2Fb");
}

static void test_what_is_no_name_stays_encoded(void **state) {
    (void)state;
    expect_name("/a%2fb", "a%2Fb");
    expect_name("/..%2f..%2fetc", "..%2F..%2Fetc");
    expect_name("/a%00b%0a%1b%7f", "a%00b%0A%1B%7F");
    expect_name("/a%ffb%c3", "a%FFb%C3");
    expect_name("/%ed%a0%80", "%ED%A0%80");
    expect_name("/%c0%ae%c0%ae", "%C0%AE%C0%AE");
}

static void test_what_steers_terminals_stays_encoded(void **state) {
    (void)state;
    expect_name("/a%c2%9bm", "a%C2%9Bm");
    expect_name("/a%e2%80%aegpj.exe", "a%E2%80%AEgpj.exe");
    expect_name("/a%e2%81%a6b", "a%E2%81%A6b");
    expect_name("/a%e2%80%93b", "a\xe2\x80\x93"
                                "b");
}

static void test_dots_at_the_start_stay(void **state) {
    (void)state;
    expect_name("/.bashrc", ".bashrc");
    expect_name("/...", "...");
    expect_name("/..a", "..a");
}

static void test_names_of_part_files_are_changed(void **state) {
    (void)state;
    expect_name("/.dld-5.part", "%2Edld-5.part");
    expect_name("/%2edld-5.part", "%2Edld-5.part");
    expect_name("/.dld", ".dld");
}

static void test_backslash_is_a_character(void **state) {
    (void)state;
    expect_name("/a%5Cb", "a\\b");
}

static void test_long_name_keeps_its_extension(void **state) {
    char path[400] = "/", name[400] = "";

    (void)state;
    memset(path + 1, 'a', 300);
    strcpy(path + 297, ".jpeg");
    memset(name, 'a', 250);
    strcpy(name + 250, ".jpeg");
    expect_name(path, name);
}

static void test_long_name_keeps_its_characters_whole(void **state) {
    char path[1200] = "/a", name[400] = "a";

    (void)state;
    for (int i = 0; i < 150; i++)
        strcat(path, "%C3%A4");
    strcat(path, ".jpg");
    for (int i = 0; i < 125; i++)
        strcat(name, "\xc3\xa4");
    strcat(name, ".jpg");
    expect_name(path, name);
}

static void test_long_name_keeps_its_escapes_whole(void **state) {
    char path[1200] = "/a", name[400] = "a";

    (void)state;
    for (int i = 0; i < 100; i++)
        strcat(path, "%FF");
    strcat(path, ".jp");
    for (int i = 0; i < 83; i++) /* 1 + 3 x 83 + 3 are 253; another would split */
        strcat(name, "%FF");
    strcat(name, ".jp");
    expect_name(path, name);
}

static void test_long_extension_is_none(void **state) {
    char path[400] = "/a.", name[400] = "a.";

    (void)state;
    memset(path + 3, 'b', 300);
    memset(name + 2, 'b', 253);
    expect_name(path, name);
}

static void test_output_is_literal_text(void **state) {
    (void)state;
    expect_path("dir/a b.jpg", "http://h/x", "dir/a b.jpg");
    expect_path("100%2F", "http://h/x", "100%2F");
}

static void test_no_output_is_the_name(void **state) {
    (void)state;
    expect_path(NULL, "http://h/a/b.jpg", "b.jpg");
}

static void test_slash_at_the_end_is_a_directory(void **state) {
    (void)state;
    expect_path("dir/", "http://h/a/b.jpg", "dir/b.jpg");
    expect_path("{host}/", "http://h/", "h/index.html");
}

static void test_fields_are_filled_in(void **state) {
    const char *url = "https://Example.com:8443/a/b%20c/photo.tar.gz?x";

    (void)state;
    expect_path("{host}/{path}/{name}", url, "example.com/a/b c/photo.tar.gz");
    expect_path("{stem}-{id}-{index}{ext}", url, "photo-42-7.tar.gz");
    expect_path("{path}/x", url, "a/b c/x");
    expect_path("{{{id}}}", url, "{42}");
}

static void test_empty_parts_are_left_out(void **state) {
    (void)state;
    expect_path("{host}/{path}/{name}", "http://h/x", "h/x");
    expect_path("{ext}/{name}", "http://h/x", "x");
    expect_path("{path}/{name}", "http://h//a///b", "a/b");
}

static void test_empty_name_becomes_that_of_the_url(void **state) {
    (void)state;
    expect_path("{ext}", "http://h/x", "x");
    expect_path("d/{ext}", "http://h/x", "d/x");
    expect_path("{path}", "http://h/", "index.html");
}

static void test_only_path_brings_in_slashes(void **state) {
    (void)state;
    expect_path("{name}", "http://h/a%2f..%2fb", "a%2F..%2Fb");
    expect_path("{path}/x", "http://h/a%2fb/c/d", "a%2Fb/c/x");
}

static void test_fields_cant_make_reserved_names(void **state) {
    (void)state;
    expect_path(".{ext}", "http://h/a.", "%2E.");
    expect_path("{path}/x", "http://h/.dld-1/y", "%2Edld-1/x");
    expect_path(".{stem}/x", "http://h/dld-7.jpg", "%2Edld-7/x");
    expect_path(".{ext}", "http://h/a", "%2E");
}

static void test_long_parts_are_shortened(void **state) {
    char url[700] = "http://h/", path[700] = "";

    (void)state;
    memset(url + 9, 'd', 300);
    strcpy(url + 309, "/x");
    memset(path, 'd', 255);
    strcpy(path + 255, "/x");
    expect_path("{path}/{name}", url, path);
}

static void test_path_too_long_is_an_error(void **state) {
    char text[6000] = "http://h/";
    struct url u;
    char *got = NULL;

    (void)state;
    for (int i = 0; i < 2100; i++)
        strcat(text, "a/");
    strcat(text, "x");
    parse(text, &u);
    assert_int_equal(output_expand("{path}/{name}", &u, 1, 1, &got), -ENAMETOOLONG);
    assert_int_equal(
        output_expand("{path}{path}{path}{path}{path}{path}{path}{path}", &u, 1, 1, &got),
        -ENAMETOOLONG);
    assert_null(got);
    url_done(&u);
}

static void test_expanding_what_was_not_checked_fails(void **state) {
    struct url u;
    char *got = NULL;

    (void)state;
    parse("http://h/x", &u);
    assert_int_equal(output_expand("{nme}", &u, 1, 1, &got), -EINVAL);
    assert_int_equal(output_expand("a}b", &u, 1, 1, &got), -EINVAL);
    url_done(&u);
}

static void test_output_stays_beneath_the_root(void **state) {
    (void)state;
    expect_refused("/etc/passwd", "beneath the output root");
    expect_refused("/", "beneath the output root");
    expect_refused("..", "..");
    expect_refused("../x", "..");
    expect_refused("a/../x", "..");
    expect_refused("a/..", "..");
    expect_refused("a/../", "..");
    expect_refused("./x", "..");
    expect_refused("a//b", "empty");
    expect_refused("a//", "empty");
    expect_refused("", "empty");
}

static void test_output_has_no_reserved_names(void **state) {
    (void)state;
    expect_refused("a/.dld-x", ".dld-");
    expect_refused(".dld-x/a", ".dld-");
    expect_refused(".dld-{id}", ".dld-");
}

static void test_output_has_no_controls(void **state) {
    (void)state;
    expect_refused("a\nb", "control");
    expect_refused("a\x7f", "control");
    expect_refused("a\xe2\x80\xae", "control");
    expect_refused("a\xff", "UTF-8");
}

static void test_output_has_known_fields_only(void **state) {
    (void)state;
    expect_refused("{nme}", "{name}");
    expect_refused("{}", "{name}");
    expect_refused("{name", "{name}");
    expect_refused("{Name}", "{name}");
    expect_refused("{na/me}", "{name}");
    expect_refused("{{name}", "}}");
    expect_refused("a}", "}}");
}

static void test_output_length_is_bounded(void **state) {
    char text[OUTPUT_MAX_BYTES + 2];
    const char *why;

    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t i = 200; i < OUTPUT_MAX_BYTES - 1; i += 200)
        text[i] = '/';
    text[OUTPUT_MAX_BYTES] = '\0';
    assert_int_equal(output_check(text, &why), 0);
    text[OUTPUT_MAX_BYTES] = 'a';
    text[OUTPUT_MAX_BYTES + 1] = '\0';
    expect_refused(text, "4095");
}

/* What a user writes is not shortened: two names may differ at their ends only. */
static void test_output_part_length_is_bounded(void **state) {
    char text[NAME_MAX_BYTES + 8] = "a/";
    const char *why;

    (void)state;
    memset(text + 2, 'b', NAME_MAX_BYTES);
    strcpy(text + 2 + NAME_MAX_BYTES, "/c");
    assert_int_equal(output_check(text, &why), 0);
    strcpy(text + 2 + NAME_MAX_BYTES, "b/c");
    expect_refused(text, "longer than 255 bytes");
}

static void test_number_goes_before_the_extension(void **state) {
    (void)state;
    expect_number("dir/photo.jpg", 2, "photo.2.jpg");
    expect_number("photo", 1, "photo.1");
    expect_number("a.b.c", 1, "a.b.1.c");
    expect_number("dir.d/photo", 1, "photo.1");
    expect_number("photo.jpg", 0, "photo.jpg");
}

static void test_number_goes_before_tar(void **state) {
    (void)state;
    expect_number("x.tar.gz", 1, "x.1.tar.gz");
    expect_number("x.TAR.zst", 3, "x.3.TAR.zst");
    expect_number(".tar.gz", 1, ".tar.1.gz");
    expect_number("tar.gz", 1, "tar.1.gz");
}

static void test_dots_at_the_start_are_no_extension(void **state) {
    (void)state;
    expect_number(".bashrc", 1, ".bashrc.1");
    expect_number("..a", 1, "..a.1");
    expect_number("...", 1, "....1");
}

static void test_number_fits_a_long_name(void **state) {
    char name[NAME_MAX_BYTES + 1], want[NAME_MAX_BYTES + 1];

    (void)state;
    memset(name, 'a', 255);
    strcpy(name + 251, ".jpg");
    memset(want, 'a', 255);
    strcpy(want + 240, ".4294967295.jpg");
    expect_number(name, UINT32_MAX, want);
}

static void test_safe_paths(void **state) {
    char part[300];

    (void)state;
    assert_true(path_is_safe("a/b/.c"));
    assert_true(path_is_safe("\xc3\xa4"));
    memset(part, 'a', 256);
    part[255] = '\0';
    assert_true(path_is_safe(part));
    part[255] = 'a';
    part[256] = '\0';
    assert_false(path_is_safe(part));
}

static void test_unsafe_paths(void **state) {
    static const char *const paths[] = {
        "",         "/a",      "a/",           "a//b",  ".",    "..",        "a/..",
        "../a",     "a/./b",   "a\n",          "a\x7f", "\xff", "a\xc2\x80", ".dld-1.part",
        "a/.dld-1", ".dld-/a", "a\xe2\x80\xae"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(paths); i++)
        if (path_is_safe(paths[i]))
            fail_msg("path %zu is taken for safe", i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conflict_names_go_both_ways),
        cmocka_unit_test(test_name_is_the_last_segment),
        cmocka_unit_test(test_name_of_a_directory_is_index_html),
        cmocka_unit_test(test_name_is_decoded),
        cmocka_unit_test(test_name_is_decoded_once),
        cmocka_unit_test(test_what_is_no_name_stays_encoded),
        cmocka_unit_test(test_what_steers_terminals_stays_encoded),
        cmocka_unit_test(test_dots_at_the_start_stay),
        cmocka_unit_test(test_names_of_part_files_are_changed),
        cmocka_unit_test(test_backslash_is_a_character),
        cmocka_unit_test(test_long_name_keeps_its_extension),
        cmocka_unit_test(test_long_name_keeps_its_characters_whole),
        cmocka_unit_test(test_long_name_keeps_its_escapes_whole),
        cmocka_unit_test(test_long_extension_is_none),
        cmocka_unit_test(test_output_is_literal_text),
        cmocka_unit_test(test_no_output_is_the_name),
        cmocka_unit_test(test_slash_at_the_end_is_a_directory),
        cmocka_unit_test(test_fields_are_filled_in),
        cmocka_unit_test(test_empty_parts_are_left_out),
        cmocka_unit_test(test_empty_name_becomes_that_of_the_url),
        cmocka_unit_test(test_only_path_brings_in_slashes),
        cmocka_unit_test(test_fields_cant_make_reserved_names),
        cmocka_unit_test(test_long_parts_are_shortened),
        cmocka_unit_test(test_path_too_long_is_an_error),
        cmocka_unit_test(test_expanding_what_was_not_checked_fails),
        cmocka_unit_test(test_output_stays_beneath_the_root),
        cmocka_unit_test(test_output_has_no_reserved_names),
        cmocka_unit_test(test_output_has_no_controls),
        cmocka_unit_test(test_output_has_known_fields_only),
        cmocka_unit_test(test_output_length_is_bounded),
        cmocka_unit_test(test_output_part_length_is_bounded),
        cmocka_unit_test(test_number_goes_before_the_extension),
        cmocka_unit_test(test_number_goes_before_tar),
        cmocka_unit_test(test_dots_at_the_start_are_no_extension),
        cmocka_unit_test(test_number_fits_a_long_name),
        cmocka_unit_test(test_safe_paths),
        cmocka_unit_test(test_unsafe_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
