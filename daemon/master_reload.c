#include "daemon/master_part.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "daemon/config_diff.h"
#include "daemon/notify.h"

#define NAMES_MAX (16 * KIB)

/* Names for the log, and for whoever asked. */
struct names {
    struct buf changed, restart;
    struct reload *reload;
};

static void names_done(struct names *n) {
    buf_done(&n->changed);
    buf_done(&n->restart);
}

static void on_difference(void *userdata, const char *name, bool live) {
    struct names *n = userdata;
    struct buf *b = live ? &n->changed : &n->restart;

    buf_addf(b, "%s%s", buf_size(b) > 0 ? ", " : "", name);
    json_str(live ? &n->reload->changed : &n->reload->restart, NULL, name);
}

static void log_names(struct names *n) {
    const char *changed = buf_cstr(&n->changed), *restart = buf_cstr(&n->restart);

    log_notice("the configuration was read again; %s%s",
               changed && *changed ? "changed: " : "nothing changes", changed ? changed : "");
    if (restart && *restart)
        log_warning("changed, but it takes a restart: %s", restart);
}

/* What config_load() wrote: lines that begin with "dld: ". */
static void take_errors(char *text, struct buf *why) {
    static const char prefix[] = "dld: ", warning[] = "warning: ";
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, prefix, strlen(prefix)) == 0)
            line += strlen(prefix);
        if (strncmp(line, warning, strlen(warning)) == 0)
            continue;
        log_error("%s", line);
        buf_addf(why, "%s%s", buf_size(why) > 0 ? "; " : "", line);
    }
    log_error("the configuration has errors and was not changed");
}

/* 0, -EINVAL (logged) or -ENOMEM. */
static int load(const struct master *m, struct config *ret, struct buf *why) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int r;

    if (!f)
        return -ENOMEM;
    r = config_load(ret, m->argc, m->argv, f, f);
    if (fclose(f) == EOF || !text) {
        if (r > 0)
            config_done(ret);
        return -ENOMEM;
    }
    if (r < 0)
        take_errors(text, why);
    return r < 0 ? -EINVAL : 0;
}

/* Takes over next; on failure it is freed. Only the first step can fail. */
static int put_in_force(struct master *m, struct config *next) {
    struct config old = *m->config;
    struct pool_settings pool;
    struct attempt_policy policy;
    struct access_settings access;
    int r;

    config_exchange_fixed(&old, next);
    *m->config = *next;
    r = rates_configured(m->rates);
    if (r < 0) {
        config_exchange_fixed(&old, next);
        *m->config = old;
        config_done(next);
        return r;
    }
    master_policy(m->config, &policy);
    master_access(m->config, &access);
    dispatch_configure(m->dispatch, &policy, &access);
    master_pool_settings(m, &pool);
    pool_configure(m->pool, &pool);
    m->methods.quota = m->config->quota.jobs;
    control_set_max_line(m->control, m->config->control.max_line);
    store_set_keep(m->store, m->config->history.keep.age, m->config->history.keep.count);
    log_set_level(m->config->log.level);
    config_done(&old);
    return 0;
}

/* Is what the root's path leads to still what the workers have? */
static bool root_in_place(const struct master *m) {
    struct stat ours, there;

    return fstat(m->root_fd, &ours) == 0 && stat(m->config->output.root, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* Opens it again where it isn't in place, into *ret. 0 or -EINVAL (logged). */
static int reopen_root(const struct master *m, struct names *n, int *ret) {
    int r = root_in_place(m) ? 0 : master_open_root(m->config, ret);

    if (r == 0)
        return 0;
    buf_addf(&n->reload->why, "the output root %s can't be used: %s", m->config->output.root,
             strerror(-r));
    log_error("the configuration was not changed");
    return -EINVAL;
}

static int reload(struct master *m, struct names *n) {
    int root = -1, old = m->root_fd;
    struct config next;
    int r = load(m, &next, &n->reload->why);

    if (r < 0)
        return r;
    r = reopen_root(m, n, &root);
    if (r < 0) {
        config_done(&next);
        return r;
    }
    config_differences(m->config, &next, on_difference, n);
    if (root >= 0) {
        m->root_fd = root;
        on_difference(n, "output.root (what it leads to)", true);
    }
    r = put_in_force(m, &next);
    if (r == 0)
        log_names(n);
    if (r < 0 && root >= 0)
        m->root_fd = old;
    close_fd(m->root_fd == old ? root : old);
    return r;
}

int master_reload(void *userdata, struct reload *ret) {
    _cleanup_(names_done) struct names n = {
        .changed = BUF_INIT(NAMES_MAX), .restart = BUF_INIT(NAMES_MAX), .reload = ret};
    struct master *m = userdata;
    int r;

    if (!m->ready || m->methods.stopping)
        return -EBUSY;
    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reading the configuration",
                now_usec(CLOCK_MONOTONIC));
    json_begin(&ret->changed, NULL, '[');
    json_begin(&ret->restart, NULL, '[');
    r = reload(m, &n);
    json_end(&ret->changed, ']');
    json_end(&ret->restart, ']');
    notify_send("READY=1\nSTATUS=Ready: %u workers", m->config->master.workers);
    if (r == -ENOMEM)
        log_error("the configuration was not changed: out of memory");
    return r == 0 && (buf_error(&ret->changed) || buf_error(&ret->restart)) ? -ENOMEM : r;
}

int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
    struct reload nobody = {
        .changed = BUF_INIT(NAMES_MAX), .restart = BUF_INIT(NAMES_MAX), .why = BUF_INIT(NAMES_MAX)};

    (void)source;
    (void)si;
    if (master_reload(userdata, &nobody) == -EBUSY)
        log_notice("the configuration is not read again while dld starts or stops");
    buf_done(&nobody.changed);
    buf_done(&nobody.restart);
    buf_done(&nobody.why);
    return 0;
}
