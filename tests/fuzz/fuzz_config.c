/*
 * A configuration file, and behind a line "--set" settings of the command line, one a line. What is
 * taken lies within the bounds that the table of keys names; what isn't is told, line by line.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cidr.h"
#include "daemon/config_keys.h"

#define SETTINGS_MAX 8
#define SEPARATOR "\n--set\n"

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* As a user's own, with the least of an environment. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    setenv("HOME", "/home/ann", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    setenv("TZ", "Europe/Berlin", 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("DLD_SOCKET");
    unsetenv("DLD_STATE_DIR");
    unsetenv("DLD_CONFIG");
    return 0;
}

static void check_key(const struct config_key *k, const struct config *c) {
    const void *at = (const char *)c + k->offset;

    switch (k->type) {
    case CONFIG_COUNT:
        fuzz_check(*(const unsigned *)at >= k->min && *(const unsigned *)at <= k->max);
        break;
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        fuzz_check(*(const uint64_t *)at >= k->min && *(const uint64_t *)at <= k->max);
        break;
    case CONFIG_MODE:
        fuzz_check((*(const unsigned *)at & k->min) == k->min &&
                   (*(const unsigned *)at & ~k->max) == 0);
        break;
    case CONFIG_PATH:
        fuzz_check(*(char *const *)at && **(char *const *)at == '/');
        break;
    default:
        break;
    }
}

static void check_networks(const char *text) {
    struct cidr_list list;
    const char *word, *why;
    size_t n;

    fuzz_check(cidr_list_parse(text, &list, &word, &n, &why) == 0 && list.n <= CIDR_LIST_MAX);
}

static void check_times(const struct config *c) {
    _cleanup_free_ struct rate_window *windows = calloc(c->n_windows + 1, sizeof(*windows));
    uint64_t now = 1700000000 * USEC_PER_SEC;
    struct rate_now r;

    fuzz_check(windows);
    for (size_t i = 0; i < c->n_windows; i++) {
        windows[i] = c->windows[i].window;
        fuzz_check(windows[i].from < DAY_MINUTES && windows[i].to < DAY_MINUTES);
        fuzz_check(windows[i].days != 0 && !(windows[i].days & ~TIMETABLE_ALL_DAYS));
    }
    for (int i = 0; i < 4 && now < USEC_INFINITY; i++, now = r.until) {
        timetable_at(windows, c->n_windows, c->rate.limit, now, &r);
        fuzz_check(r.until > now && (r.window || r.limit == c->rate.limit));
    }
}

static void check_hosts(const struct config *c) {
    struct config_host h;

    for (size_t i = 0; i < c->n_host_rules; i++) {
        config_host(c, c->host_rules[i].pattern, &h);
        fuzz_check(h.connections >= 1 && h.connections <= 4096);
    }
    config_host(c, "example.com:443", &h);
    fuzz_check(h.connections >= 1 && h.connections <= 4096);
}

static void check_config(const struct config *c) {
    for (size_t i = 0; i < config_n_keys; i++)
        check_key(&config_keys[i], c);
    fuzz_check(c->master.workers >= 1 && c->socket_path[0] == '/' && c->state_dir[0] == '/');
    check_networks(c->network.deny);
    check_networks(c->network.allow);
    check_hosts(c);
    check_times(c);
}

/* Each a line of its own, that begins with the program's name. */
static void check_complaints(const char *text, unsigned known) {
    unsigned n = 0;

    while (*text) {
        fuzz_check(strncmp(text, "dld: ", 5) == 0);
        text += strcspn(text, "\n");
        fuzz_check(*text == '\n');
        text++;
        n++;
    }
    fuzz_check((n > 0) == (known > 0) && n <= CONFIG_ERRORS_MAX + 1);
}

static void load(const char *path, char **settings, int n_settings) {
    char *argv[3 + 2 * SETTINGS_MAX + 1] = {(char *)"dld", (char *)"--config", (char *)path};
    _cleanup_free_ char *said = NULL;
    struct config config;
    size_t n_said;
    FILE *err = open_memstream(&said, &n_said);
    int argc = 3, r;

    for (int i = 0; i < n_settings; i++) {
        argv[argc++] = (char *)"--set";
        argv[argc++] = settings[i];
    }
    fuzz_check(err);
    r = config_load(&config, argc, argv, err, err);
    fclose(err);
    fuzz_check(r == 1 || r == -EINVAL);
    check_complaints(said, r < 0);
    if (r < 0)
        return;
    check_config(&config);
    config_done(&config);
}

static const uint8_t *find_settings(const uint8_t *data, size_t size) {
    return memmem(data, size, SEPARATOR, strlen(SEPARATOR));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *behind = find_settings(data, size);
    size_t n = behind ? (size_t)(behind - data) : size, left = size - n;
    int fd = memfd_create("fuzz", MFD_CLOEXEC), n_settings = 0;
    char *settings[SETTINGS_MAX], path[32];

    fuzz_check(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (behind) {
        behind += strlen(SEPARATOR);
        left -= strlen(SEPARATOR);
        while (left > 0 && n_settings < SETTINGS_MAX)
            settings[n_settings++] = fuzz_line(&behind, &left);
    }
    load(path, settings, n_settings);
    while (n_settings > 0)
        free(settings[--n_settings]);
    close(fd);
    return 0;
}
