/* Sections with a name: overrides for hosts, the timetable. */
#include "tests/unit/config_fixture.h"

#include "daemon/config_named.h"

/* --- hosts --- */

static void expect_host(const struct fixture *f, const char *host, unsigned connections,
                        uint64_t delay, uint64_t rate) {
    struct config_host h;

    config_host(&f->config, host, &h);
    assert_int_equal(h.connections, connections);
    assert_int_equal(h.delay, delay);
    assert_int_equal(h.rate, rate);
}

static void test_hosts_without_sections(void **state) {
    struct fixture *f = *state;

    load(f);
    expect_host(f, "example.com:80", 8, 0, 0);
    load(f, "--set", "host.rate=1M", "--set", "host.delay=1s", "--set", "host.connections=2");
    expect_host(f, "example.com:80", 2, USEC_PER_SEC, MIB);
}

static void test_section_gives_what_it_has(void **state) {
    struct fixture *f = *state;

    load_file(f, "[host]\nconnections = 4\ndelay = 2s\n[host \"*.example.com\"]\nrate = 1M\n"
                 "[host \"a.example.com\"]\nconnections = 1\n");
    expect_host(f, "b.example.com:443", 4, 2 * USEC_PER_SEC, MIB);
    expect_host(f, "a.example.com:443", 1, 2 * USEC_PER_SEC, 0);
    expect_host(f, "example.com:443", 4, 2 * USEC_PER_SEC, 0);
}

static void test_later_keys_of_host_count_too(void **state) {
    struct fixture *f = *state;

    load_file(f, "[host \"a\"]\nrate = 1M\n[host]\ndelay = 1s\n[host \"b\"]\nrate=2M\n"
                 "[host \"A\"]\nconnections = 3\n");
    expect_host(f, "a:80", 3, USEC_PER_SEC, MIB);
    expect_host(f, "b:80", 8, USEC_PER_SEC, 2 * MIB);
}

static void test_patterns(void **state) {
    static const struct {
        const char *pattern, *host;
        bool fits;
    } cases[] = {
        {"*", "anything:80", true},
        {"example.com", "example.com:80", true},
        {"EXAMPLE.com", "example.COM:80", true},
        {"example.com", "example.com.org:80", false},
        {"*.example.com", "a.b.example.com:80", true},
        {"*.example.com", "example.com:80", false},
        {"a*b*c", "a.b.b.c:80", true},
        {"a*b*c", "a.c.b:80", false},
        {"img?.example.com", "img7.example.com:80", true},
        {"img?.example.com", "img77.example.com:80", false},
        {"example.com:8080", "example.com:8080", true},
        {"example.com:8080", "example.com:80", false},
        {"*:8080", "any:8080", true},
        {"*:8080", "any:80", false},
        {"[::1]", "[::1]:80", true},
        {"[::1]:80", "[::1]:80", true},
        {"[::1]:81", "[::1]:80", false},
        {"[*]", "[fe80::1]:80", true},
        {"10.0.0.*", "10.0.0.7:80", true},
        {"**", "a:80", true},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char text[128];

        snprintf(text, sizeof(text), "[host \"%s\"]\nrate = 1M\n", cases[i].pattern);
        load_file(f, text);
        expect_host(f, cases[i].host, 8, 0, cases[i].fits ? MIB : 0);
    }
}

static void test_pattern_of_stars_is_no_burden(void **state) {
    struct fixture *f = *state;
    char text[256] = "[host \"", host[260];

    for (int i = 0; i < 80; i++)
        strcat(text, "*a");
    strcat(text, "b\"]\nrate = 1M\n");
    memset(host, 'a', 253);
    strcpy(host + 253, ":80");
    load_file(f, text);
    expect_host(f, host, 8, 0, 0);
}

static void test_bad_patterns(void **state) {
    static const char *const bad[] = {"",    ":80",       "a:",      "a:0",     "a:65536",
                                      "a b", "http://a/", "fe80::1", "a:80:90", "a:x"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        char text[128], expected[256];

        snprintf(text, sizeof(text), "\n[host \"%s\"]\nrate = 1M\n", bad[i]);
        snprintf(
            expected, sizeof(expected),
            ":2: [host \"%s\"]: expected a host's name with * and ?, and a port if need be, as "
            "\"*.example.com\" or \"[::1]:8080\"",
            bad[i]);
        refuse_file(f, text, expected);
    }
}

/* --- the grammar --- */

