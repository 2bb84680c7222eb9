#include "tests/unit/config_fixture.h"

/* --- files --- */

static void test_comments_blanks_and_colons(void **state) {
    struct fixture *f = *state;

    load_file(f, "\xef\xbb\xbf# comment\r\n; another\r\n\r\n[retry] ; here too\r\n"
                 "  count = 6 ; and here\r\n\tbase: 2s\r\nmax=1h");
    assert_int_equal(f->config.retry.count, 6);
    assert_int_equal(f->config.retry.base, 2 * USEC_PER_SEC);
    assert_int_equal(f->config.retry.max, 3600 * USEC_PER_SEC);
}

static void test_section_may_come_twice(void **state) {
    struct fixture *f = *state;

    load_file(f, "[retry]\ncount = 6\n[host]\nconnections=3\n[retry]\nbase = 2s\n");
    assert_int_equal(f->config.retry.base, 2 * USEC_PER_SEC);
}

static void test_empty_file(void **state) {
    load_file(*state, "");
}

static void test_unknown_key_names_the_nearest(void **state) {
    refuse_file(*state, "[retry]\n\ncuont = 5\n",
                ":3: [retry] cuont: unknown key; did you mean \"count\"?");
}

static void test_key_of_another_section(void **state) {
    refuse_file(*state, "[worker]\nconnections = 5\n",
                ":2: [worker] connections: unknown key; it belongs in [host]");
}

static void test_unknown_key_like_no_other(void **state) {
    refuse_file(*state, "[worker]\nxyzzy = 5\n",
                ":2: [worker] xyzzy: unknown key; dld.conf(5) lists them");
}

static void test_key_before_any_section(void **state) {
    refuse_file(*state, "workers = 5\n",
                ":1: workers: a key must stand beneath its section, as [master]");
}

static void test_unknown_section_is_reported_once(void **state) {
    refuse_file(*state, "[retyr]\ncount = 5\nbase = 5\n",
                ":1: [retyr]: unknown section; did you mean [retry]?");
}

static void test_unknown_section_like_no_other(void **state) {
    refuse_file(*state, "[xyzzy]\n", ":1: [xyzzy]: unknown section; dld.conf(5) lists them");
}

static void test_section_without_end(void **state) {
    refuse_file(*state, "[retry\ncount = 5\n", ":1: a section ends with ']', as [retry]");
}

static void test_text_after_section(void **state) {
    refuse_file(*state, "[retry] count = 5\n",
                ":1: nothing may follow the ']' of a section; write keys in lines of their own");
}

static void test_line_without_equals(void **state) {
    refuse_file(*state, "[retry]\ncount 5\n",
                ":2: expected \"key = value\", \"[section]\" or a comment");
}

static void test_last_line_without_equals(void **state) {
    refuse_file(*state, "[retry]\ncount",
                ":2: expected \"key = value\", \"[section]\" or a comment");
}

static void test_line_without_key(void **state) {
    refuse_file(*state, "[retry]\n= 5\n",
                ":2: expected \"key = value\", \"[section]\" or a comment");
}

static void test_value_does_not_go_on_in_the_next_line(void **state) {
    refuse_file(*state, "[output]\nroot = /srv\n  /more\n",
                ":3: expected \"key = value\", \"[section]\" or a comment");
}

static void test_key_given_twice_names_both_lines(void **state) {
    refuse_file(*state, "[retry]\ncount = 5\n\n[retry]\ncount = 6\n",
                ":5: [retry] count: given already in line 2; remove one");
}

static void test_line_too_long(void **state) {
    struct fixture *f = *state;
    char text[600];

    snprintf(text, sizeof(text), "[output]\nroot = /%0250d\n[retry]\nxcount = 1\n", 0);
    write_file(f, "dld.conf", text);
    load(f);
    assert_non_null(strstr(f->err, "/dld.conf:2: the line is longer than 190 bytes\n"));
    assert_non_null(strstr(f->err, "/dld.conf:4: [retry] xcount: "));
}

static void test_longest_line(void **state) {
    struct fixture *f = *state;
    char text[512], line[256];

    snprintf(line, sizeof(line), "root = /%0182d", 0);
    assert_int_equal(strlen(line), 190);
    snprintf(text, sizeof(text), "[output]\n  %s\n", line);
    load_file(f, text);
    assert_string_equal(f->config.output.root, line + strlen("root = "));
}

static void test_nul_byte(void **state) {
    struct fixture *f = *state;

    write_bytes(f, "dld.conf", "[retry]\ncount\0 = 5\n", 19);
    load(f);
    assert_complaint(f, ":2: there is a NUL byte in the line; this is not a text file");
}

