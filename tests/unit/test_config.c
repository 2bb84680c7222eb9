#include "tests/unit/config_fixture.h"

#include <sched.h>

#include "common/log.h"
#include "common/wire.h"

/* --- the table --- */

static void test_every_default_is_allowed(void **state) {
    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        struct buf why = BUF_INIT(4096);
        struct config c = {0};

        assert_int_equal(config_key_set(k, k->standard, &c, &why), 0);
        if (k->standard_user)
            assert_int_equal(config_key_set(k, k->standard_user, &c, &why), 0);
        buf_done(&why);
        config_done(&c);
    }
}

static void test_keys_are_unique_and_have_help(void **state) {
    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];

        assert_ptr_equal(config_key_find(k->section, k->name), k);
        assert_true(strlen(k->help) > 10);
    }
}

static void test_keys_of_a_section_are_neighbours(void **state) {
    (void)state;
    for (size_t i = 1; i < config_n_keys; i++)
        for (size_t j = 0; j + 1 < i; j++)
            if (streq(config_keys[i].section, config_keys[j].section))
                assert_string_equal(config_keys[i - 1].section, config_keys[i].section);
}

static void test_failed_set_leaves_the_value(void **state) {
    struct buf why = BUF_INIT(4096);
    struct config c = {.retry.base = 7};

    (void)state;
    assert_int_equal(config_key_set(config_key_find("retry", "base"), "5x", &c, &why), -EINVAL);
    assert_int_equal(c.retry.base, 7);
    buf_done(&why);
}

/* --- defaults --- */

static void test_defaults(void **state) {
    struct fixture *f = *state;
    const struct config *c = &f->config;

    load(f);
    assert_int_equal(f->result, 1);
    assert_string_equal(f->err, "");
    assert_int_equal(c->master.stop_grace, 10 * USEC_PER_SEC);
    assert_int_equal(c->master.crash_limit, 3);
    assert_int_equal(c->worker.transfers, 16);
    assert_int_equal(c->output.mode, 0644);
    assert_int_equal(c->output.dir_mode, 0755);
    assert_int_equal(c->transfer.fsync, FSYNC_BATCH);
    assert_int_equal(c->transfer.sync_interval, 100 * USEC_PER_MSEC);
    assert_int_equal(c->transfer.connect_timeout, 30 * USEC_PER_SEC);
    assert_int_equal(c->transfer.low_speed_limit, 1);
    assert_int_equal(c->transfer.low_speed_time, 60 * USEC_PER_SEC);
    assert_int_equal(c->transfer.max_redirects, 20);
    assert_int_equal(c->transfer.min_free_space, 64 * MIB);
    assert_int_equal(c->retry.count, 5);
    assert_int_equal(c->retry.base, 1 * USEC_PER_SEC);
    assert_int_equal(c->retry.max, 300 * USEC_PER_SEC);
    assert_int_equal(c->host.connections, 8);
    assert_string_equal(c->control.group, "");
    assert_int_equal(c->control.max_line, 4 * MIB);
    assert_int_equal(c->log.level, LOG_NOTICE);
}

static void test_workers_are_the_cores_allowed(void **state) {
    struct fixture *f = *state;
    cpu_set_t before, one;

    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    load(f, "--workers", "0");
    assert_int_equal(f->config.master.workers, CPU_COUNT(&before));

    int cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    load(f);
    sched_setaffinity(0, sizeof(before), &before);
    assert_int_equal(f->config.master.workers, 1);
}

/* --- precedence --- */

static void test_file_beats_default(void **state) {
    struct fixture *f = *state;

    load_file(f, "[retry]\ncount = 6\n");
    assert_int_equal(f->config.retry.count, 6);
}

