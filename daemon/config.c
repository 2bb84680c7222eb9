#include "daemon/config.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "common/paths.h"
#include "common/util.h"
#include "daemon/config_file.h"
#include "daemon/config_keys.h"
#include "daemon/config_named.h"
#include "daemon/config_options.h"

struct load {
    struct config config;
    struct config_errors errors;
    struct config_options options;
};

static void load_done(struct load *l) {
    config_done(&l->config);
    config_options_done(&l->options);
}

void config_done(struct config *c) {
    free(c->socket_path);
    free(c->state_dir);
    free(c->output.root);
    free(c->control.group);
    free(c->transfer.ca_file);
    free(c->network.deny);
    free(c->network.allow);
    free(c->transfer.known_hosts);
    free(c->network.schemes);
    free(c->network.proxy);
    free(c->network.proxy_auth);
    free(c->credentials.dir);
    config_named_done(c);
    *c = (struct config){0};
}

/* --- environment --- */

#define VARIABLE_MAX 64 /* bytes of a variable's name */

static void variable_name(const struct config_key *k, char *ret) {
    snprintf(ret, VARIABLE_MAX, "DLD_%s_%s", k->section, k->name);
    for (; *ret; ret++)
        *ret = (char)(*ret >= 'a' && *ret <= 'z' ? *ret - 'a' + 'A' : *ret);
}

/* A name that means nothing here is more likely a slip than an error: other programs may have
 * theirs. */
static void variables_warn(struct load *l, const char *const *known) {
    for (char **e = environ; *e; e++) {
        char name[VARIABLE_MAX];
        const char *const *k = known;
        const char *meant;

        if (strncmp(*e, "DLD_", 4) != 0)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)MIN(strcspn(*e, "="), sizeof(name) - 1), *e);
        while (*k && !streq(*k, name))
            k++;
        if (*k)
            continue;
        meant = nearest(name, known);
        fprintf(l->errors.err, "dld: warning: %s: unknown variable, ignored%s%s%s\n", name,
                meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
    }
}

static void environment_apply(struct load *l) {
    char names[CONFIG_KEYS_MAX][VARIABLE_MAX];
    const char *known[CONFIG_KEYS_MAX + 4];
    size_t n = 0;

    for (; n < config_n_keys; n++) {
        const char *value;

        variable_name(&config_keys[n], names[n]);
        known[n] = names[n];
        value = getenv(names[n]);
        if (value)
            config_key_assign(&config_keys[n], value, &l->config, names[n], &l->errors);
    }
    known[n++] = "DLD_CONFIG";
    known[n++] = "DLD_SOCKET";
    known[n++] = "DLD_STATE_DIR";
    known[n] = NULL;
    variables_warn(l, known);
}

/* --- files --- */

/* Option, else a variable that is not empty, else NULL. */
static const char *first_given(const char *option, const char *variable) {
    const char *value = getenv(variable);

    return option ? option : value && *value ? value : NULL;
}

static const char *path_error(int error) {
    return error == -ENXIO ? "no home directory is known" : strerror(-error);
}

/* A field may stay NULL: a default beneath the home directory where there is none. */
static int defaults_apply(struct load *l) {
    _cleanup_(buf_done) struct buf why = BUF_INIT(KIB);
    bool own = !path_is_system();

    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        const char *value = own && k->standard_user ? k->standard_user : k->standard;
        int r = config_key_set(k, value, &l->config, &why);

        if (r < 0 && r != -EINVAL)
            return r;
    }
    return 0;
}

/* Where systemd gives a state directory, little else may be writable: files go there as well. */
static int default_root_apply(struct load *l) {
    _cleanup_free_ char *dir = NULL, *root = NULL;
    int r = path_from_systemd("STATE_DIRECTORY", &dir);

    if (r <= 0)
        return r;
    r = path_join(dir, "downloads", &root);
    if (r < 0)
        return r;
    free(l->config.output.root);
    l->config.output.root = TAKE_PTR(root);
    return 0;
}

/* What systemd hands over, with LoadCredential=, is meant to be used. */
static int default_credentials_apply(struct load *l) {
    _cleanup_free_ char *dir = NULL;
    int r = path_default_credentials(&dir);

    if (r == -ENXIO)
        return 0;
    if (r < 0)
        return r;
    free(l->config.credentials.dir);
    l->config.credentials.dir = TAKE_PTR(dir);
    return 0;
}

