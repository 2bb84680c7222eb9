#include "tests/unit/config_fixture.h"

#include "common/paths.h"

/* --- command line --- */

static void test_set_without_value(void **state) {
    refuse_set(*state, "retry.base",
               "--set retry.base: expected section.key=value, as retry.base=2s");
}

static void test_set_without_section(void **state) {
    refuse_set(*state, "base=2.5s",
               "--set base=2.5s: expected section.key=value, as retry.base=2s");
}

static void test_set_unknown_key_names_the_nearest(void **state) {
    refuse_set(*state, "retry.cuont=5",
               "--set retry.cuont=5: unknown key; did you mean retry.count?");
}

static void test_set_of_a_very_long_key(void **state) {
    struct fixture *f = *state;
    char setting[300];

    snprintf(setting, sizeof(setting), "retry.count%0200d=5", 0);
    load(f, "--set", setting);
    assert_int_equal(f->result, -EINVAL);
    assert_non_null(strstr(f->err, "unknown key; dld.conf(5) lists them"));
}

static void test_workers_out_of_range(void **state) {
    struct fixture *f = *state;

    load(f, "--workers", "257");
    assert_complaint(f, "--workers: expected a number from 0 to 256, not \"257\"");
}

static void test_unknown_option_names_the_nearest(void **state) {
    struct fixture *f = *state;

    load(f, "--sokcet=/x");
    assert_int_equal(f->result, -EINVAL);
    load(f, "--sokcet", "/x");
    assert_non_null(strstr(f->err, "dld: --sokcet: unknown option; did you mean --socket?\n"));
}

static void test_unknown_short_option(void **state) {
    struct fixture *f = *state;

    load(f, "-d");
    assert_complaint(f, "-d: unknown option; see dld --help");
}

static void test_option_without_its_argument(void **state) {
    struct fixture *f = *state;

    load(f, "--check-config", "--socket");
    assert_complaint(f, "--socket: an argument is missing; see dld --help");
}

static void test_option_with_an_argument_too_many(void **state) {
    struct fixture *f = *state;

    load(f, "--check-config=yes");
    assert_complaint(f, "--check-config=yes: this option takes no argument");
}

static void test_unexpected_argument(void **state) {
    struct fixture *f = *state;

    load(f, "--workers", "1", "start");
    assert_complaint(f, "start: unexpected argument; see dld --help");
}

static void test_help_names_every_option(void **state) {
    static const char *const names[] = {
        "--config", "--state-dir", "--output-root",  "--socket",       "--workers",
        "--set",    "--help",      "--print-config", "--check-config", "--version"};
    struct fixture *f = *state;

    load(f, "--help");
    assert_int_equal(f->result, 0);
    assert_string_equal(f->err, "");
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        assert_non_null(strstr(f->out, names[i]));
}

static void test_version(void **state) {
    struct fixture *f = *state;

    load(f, "--version");
    assert_int_equal(f->result, 0);
    assert_string_equal(f->out, "dld " DLD_VERSION "\n");
}

static void test_check_config_is_silent_when_all_is_well(void **state) {
    struct fixture *f = *state;

    load(f, "--check-config");
    assert_int_equal(f->result, 0);
    assert_string_equal(f->out, "");
    assert_string_equal(f->err, "");
}

static void test_check_config_finds_errors(void **state) {
    struct fixture *f = *state;

    write_file(f, "dld.conf", "[retry]\nbase = 5x\n");
    load(f, "--check-config");
    assert_int_equal(f->result, -EINVAL);
}

static void test_print_config_in_spite_of_a_bad_file(void **state) {
    struct fixture *f = *state;

    write_file(f, "dld.conf", "nonsense\n");
    load(f, "--print-config");
    assert_int_equal(f->result, 0);
    assert_string_equal(f->err, "");
}

/* --- paths --- */

static void test_root_has_the_systems_places(void **state) {
    struct fixture *f = *state;

    need_root();
    load(f);
    assert_string_equal(f->config.socket_path, "/run/dld/control.sock");
    assert_string_equal(f->config.state_dir, "/var/lib/dld");
    assert_string_equal(f->config.output.root, "/var/lib/dld/downloads");
    assert_int_equal(f->config.control.mode, 0660);
}