static void test_directory_beats_file_in_order_of_names(void **state) {
    struct fixture *f = *state;
    char path[128];

    snprintf(path, sizeof(path), "%s/dld.conf.d", f->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file(f, "dld.conf.d/20.conf", "[retry]\ncount = 20\n");
    write_file(f, "dld.conf.d/10.conf", "[retry]\ncount = 10\n[host]\nconnections = 10\n");
    write_file(f, "dld.conf.d/30.conf~", "[retry]\ncount = 30\n");
    write_file(f, "dld.conf.d/.40.conf", "[retry]\ncount = 40\n");
    load_file(f, "[retry]\ncount = 6\n[host]\nconnections = 6\n[worker]\ntransfers = 6\n");
    assert_int_equal(f->config.retry.count, 20);
    assert_int_equal(f->config.host.connections, 10);
    assert_int_equal(f->config.worker.transfers, 6);
}

static void test_directory_counts_without_its_file(void **state) {
    struct fixture *f = *state;
    char path[128];

    snprintf(path, sizeof(path), "%s/dld.conf.d", f->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file(f, "dld.conf.d/a.conf", "[retry]\ncount = 9\n");
    load(f);
    assert_int_equal(f->config.retry.count, 9);
}

static void test_environment_beats_file(void **state) {
    struct fixture *f = *state;

    setenv("DLD_RETRY_COUNT", "7", 1);
    load_file(f, "[retry]\ncount = 6\n");
    assert_int_equal(f->config.retry.count, 7);
}

static void test_command_line_beats_environment(void **state) {
    struct fixture *f = *state;

    setenv("DLD_RETRY_COUNT", "7", 1);
    load(f, "--set", "retry.count=8");
    assert_int_equal(f->config.retry.count, 8);
}

static void test_last_of_two_options_counts(void **state) {
    struct fixture *f = *state;

    load(f, "--set", "master.workers=4", "--workers", "5");
    assert_int_equal(f->config.master.workers, 5);
    load(f, "--workers", "5", "--set", "master.workers=4");
    assert_int_equal(f->config.master.workers, 4);
}

static void test_every_key_has_its_variable(void **state) {
    struct fixture *f = *state;

    setenv("DLD_TRANSFER_LOW_SPEED_LIMIT", "20K", 1);
    setenv("DLD_TRANSFER_FSYNC", "never", 1);
    setenv("DLD_LOG_LEVEL", "debug", 1);
    load(f);
    assert_string_equal(f->err, "");
    assert_int_equal(f->config.transfer.low_speed_limit, 20 * KIB);
    assert_int_equal(f->config.transfer.fsync, FSYNC_NEVER);
    assert_int_equal(f->config.log.level, LOG_DEBUG);
}

/* --- values --- */

static void test_count_out_of_range(void **state) {
    refuse_set(*state, "host.connections=0",
               "--set host.connections=0: expected a number from 1 to 4096, not \"0\"");
}

static void test_count_too_large_for_any_number(void **state) {
    refuse_set(*state, "retry.count=99999999999999999999",
               "--set retry.count=99999999999999999999: expected a number from 0 to 1000, not "
               "\"99999999999999999999\"");
}

static void test_count_with_sign(void **state) {
    refuse_set(*state, "retry.count=-1",
               "--set retry.count=-1: expected a number from 0 to 1000, not \"-1\"");
}

static void test_bad_duration_names_units_and_range(void **state) {
    struct fixture *f = *state;

    setenv("DLD_RETRY_BASE", "5x", 1);
    load(f);
    assert_complaint(f, "DLD_RETRY_BASE: \"5x\" is not a duration; write a number with us, ms, s, "
                        "min, h or d, between 1ms and 1d");
}

static void test_duration_out_of_range(void **state) {
    refuse_file(*state, "[retry]\nbase = 2d\n",
                ":2: [retry] base: \"2d\" is out of range; write a duration between 1ms and 1d");
}

static void test_empty_duration(void **state) {
    refuse_file(*state, "[master]\nstop_grace =\n",
                ":2: [master] stop_grace: \"\" is not a duration; write a number with us, ms, s, "
                "min, h or d, between 0s and 10min");
}

static void test_bad_size(void **state) {
    refuse_set(*state, "control.max_line=4X",
               "--set control.max_line=4X: \"4X\" is not a size; write a number of bytes, or with "
               "K, M, G or T, between 3M and 64M");
}

static void test_size_out_of_range(void **state) {
    refuse_set(*state, "control.max_line=65M",
               "--set control.max_line=65M: \"65M\" is out of range; write a size between 3M and "
               "64M");
}

static void test_limits_are_allowed(void **state) {
    struct fixture *f = *state;

    load(f, "--set", "control.max_line=3M", "--set", "retry.base=1d", "--set", "retry.count=1000",
         "--set", "master.workers=256");
    assert_int_equal(f->result, 1);
    assert_int_equal(f->config.control.max_line, 3 * MIB);
    assert_int_equal(f->config.retry.base, 86400 * USEC_PER_SEC);
    assert_int_equal(f->config.retry.count, 1000);
    assert_int_equal(f->config.master.workers, 256);
}

static void test_modes_are_octal(void **state) {
    struct fixture *f = *state;

    load(f, "--set", "output.mode=640", "--set", "output.dir_mode=0711");
    assert_int_equal(f->config.output.mode, 0640);
    assert_int_equal(f->config.output.dir_mode, 0711);
}

static void test_mode_with_a_digit_that_is_not_octal(void **state) {
    refuse_set(*state, "output.mode=0648",
               "--set output.mode=0648: expected an octal mode with at least 0600 and at most "
               "0777, not \"0648\"");
}

static void test_mode_that_shuts_dld_out(void **state) {
    refuse_set(*state, "output.dir_mode=0077",
               "--set output.dir_mode=0077: expected an octal mode with at least 0700 and at most "
               "0777, not \"0077\"");
}

static void test_choice_lists_the_others(void **state) {
    refuse_file(*state, "[transfer]\nfsync = sometimes\n",
                ":2: [transfer] fsync: expected batch, always or never, not \"sometimes\"");
}

static void test_unknown_group(void **state) {
    refuse_set(*state, "control.group=no-such-group",
               "--set control.group=no-such-group: there is no group \"no-such-group\" on this "
               "system");
}

static void test_relative_root_in_a_file(void **state) {
    refuse_file(*state, "[output]\nroot = files\n",
                ":2: [output] root: expected an absolute path, or one that starts with ~/, not "
                "\"files\"");
}

static void test_empty_root(void **state) {
    struct fixture *f = *state;

    load(f, "--output-root", "");
    assert_complaint(f, "--output-root: expected an absolute path, or one that starts with ~/, "
                        "not \"\"");
}

/* --- environment --- */

static void test_unknown_variable_is_a_warning(void **state) {
    struct fixture *f = *state;

    setenv("DLD_RETRY_BSAE", "1s", 1);
    load(f);
    assert_int_equal(f->result, 1);
    assert_string_equal(f->err, "dld: warning: DLD_RETRY_BSAE: unknown variable, ignored; did you "
                                "mean DLD_RETRY_BASE?\n");
}

static void test_known_variables_are_no_warning(void **state) {
    struct fixture *f = *state;

    setenv("DLD_SOCKET", "/s", 1);
    setenv("DLD_STATE_DIR", "/d", 1);
    setenv("DLD_CONFIG", "/dev/null", 1);
    load(f);
    assert_string_equal(f->err, "");
    assert_string_equal(f->config.socket_path, "/s");
    assert_string_equal(f->config.state_dir, "/d");
}

static void test_empty_variables_name_nothing(void **state) {
    struct fixture *f = *state;

    setenv("DLD_SOCKET", "", 1);
    setenv("DLD_STATE_DIR", "", 1);
    setenv("DLD_CONFIG", "", 1);
    load(f);
    assert_int_equal(f->result, 1);
}

/* --- the documented file --- */

/* Each line "#key = value" without its '#'; section headers stay, all else goes. */
static char *uncomment(const char *text) {
    char *to, *result = malloc(strlen(text) + 1);

    assert_non_null(result);
    to = result;
    while (*text) {
        size_t n = strcspn(text, "\n") + 1;

        if (text[0] == '[' || (text[0] == '#' && text[1] != ' ' && text[1] != '\n')) {
            size_t skip_hash = text[0] == '#';
            memcpy(to, text + skip_hash, n - skip_hash);
            to += n - skip_hash;
        }
        text += n;
    }
    *to = '\0';
    return result;
}

static void test_printed_file_has_the_defaults(void **state) {
    struct fixture *f = *state;
    struct config expected;

    setenv("STATE_DIRECTORY", "/var/lib/dld", 1);
    load(f);
    assert_int_equal(f->result, 1);
    expected = f->config;
    f->result = 0;

    load(f, "--print-config");
    char *text = uncomment(f->out);
    load_file(f, text);
    free(text);
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        const void *a = (char *)&expected + k->offset, *b = (char *)&f->config + k->offset;

        if (k->type >= CONFIG_PATH)
            assert_string_equal(*(char *const *)a, *(char *const *)b);
        else if (k->type == CONFIG_DURATION || k->type == CONFIG_SIZE)
            assert_int_equal(*(const uint64_t *)a, *(const uint64_t *)b);
        else
            assert_int_equal(*(const unsigned *)a, *(const unsigned *)b);
    }
    config_done(&expected);
}

static void test_printed_file_names_every_key(void **state) {
    struct fixture *f = *state;

    load(f, "--print-config");
    for (size_t i = 0; i < config_n_keys; i++) {
        char line[128];

        snprintf(line, sizeof(line), "\n#%s =", config_keys[i].name);
        assert_non_null(strstr(f->out, line));
    }
}

static void test_printed_file_loads_as_it_is(void **state) {
    struct fixture *f = *state;

    load(f, "--print-config");
    char *text = strdup(f->out);
    assert_non_null(text);
    load_file(f, text);
    free(text);
}

/* A file of the tree; tests run in its top folder. */
static char *tree_file(const char *path) {
    FILE *file = fopen(path, "re");

    if (!file)
        print_error("%s: %s; run this test in the top folder of the tree", path, strerror(errno));
    assert_non_null(file);
    char *text = calloc(1, 64 * KIB);
    assert_non_null(text);
    assert_true(fread(text, 1, 64 * KIB - 1, file) > 0);
    fclose(file);
    return text;
}

static void test_file_in_the_tree_is_the_printed_one(void **state) {
    struct fixture *f = *state;
    char *text = tree_file("systemd/dld.conf");

    load(f, "--print-config");
    assert_string_equal(text, f->out);
    free(text);
}

/* Keys are ".B key" (or ".BR key ...") items in the part of their section, ".SS [section]", with
 * "Default: value." */
static void test_man_page_names_every_key(void **state) {
    char *text = tree_file("daemon/dld.conf.5");

    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        char wanted[128];

        snprintf(wanted, sizeof(wanted), "\n.SS [%s]\n", k->section);
        char *section = strstr(text, wanted);
        if (!section)
            fail_msg("dld.conf.5 has no section [%s]", k->section);
        char *end = strstr(section + 1, "\n.SS [");
        snprintf(wanted, sizeof(wanted), "\n.TP\n.B %s\n", k->name);
        char *key = strstr(section, wanted);
        if (!key || (end && key > end))
            fail_msg("dld.conf.5 does not name [%s] %s", k->section, k->name);
        snprintf(wanted, sizeof(wanted), "\nDefault: %s.", *k->standard ? k->standard : "empty");
        char *standard = strstr(key, wanted), *next = strstr(key + 1, "\n.TP\n");
        if (!standard || (next && standard > next))
            fail_msg("dld.conf.5 has not the default of [%s] %s: %s", k->section, k->name,
                     wanted + 1);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_every_default_is_allowed),
        TEST(test_keys_are_unique_and_have_help),
        TEST(test_keys_of_a_section_are_neighbours),
        TEST(test_failed_set_leaves_the_value),
        TEST(test_defaults),
        TEST(test_workers_are_the_cores_allowed),
        TEST(test_file_beats_default),
        TEST(test_directory_beats_file_in_order_of_names),
        TEST(test_directory_counts_without_its_file),
        TEST(test_environment_beats_file),
        TEST(test_command_line_beats_environment),
        TEST(test_last_of_two_options_counts),
        TEST(test_every_key_has_its_variable),
        TEST(test_count_out_of_range),
        TEST(test_count_too_large_for_any_number),
        TEST(test_count_with_sign),
        TEST(test_bad_duration_names_units_and_range),
        TEST(test_duration_out_of_range),
        TEST(test_empty_duration),
        TEST(test_bad_size),
        TEST(test_size_out_of_range),
        TEST(test_limits_are_allowed),
        TEST(test_modes_are_octal),
        TEST(test_mode_with_a_digit_that_is_not_octal),
        TEST(test_mode_that_shuts_dld_out),
        TEST(test_choice_lists_the_others),
        TEST(test_unknown_group),
        TEST(test_relative_root_in_a_file),
        TEST(test_empty_root),
        TEST(test_unknown_variable_is_a_warning),
        TEST(test_known_variables_are_no_warning),
        TEST(test_empty_variables_name_nothing),
        TEST(test_printed_file_has_the_defaults),
        TEST(test_printed_file_names_every_key),
        TEST(test_printed_file_loads_as_it_is),
        TEST(test_file_in_the_tree_is_the_printed_one),
        TEST(test_man_page_names_every_key),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