static void test_sections_that_are_wrong(void **state) {
    struct fixture *f = *state;

    refuse_file(f, "[retry \"a\"]\ncount = 5\n",
                ":1: [retry \"a\"]: only [host] and [rate] go with a name");
    refuse_file(f, "[host \"a]\nrate = 5M\n",
                ":1: a section with a name ends with '\"]', as [host \"*.example.com\"]");
    refuse_file(f, "[host \"a\"] rate = 5M\n",
                ":1: a section with a name ends with '\"]', as [host \"*.example.com\"]");
    refuse_file(f, "[host \"a\"]\nraet = 5M\n",
                ":2: [host] raet: unknown key in a section with a name; did you mean \"rate\"?");
    refuse_file(f, "[host \"a\"]\nlimit = 5M\n",
                ":2: [host] limit: unknown key in a section with a name; dld.conf(5) lists them");
    refuse_file(f, "[host \"a\"]\nrate = 5M\nrate = 6M\n",
                ":3: [host] rate: given already in line 2; remove one");
    refuse_file(f, "[host \"a\"]\nrate = 5M\n[host \"b\"]\nrate = 6M\n[host \"A\"]\nrate = 7M\n",
                ":6: [host] rate: given already in line 2; remove one");
    refuse_file(f, "[host \"a\"]\nconnections = 0\n",
                ":2: [host] connections: expected a number from 1 to 4096, not \"0\"");
    refuse_file(f, "[host \"a\"]\nrate = 5\n",
                ":2: [host] rate: expected bytes a second (or with K, M, G, T) from 1K to 1T, or "
                "none, not \"5\"");
}

static void test_section_without_a_name_follows(void **state) {
    struct fixture *f = *state;

    load_file(f, "[host \"a\"] ; comment\nrate = 5M\n[retry]\ncount = 9\n[rate]\nlimit = 7M\n");
    assert_int_equal(f->config.retry.count, 9);
    assert_int_equal(f->config.rate.limit, 7 * MIB);
    assert_int_equal(f->config.host.rate, 0);
}

static void test_sections_are_bounded(void **state) {
    struct fixture *f = *state;
    struct buf b = BUF_INIT(MIB);

    for (unsigned i = 0; i <= CONFIG_NAMED_MAX; i++)
        buf_addf(&b, "[host \"h%u\"]\n", i);
    refuse_file(f, buf_cstr(&b), ":257: [host \"h256\"]: there are more than 256 such sections");
    buf_done(&b);
}

static void test_drop_in_goes_on_with_a_section(void **state) {
    struct fixture *f = *state;
    char path[128];

    snprintf(path, sizeof(path), "%s/dld.conf.d", f->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file(f, "dld.conf.d/a.conf", "[host \"a\"]\nrate = 2M\n");
    load_file(f, "[host \"a\"]\nrate = 1M\nconnections = 3\n");
    expect_host(f, "a:80", 3, 0, 2 * MIB);
}

/* --- the timetable --- */

static void test_windows(void **state) {
    struct fixture *f = *state;
    const struct rate_window *w;

    load_file(f, "[rate]\nlimit = 2M\n[rate \"night\"]\nfrom=01:00\nto=7:00\nlimit=none\n"
                 "[rate \"the weekend\"]\nfrom = 00:00\nto = 24:00\ndays = sat SUN\nlimit = 10M\n");
    assert_int_equal(f->config.n_windows, 2);
    w = &f->config.windows[0].window;
    assert_string_equal(w->name, "night");
    assert_int_equal(w->from, 60);
    assert_int_equal(w->to, 420);
    assert_int_equal(w->days, TIMETABLE_ALL_DAYS);
    assert_int_equal(w->limit, 0);
    w = &f->config.windows[1].window;
    assert_string_equal(w->name, "the weekend");
    assert_int_equal(w->from, 0);
    assert_int_equal(w->to, 0);
    assert_int_equal(w->days, 0x41);
    assert_int_equal(w->limit, 10 * MIB);
}

static void test_windows_that_are_wrong(void **state) {
    static const char *const times[] = {"",      "1",      "01:0", "24:01",
                                        "-1:00", "01:00 ", "1:60", "01:00h"};
    struct fixture *f = *state;

    refuse_file(f, "[log]\n[rate \"n\"]\nfrom=01:00\n[rate \"n\"]\nto=07:00\n",
                ":2: [rate \"n\"]: limit is missing");
    refuse_file(f, "[rate \"\"]\n", ":1: [rate \"\"]: expected a name, as [rate \"night\"]");
    refuse_file(f, "[rate \"n\"]\nfrom=01:00\nto=07:00\nlimit=1M\ndays=mon-fri\n",
                ":5: [rate] days: expected days with blanks between them: mon tue wed thu fri sat "
                "sun, not \"mon-fri\"");
    for (size_t i = 0; i < ELEMENTSOF(times); i++) {
        struct config c = {0};
        struct config_named named;
        struct buf why = BUF_INIT(4096);

        assert_int_equal(config_named_open(&c, "rate", "n", &named, &why), 0);
        assert_int_equal(config_key_set(&named.keys[0], times[i], named.base, &why), -EINVAL);
        buf_done(&why);
        config_done(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_hosts_without_sections),
        TEST(test_section_gives_what_it_has),
        TEST(test_later_keys_of_host_count_too),
        TEST(test_patterns),
        TEST(test_pattern_of_stars_is_no_burden),
        TEST(test_bad_patterns),
        TEST(test_sections_that_are_wrong),
        TEST(test_section_without_a_name_follows),
        TEST(test_sections_are_bounded),
        TEST(test_drop_in_goes_on_with_a_section),
        TEST(test_windows),
        TEST(test_windows_that_are_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