static void test_user_has_places_of_their_own(void **state) {
    struct fixture *f = *state;

    become_user();
    load(f);
    assert_string_equal(f->config.socket_path, "/run/user/7/dld/control.sock");
    assert_string_equal(f->config.state_dir, "/home/ann/.local/state/dld");
    assert_string_equal(f->config.output.root, "/home/ann/Downloads/dld");
    assert_int_equal(f->config.control.mode, 0600);
}

static void test_xdg_variables_count(void **state) {
    struct fixture *f = *state;

    become_user();
    setenv("XDG_STATE_HOME", "/xdg/state", 1);
    load(f);
    assert_string_equal(f->config.state_dir, "/xdg/state/dld");
}

static void test_relative_xdg_variables_do_not_count(void **state) {
    struct fixture *f = *state;

    become_user();
    setenv("XDG_STATE_HOME", "state", 1);
    load(f);
    assert_string_equal(f->config.state_dir, "/home/ann/.local/state/dld");
}

static void test_service_user_has_the_systems_places(void **state) {
    struct fixture *f = *state;

    become_user();
    setenv("STATE_DIRECTORY", "/var/lib/dld", 1);
    load(f);
    assert_string_equal(f->config.socket_path, "/run/dld/control.sock");
    assert_string_equal(f->config.state_dir, "/var/lib/dld");
    assert_string_equal(f->config.output.root, "/var/lib/dld/downloads");
    assert_int_equal(f->config.control.mode, 0660);
}

static void test_directories_of_systemd(void **state) {
    struct fixture *f = *state;

    setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1);
    setenv("RUNTIME_DIRECTORY", "/run/one:/run/two", 1);
    load(f);
    assert_string_equal(f->config.state_dir, "/var/lib/one");
    assert_string_equal(f->config.output.root, "/var/lib/one/downloads");
    assert_string_equal(f->config.socket_path, "/run/one/control.sock");
}

static void test_options_beat_directories_of_systemd(void **state) {
    struct fixture *f = *state;

    setenv("STATE_DIRECTORY", "/var/lib/one", 1);
    setenv("RUNTIME_DIRECTORY", "/run/one", 1);
    setenv("DLD_SOCKET", "/env.sock", 1);
    load(f, "--state-dir", "/s", "--output-root", "/o");
    assert_string_equal(f->config.state_dir, "/s");
    assert_string_equal(f->config.output.root, "/o");
    assert_string_equal(f->config.socket_path, "/env.sock");
    load(f, "--socket", "/option.sock");
    assert_string_equal(f->config.socket_path, "/option.sock");
}

static void test_no_runtime_directory(void **state) {
    struct fixture *f = *state;

    become_user();
    unsetenv("XDG_RUNTIME_DIR");
    load(f);
    assert_complaint(f, "XDG_RUNTIME_DIR is not set, so there is no place for the control socket; "
                        "give --socket PATH or set DLD_SOCKET");
    load(f, "--socket", "/tmp/x.sock");
    assert_int_equal(f->result, 1);
}

static void test_relative_paths_become_absolute(void **state) {
    struct fixture *f = *state;
    char here[256], expected[300];

    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(f->dir), 0);
    load(f, "--state-dir", "state", "--output-root", "./files", "--socket", "s.sock");
    assert_int_equal(chdir(here), 0);
    snprintf(expected, sizeof(expected), "%s/state", f->dir);
    assert_string_equal(f->config.state_dir, expected);
    snprintf(expected, sizeof(expected), "%s/./files", f->dir);
    assert_string_equal(f->config.output.root, expected);
    snprintf(expected, sizeof(expected), "%s/s.sock", f->dir);
    assert_string_equal(f->config.socket_path, expected);
}

static void test_tilde_is_the_home_directory(void **state) {
    struct fixture *f = *state;

    load_file(f, "[output]\nroot = ~/files\n");
    assert_string_equal(f->config.output.root, "/home/ann/files");
}