/* A named file must be there; the default one may be missing. */
static int files_apply(struct load *l) {
    _cleanup_free_ char *path = NULL, *directory = NULL;
    const char *named = first_given(l->options.file, "DLD_CONFIG");
    int r = named ? path_absolute(named, &path) : path_default_config(&path);

    if (r == -ENXIO && !named)
        return 0; /* nowhere to look */
    if (r < 0)
        return r;
    r = config_file_read(path, &l->config, &l->errors);
    if (r < 0 && named)
        config_error(&l->errors, "%s: can't be opened: %s; %s names it", path, strerror(-r),
                     l->options.file ? "--config" : "DLD_CONFIG");
    if (asprintf(&directory, "%s.d", path) < 0) {
        directory = NULL;
        return -ENOMEM;
    }
    config_directory_read(directory, &l->config, &l->errors);
    return 0;
}

/* --- paths --- */

static int socket_path_choose(const char *named, char **ret) {
    _cleanup_free_ char *dir = NULL;
    int r;

    if (named)
        return path_absolute(named, ret);
    r = path_from_systemd("RUNTIME_DIRECTORY", &dir);
    if (r != 0)
        return r < 0 ? r : path_join(dir, "control.sock", ret);
    return path_default_socket(ret);
}

static void socket_path_apply(struct load *l) {
    const char *named = first_given(l->options.socket, "DLD_SOCKET");
    char **path = &l->config.socket_path;
    int r;

    if (named && !*named) {
        config_error(&l->errors, "--socket: expected a path");
        return;
    }
    r = socket_path_choose(named, path);
    if (r == -ENXIO)
        config_error(&l->errors, "XDG_RUNTIME_DIR is not set, so there is no place for the "
                                 "control socket; give --socket PATH or set DLD_SOCKET");
    else if (r < 0)
        config_error(&l->errors, "--socket: %s", strerror(-r));
    else if (strlen(*path) > PATH_SOCKET_MAX)
        config_error(&l->errors,
                     "%s: the path of a socket has at most %zu bytes, this has %zu; "
                     "give a shorter --socket",
                     *path, PATH_SOCKET_MAX, strlen(*path));
}

static void state_dir_apply(struct load *l) {
    const char *named = first_given(l->options.state_dir, "DLD_STATE_DIR");
    char **path = &l->config.state_dir;
    int r;

    if (named && !*named) {
        config_error(&l->errors, "--state-dir: expected a path");
        return;
    }
    r = named ? path_absolute(named, path) : path_default_state(path);
    if (r < 0)
        config_error(&l->errors, "there is no place for the queue: %s; give --state-dir DIR",
                     path_error(r));
}

static void root_finish(struct load *l) {
    _cleanup_free_ char *given = TAKE_PTR(l->config.output.root);
    int r = given ? path_absolute(given, &l->config.output.root) : -ENXIO;

    if (r < 0)
        config_error(&l->errors, "there is no place for files: %s; give --output-root DIR",
                     path_error(r));
}

static void credentials_finish(struct load *l) {
    _cleanup_free_ char *given = TAKE_PTR(l->config.credentials.dir);
    int r = given ? path_absolute(given, &l->config.credentials.dir) : 0;

    if (r < 0)
        config_error(&l->errors, "[credentials] dir: %s", path_error(r));
}

/* --- cores --- */

#define CPUS_MAX 8192 /* as many as the kernel can be built for */

/* How many cores this process may run on, at least 1. */
static unsigned core_count(void) {
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    int n = 0;

    if (set && sched_getaffinity(0, size, set) == 0)
        n = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return (unsigned)MAX(n, 1);
}

static void workers_finish(struct load *l) {
    const struct config_key *workers = config_key_find("master", "workers");

    if (l->config.master.workers == 0)
        l->config.master.workers = (unsigned)MIN(core_count(), workers->max);
}

static int sources_apply(struct load *l) {
    int r = defaults_apply(l);

    if (r < 0)
        return r;
    r = default_root_apply(l);
    if (r >= 0)
        r = default_credentials_apply(l);
    if (r < 0)
        return r;
    r = files_apply(l);
    if (r < 0)
        return r;
    environment_apply(l);
    config_options_apply(&l->options, &l->config, &l->errors);
    socket_path_apply(l);
    state_dir_apply(l);
    root_finish(l);
    credentials_finish(l);
    workers_finish(l);
    config_named_finish(&l->config, &l->errors);
    return 0;
}

int config_load(struct config *ret, int argc, char **argv, FILE *out, FILE *err) {
    _cleanup_(load_done) struct load l = {.errors = {.err = err}};
    int r = config_options_read(&l.options, argc, argv, out, &l.errors);
    bool answered = r == 1;

    if (r == 0)
        r = sources_apply(&l);
    if (r < 0)
        config_error(&l.errors, "the configuration can't be read: %s", strerror(-r));
    if (l.errors.count > 0)
        return -EINVAL;
    if (answered || l.options.check)
        return 0;
    l.config.task = l.options.task;
    *ret = l.config;
    l.config = (struct config){0};
    return 1;
}