static void test_nul_byte_at_the_end(void **state) {
    struct fixture *f = *state;

    write_bytes(f, "dld.conf", "[retry]\n\0", 9);
    load(f);
    assert_complaint(f, ":2: there is a NUL byte in the line; this is not a text file");
}

static void test_file_without_end(void **state) {
    struct fixture *f = *state;

    load(f, "--config", "/dev/zero");
    assert_complaint(f, "/dev/zero: can't be read: File too large");
}

static void test_directory_in_place_of_a_file(void **state) {
    struct fixture *f = *state;

    load(f, "--config", "/");
    assert_complaint(f, "/: can't be read: Is a directory");
}

static void test_named_file_must_exist(void **state) {
    struct fixture *f = *state;

    load(f, "--config", "/nonexistent/dld.conf");
    assert_complaint(f, "/nonexistent/dld.conf: can't be opened: No such file or directory; "
                        "--config names it");
}

static void test_file_named_by_environment_must_exist(void **state) {
    struct fixture *f = *state;

    setenv("DLD_CONFIG", "/nonexistent/dld.conf", 1);
    load(f);
    assert_complaint(f, "/nonexistent/dld.conf: can't be opened: No such file or directory; "
                        "DLD_CONFIG names it");
}

static void test_option_config_beats_environment(void **state) {
    struct fixture *f = *state;

    setenv("DLD_CONFIG", "/nonexistent/dld.conf", 1);
    load(f, "--config", "/dev/null");
    assert_int_equal(f->result, 1);
}

static void test_unreadable_file_says_why(void **state) {
    struct fixture *f = *state;
    char path[128];

    write_file(f, "dld.conf", "[retry]\n");
    snprintf(path, sizeof(path), "%s/dld.conf", f->dir);
    assert_int_equal(chmod(path, 0), 0);
    become_user();
    load(f);
    assert_complaint(f, ": can't be opened: Permission denied");
}

static void test_all_errors_are_reported(void **state) {
    struct fixture *f = *state;

    setenv("DLD_RETRY_MAX", "x", 1);
    write_file(f, "dld.conf", "[retry]\ncuont = 5\nbase = 5x\n[host]\nconnections = 0\n");
    load(f, "--set", "log.level=loud");
    assert_int_equal(f->result, -EINVAL);
    assert_non_null(strstr(f->err, "dld.conf:2: "));
    assert_non_null(strstr(f->err, "dld.conf:3: "));
    assert_non_null(strstr(f->err, "dld.conf:5: "));
    assert_non_null(strstr(f->err, "dld: DLD_RETRY_MAX: "));
    assert_non_null(strstr(f->err, "dld: --set log.level=loud: "));
}

static void test_errors_shown_are_capped(void **state) {
    struct fixture *f = *state;
    char text[8 * 100 + 1] = "";
    unsigned lines = 0;

    for (int i = 0; i < 100; i++)
        strcat(text, "[xyzzy]\n");
    write_file(f, "dld.conf", text);
    load(f);
    for (const char *p = f->err; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, CONFIG_ERRORS_MAX + 1);
    assert_non_null(strstr(f->err, "dld: there are more errors than these\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_comments_blanks_and_colons),
        TEST(test_section_may_come_twice),
        TEST(test_empty_file),
        TEST(test_unknown_key_names_the_nearest),
        TEST(test_key_of_another_section),
        TEST(test_unknown_key_like_no_other),
        TEST(test_key_before_any_section),
        TEST(test_unknown_section_is_reported_once),
        TEST(test_unknown_section_like_no_other),
        TEST(test_section_without_end),
        TEST(test_text_after_section),
        TEST(test_line_without_equals),
        TEST(test_last_line_without_equals),
        TEST(test_line_without_key),
        TEST(test_value_does_not_go_on_in_the_next_line),
        TEST(test_key_given_twice_names_both_lines),
        TEST(test_line_too_long),
        TEST(test_longest_line),
        TEST(test_nul_byte),
        TEST(test_nul_byte_at_the_end),
        TEST(test_file_without_end),
        TEST(test_directory_in_place_of_a_file),
        TEST(test_named_file_must_exist),
        TEST(test_file_named_by_environment_must_exist),
        TEST(test_option_config_beats_environment),
        TEST(test_unreadable_file_says_why),
        TEST(test_all_errors_are_reported),
        TEST(test_errors_shown_are_capped),
    };

    return cmocka_run_group_tests_name("config_file", tests, NULL, NULL);
}