static void test_longest_socket_path(void **state) {
    struct fixture *f = *state;
    char path[128];

    snprintf(path, sizeof(path), "/%0106d", 0);
    load(f, "--socket", path);
    assert_int_equal(f->result, 1);
}

static void test_socket_path_too_long(void **state) {
    struct fixture *f = *state;
    char path[128], expected[300];

    snprintf(path, sizeof(path), "/%0107d", 0);
    load(f, "--socket", path);
    snprintf(
        expected, sizeof(expected),
        "%s: the path of a socket has at most 107 bytes, this has 108; give a shorter --socket",
        path);
    assert_complaint(f, expected);
}

static void test_empty_paths(void **state) {
    struct fixture *f = *state;

    load(f, "--socket", "");
    assert_complaint(f, "--socket: expected a path");
    load(f, "--state-dir", "");
    assert_complaint(f, "--state-dir: expected a path");
}

static void test_default_socket_for_clients(void **state) {
    _cleanup_free_ char *path = NULL;

    (void)state;
    setenv("DLD_SOCKET", "/env.sock", 1);
    setenv("RUNTIME_DIRECTORY", "/run/some-other-service", 1);
    assert_int_equal(path_default_socket(&path), 0);
    assert_string_equal(path, "/env.sock");
}

static void test_runtime_directory_is_not_for_clients(void **state) {
    _cleanup_free_ char *path = NULL;

    (void)state;
    become_user();
    setenv("RUNTIME_DIRECTORY", "/run/some-other-service", 1);
    assert_int_equal(path_default_socket(&path), 0);
    assert_string_equal(path, "/run/user/7/dld/control.sock");
}

static void test_default_config_of_root(void **state) {
    _cleanup_free_ char *path = NULL;

    (void)state;
    need_root();
    unsetenv("CONFIGURATION_DIRECTORY");
    assert_int_equal(path_default_config(&path), 0);
    assert_string_equal(path, "/etc/dld/dld.conf");
}

static void test_default_config_of_a_user(void **state) {
    char *path = NULL;

    (void)state;
    become_user();
    unsetenv("CONFIGURATION_DIRECTORY");
    assert_int_equal(path_default_config(&path), 0);
    assert_string_equal(path, "/home/ann/.config/dld/dld.conf");
    free(path);
    setenv("XDG_CONFIG_HOME", "/xdg", 1);
    assert_int_equal(path_default_config(&path), 0);
    assert_string_equal(path, "/xdg/dld/dld.conf");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_set_without_value),
        TEST(test_set_without_section),
        TEST(test_set_unknown_key_names_the_nearest),
        TEST(test_set_of_a_very_long_key),
        TEST(test_workers_out_of_range),
        TEST(test_unknown_option_names_the_nearest),
        TEST(test_unknown_short_option),
        TEST(test_option_without_its_argument),
        TEST(test_option_with_an_argument_too_many),
        TEST(test_unexpected_argument),
        TEST(test_help_names_every_option),
        TEST(test_version),
        TEST(test_check_config_is_silent_when_all_is_well),
        TEST(test_check_config_finds_errors),
        TEST(test_print_config_in_spite_of_a_bad_file),
        TEST(test_root_has_the_systems_places),
        TEST(test_user_has_places_of_their_own),
        TEST(test_xdg_variables_count),
        TEST(test_relative_xdg_variables_do_not_count),
        TEST(test_service_user_has_the_systems_places),
        TEST(test_directories_of_systemd),
        TEST(test_options_beat_directories_of_systemd),
        TEST(test_no_runtime_directory),
        TEST(test_relative_paths_become_absolute),
        TEST(test_tilde_is_the_home_directory),
        TEST(test_longest_socket_path),
        TEST(test_socket_path_too_long),
        TEST(test_empty_paths),
        TEST(test_default_socket_for_clients),
        TEST(test_runtime_directory_is_not_for_clients),
        TEST(test_default_config_of_root),
        TEST(test_default_config_of_a_user),
    };

    return cmocka_run_group_tests_name("config_options", tests, NULL, NULL);
}
