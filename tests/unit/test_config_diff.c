/* A configuration that was read again: what is different, and what stays until a restart. */
#include "tests/unit/config_fixture.h"

#include "daemon/config_diff.h"

struct seen {
    char names[1024]; /* with a blank behind each, "!" before one that takes a restart */
};

static void note(void *userdata, const char *name, bool live) {
    struct seen *seen = userdata;
    size_t n = strlen(seen->names);

    snprintf(seen->names + n, sizeof(seen->names) - n, "%s%s ", live ? "" : "!", name);
}

/* Loads another text and compares what was loaded before with it. *old is to be freed. */
static void differences(struct fixture *f, const char *text, struct config *old, struct seen *ret) {
    *old = f->config;
    f->result = 0;
    *ret = (struct seen){0};
    load_file(f, text);
    assert_string_equal(f->err, "");
    config_differences(old, &f->config, note, ret);
}

static void expect(struct fixture *f, const char *before, const char *after, const char *names) {
    struct config old;
    struct seen seen;

    load_file(f, before);
    assert_string_equal(f->err, "");
    differences(f, after, &old, &seen);
    assert_string_equal(seen.names, names);
    config_done(&old);
}

static void test_same(void **state) {
    static const char text[] = "[retry]\ncount = 3\n[host \"a.example\"]\nrate = 1M\n"
                               "[rate \"night\"]\nfrom = 22:00\nto = 6:00\nlimit = none\n";

    expect(*state, "", "", "");
    expect(*state, text, text, "");
    expect(*state, "", "[retry]\nbase = 1000ms\n", "");
}

static void test_each_kind_of_value(void **state) {
    expect(*state, "", "[retry]\ncount = 6\n", "retry.count ");
    expect(*state, "", "[retry]\nbase = 2s\n", "retry.base ");
    expect(*state, "", "[worker]\nmax_rss = 2G\n", "worker.max_rss ");
    expect(*state, "", "[transfer]\nfsync = never\n", "transfer.fsync ");
    expect(*state, "", "[log]\nlevel = debug\n", "log.level ");
    expect(*state, "", "[history]\nkeep = 90d\n", "history.keep ");
    expect(*state, "", "[rate]\nlimit = 1M\n", "rate.limit ");
    expect(*state, "", "[network]\nschemes = https\n", "network.schemes ");
    expect(*state, "", "[credentials]\ndir = /srv/secrets\n", "credentials.dir ");
}

static void test_what_takes_a_restart(void **state) {
    expect(*state, "", "[output]\nroot = /srv/x\nmode = 0600\n", "!output.root output.mode ");
    expect(*state, "", "[control]\nmode = 0666\n", "!control.mode ");
}

static void test_sections_with_a_name(void **state) {
    static const char one[] = "[host \"a\"]\nrate = 1M\n[host \"b\"]\ndelay = 1s\n";

    expect(*state, one, "[host \"a\"]\nrate = 2M\n[host \"b\"]\ndelay = 1s\n", "[host \"a\"] ");
    expect(*state, one, "[host \"b\"]\ndelay = 1s\n[host \"c\"]\n", "[host \"c\"] [host \"a\"] ");
    expect(*state, "[rate \"n\"]\nfrom = 1:00\nto = 2:00\nlimit = 1M\n",
           "[rate \"n\"]\nfrom = 1:00\nto = 3:00\nlimit = 1M\n", "[rate \"n\"] ");
    expect(*state, "[rate \"n\"]\nfrom = 1:00\nto = 2:00\nlimit = 1M\n", "", "[rate \"n\"] ");
}

static void test_order_of_sections(void **state) {
    static const char before[] = "[host \"*\"]\nrate = 1M\n[host \"a*\"]\nrate = 2M\n"
                                 "[host \"b\"]\nrate = 3M\n";

    expect(*state, before,
           "[host \"a*\"]\nrate = 2M\n[host \"*\"]\nrate = 1M\n[host \"b\"]\nrate = 3M\n",
           "[host \"a*\"] [host \"*\"] [host \"b\"] ");
    /* One that is new or gone moves no other. */
    expect(*state, before,
           "[host \"new\"]\n[host \"*\"]\nrate = 1M\n[host \"b\"]\nrate = 3M\n",
           "[host \"new\"] [host \"a*\"] ");
    expect(*state,
           "[rate \"n\"]\nfrom = 1:00\nto = 2:00\nlimit = 1M\n"
           "[rate \"o\"]\nfrom = 1:00\nto = 2:00\nlimit = 2M\n",
           "[rate \"o\"]\nfrom = 1:00\nto = 2:00\nlimit = 2M\n"
           "[rate \"n\"]\nfrom = 1:00\nto = 2:00\nlimit = 1M\n",
           "[rate \"o\"] [rate \"n\"] ");
}

static void test_fixed_values_are_exchanged_and_no_others(void **state) {
    struct fixture *f = *state;
    struct config old;
    struct seen seen;

    load_file(f, "[output]\nroot = /srv/x\n[retry]\ncount = 1\n");
    differences(f, "[output]\nroot = /srv/y\n[control]\nmode = 0666\n", &old, &seen);
    config_exchange_fixed(&old, &f->config);
    assert_string_equal(f->config.output.root, "/srv/x");
    assert_string_equal(old.output.root, "/srv/y");
    assert_int_not_equal(f->config.control.mode, 0666);
    assert_int_equal(f->config.retry.count, 5);
    config_done(&old);
}


int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_same),
        TEST(test_each_kind_of_value),
        TEST(test_what_takes_a_restart),
        TEST(test_sections_with_a_name),
        TEST(test_order_of_sections),
        TEST(test_fixed_values_are_exchanged_and_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
