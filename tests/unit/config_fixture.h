/*
 * config_fixture.h - loads configurations in a directory and environment of their own.
 *
 * Each test gets an empty directory, in which dld.conf is the default configuration file, and an
 * environment with nothing but HOME=/home/ann and XDG_RUNTIME_DIR=/run/user/7. load(f, "--option",
 * ...) then runs config_load() and keeps what came of it until the next load or the test's end.
 */
#ifndef DLD_TEST_CONFIG_FIXTURE_H
#define DLD_TEST_CONFIG_FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/config_keys.h"

#define ARGS_MAX 32
#define NOBODY 65534

/* What one config_load() came to. The default configuration file is dir/dld.conf. */
struct fixture {
    char dir[64];
    int result;
    struct config config; /* filled where result is 1 */
    char *out, *err;
};

static inline void load_forget(struct fixture *f) {
    if (f->result == 1)
        config_done(&f->config);
    free(f->out);
    free(f->err);
    f->result = 0;
    f->out = f->err = NULL;
}

static inline void load_argv(struct fixture *f, int argc, char **argv) {
    size_t n_out, n_err;

    load_forget(f);
    FILE *out = open_memstream(&f->out, &n_out), *err = open_memstream(&f->err, &n_err);
    assert_non_null(out);
    assert_non_null(err);
    f->result = config_load(&f->config, argc, argv, out, err);
    fclose(out);
    fclose(err);
}

/* Arguments end with NULL. */
static inline void load_(struct fixture *f, ...) {
    char *argv[ARGS_MAX + 1] = {(char *)"dld"};
    int argc = 1;
    va_list ap;

    va_start(ap, f);
    while (argc < ARGS_MAX && (argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    load_argv(f, argc, argv);
}
#define load(f, ...) load_((f), ##__VA_ARGS__, (char *)NULL)

static inline void write_bytes(const struct fixture *f, const char *name, const void *data,
                               size_t n) {
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    fclose(file);
}

static inline void write_file(const struct fixture *f, const char *name, const char *text) {
    write_bytes(f, name, text, strlen(text));
}

/* text as dld.conf, which must load. */
static inline void load_file(struct fixture *f, const char *text) {
    write_file(f, "dld.conf", text);
    load(f);
    assert_string_equal(f->err, "");
    assert_int_equal(f->result, 1);
}

/* The only complaint is "dld: DIR/dld.conf" and expected, or just "dld: " and expected. */
static inline void assert_complaint(struct fixture *f, const char *expected) {
    char text[512];

    snprintf(text, sizeof(text), "dld: %s%s%s\n", expected[0] == ':' ? f->dir : "",
             expected[0] == ':' ? "/dld.conf" : "", expected);
    assert_string_equal(f->err, text);
    assert_int_equal(f->result, -EINVAL);
}

static inline void refuse_file(struct fixture *f, const char *text, const char *expected) {
    write_file(f, "dld.conf", text);
    load(f);
    assert_complaint(f, expected);
}

static inline void refuse_set(struct fixture *f, const char *setting, const char *expected) {
    load(f, "--set", setting);
    assert_complaint(f, expected);
}

/* --- one directory and a clean environment for each test --- */

static inline int fixture_begin(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    strcpy(f->dir, "/tmp/dld-test-config.XXXXXX");
    if (!mkdtemp(f->dir) || chmod(f->dir, 0755) < 0) {
        free(f);
        return -1;
    }
    clearenv();
    setenv("CONFIGURATION_DIRECTORY", f->dir, 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    setenv("HOME", "/home/ann", 1);
    *state = f;
    return 0;
}

static inline int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int fixture_end(void **state) {
    struct fixture *f = *state;

    if (getuid() == 0 && seteuid(0) < 0)
        return -1;
    load_forget(f);
    nftw(f->dir, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* From here on the test is an ordinary user; fixture_end() ends that. */
static inline void become_user(void) {
    if (geteuid() == 0)
        assert_int_equal(seteuid(NOBODY), 0);
}

static inline void need_root(void) {
    if (geteuid() != 0)
        skip();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)

#endif
