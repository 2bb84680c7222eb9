#include "daemon/master.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "daemon/config_keys.h"
#include "daemon/master_part.h"
#include "daemon/notify.h"

#define WINDOW_LANES 4096
#define WINDOW_JOBS 24576
#define WINDOW_USERS 1024
#define START_FAILURES 3
#define HOST_BACKOFF_MAX (60 * USEC_PER_SEC) /* of hosts that don't say how long */
#define DRAIN_TIMEOUT (5 * USEC_PER_SEC)     /* for answers under way when stopping */
#define STOP_MARGIN (20 * USEC_PER_SEC)      /* for what follows the grace */
#define STATUS_DELAY (1 * USEC_PER_SEC)

/* ---- systemd ---- */

static int on_status_due(sd_event_source *source, uint64_t usec, void *userdata) {
    struct master *m = userdata;
    const uint64_t *n = store_counts(m->store);
    struct dispatch_activity active;

    (void)source;
    (void)usec;
    if (m->methods.stopping)
        return 0;
    active = dispatch_activity(m->dispatch, 0);
    notify_send("%sSTATUS=%u active, %" PRIu64 " queued, %" PRIu64 " waiting, %" PRIu64
                " done, %" PRIu64 " failed",
                m->ready ? "READY=1\n" : "", /* in case that of a reload got lost */
                active.jobs, n[JOB_QUEUED] - MIN(n[JOB_QUEUED], (uint64_t)active.queued),
                n[JOB_WAITING], n[JOB_DONE], n[JOB_FAILED]);
    return 0;
}

/* Something has changed: the service manager hears of it soon, together with what else changes
 * until then. When nothing does, nothing wakes up. */
static void notify_status(struct master *m) {
    if (sd_event_source_get_enabled(m->status, NULL) > 0)
        return;
    if (sd_event_source_set_time_relative(m->status, STATUS_DELAY) >= 0)
        sd_event_source_set_enabled(m->status, SD_EVENT_ONESHOT);
}

static void on_job_moved(void *userdata) {
    notify_status(userdata);
}

/* ---- stopping: workers first, then the answers, then the loop ---- */

static void on_drained(void *userdata, int error, const struct store_batch *batch);

static void drained(struct master *m) {
    fault_point(stop_drained);
    if (dispatch_activity(m->dispatch, 0).jobs == 0)
        store_settled(m->store);
    sd_event_exit(m->event, m->failed ? -EIO : 0);
}

/* Ends the loop when no request waits for an answer of the store. */
static void drain(struct master *m) {
    bool late = now_usec(CLOCK_MONOTONIC) > m->drain_deadline;

    if (!late && store_batch_get(m->store, 0, on_drained, m) == 0)
        return;
    drained(m);
}

/* The store answers in order: all that was asked before has been answered. */
static void on_drained(void *userdata, int error, const struct store_batch *batch) {
    struct master *m = userdata;

    (void)error;
    (void)batch;
    if (control_n_requests(m->control) > 0)
        drain(m);
    else
        drained(m);
}

static void on_asked(void *userdata, int error, const struct store_batch *batch) {
    struct master *m = userdata;

    (void)error;
    (void)batch;
    watches_stop(m->watches);
    drain(m);
}

/* What the workers said last is in the store, and whoever waits for that has asked for the rest. */
static void on_recorded(void *userdata, int error, const struct store_batch *batch) {
    struct master *m = userdata;

    (void)error;
    (void)batch;
    if (store_batch_get(m->store, 0, on_asked, m) < 0)
        on_asked(m, 0, NULL);
}

static void on_stopped(void *userdata) {
    struct master *m = userdata;

    m->drain_deadline = now_usec(CLOCK_MONOTONIC) + DRAIN_TIMEOUT;
    if (store_batch_get(m->store, 0, on_recorded, m) < 0)
        on_recorded(m, 0, NULL);
}

/* Before the listener is closed: then nothing else can have got its inode. Another dld may have made
 * a socket of its own at the path. */
static void remove_socket(struct master *m) {
    struct stat st;

    if (m->socket.st_ino != 0 && lstat(m->config->socket_path, &st) == 0 &&
        st.st_dev == m->socket.st_dev && st.st_ino == m->socket.st_ino)
        unlink(m->config->socket_path);
    m->socket.st_ino = 0;
}

static void master_stop(struct master *m) {
    if (m->methods.stopping)
        return;
    m->methods.stopping = true;
    /* The grace may be longer than what the manager has patience for. */
    notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64
                "\nSTATUS=Stopping: transfers under way may end",
                m->config->master.stop_grace + STOP_MARGIN);
    remove_socket(m);
    control_stop(m->control);
    dispatch_stop(m->dispatch);
    pool_stop(m->pool, m->config->master.stop_grace);
    fault_point(stop_begun);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
    struct master *m = userdata;

    (void)source;
    m->stop_signals++;
    log_info("stopping: %s", strsignal((int)si->ssi_signo));
    if (m->stop_signals > 2)
        pool_kill(m->pool);
    else if (m->stop_signals > 1)
        pool_hurry(m->pool);
    else
        master_stop(m);
    return 0;
}

/* ---- what the parts report ---- */

static void on_ready(void *userdata) {
    struct master *m = userdata;

    m->ready = true;
    dispatch_start(m->dispatch, m->store, m->pool);
    /* This one must arrive: it is worth a wait, and nobody waits for us yet. */
    sd_notifyf(0, "READY=1\nSTATUS=Ready: %u workers", m->config->master.workers);
    log_info("ready: %u workers, socket %s, state %s, output %s", m->config->master.workers,
             m->config->socket_path, m->config->state_dir, m->config->output.root);
}

static void on_workers_failed(void *userdata) {
    struct master *m = userdata;

    log_error("workers can't be started; giving up");
    m->failed = true;
    master_stop(m);
}

static void on_job_ended(void *userdata, const struct job *job) {
    struct master *m = userdata;

    watches_job_ended(m->watches, job);
}

static void on_client_gone(void *userdata, struct client *client) {
    struct master *m = userdata;

    watches_client_gone(m->watches, client);
}

/* ---- starting ---- */

static int open_store(struct master *m) {
    struct store_settings settings = {
        .ready = dispatch_on_ready,
        .leftover = dispatch_on_leftover,
        .userdata = m->dispatch,
        .keep_age = m->config->history.keep.age,
        .keep_count = m->config->history.keep.count,
    };
    _cleanup_free_ char *why = NULL;
    int r = store_open(&m->store, m->event, m->config->state_dir, &settings, &why);

    if (r < 0)
        log_error("%s", why ? why : strerror(-r));
    fault_point(store_opened);
    return r;
}

void master_pool_settings(const struct master *m, struct pool_settings *ret) {
    const struct config *c = m->config;

    *ret = (struct pool_settings){
        .n_workers = c->master.workers,
        .root_fd = m->root_fd,
        .lock_fd = m->lock.workers,
        .rates_fd = rates_fd(m->rates),
        .start_failures = START_FAILURES,
        .hang_usec = c->worker.hang_time,
        .max_rss = c->worker.max_rss,
        .max_jobs = c->worker.max_jobs,
        .drain_usec = c->master.stop_grace,
        .config =
            {
                .transfers = c->worker.transfers,
                .fsync = (uint8_t)c->transfer.fsync,
                .sync_interval_usec = c->transfer.sync_interval,
                .min_free_space = c->transfer.min_free_space,
                .connect_timeout_usec = c->transfer.connect_timeout,
                .low_speed_limit = c->transfer.low_speed_limit,
                .low_speed_time_usec = c->transfer.low_speed_time,
                .max_redirects = c->transfer.max_redirects,
                .file_mode = c->output.mode,
                .dir_mode = c->output.dir_mode,
                .store_id = store_id(m->store),
                .ca_file = *c->transfer.ca_file ? c->transfer.ca_file : NULL,
                .schemes = c->network.schemes,
                .deny = c->network.deny,
                .allow = c->network.allow,
                .proxy = *c->network.proxy ? c->network.proxy : NULL,
                .known_hosts = c->transfer.known_hosts,
                .segment_min = c->transfer.segment_min,
                .connections = c->transfer.connections,
                .digest = config_digest_name(c->transfer.digest),
            },
    };
}

static int start_pool(struct master *m) {
    struct pool_settings settings;
    struct pool_handlers handlers = {
        .ready = on_ready,
        .failed = on_workers_failed,
        .stopped = on_stopped,
        .userdata = m,
        .jobs =
            {
                .room = dispatch_on_room,
                .find = dispatch_on_find,
                .fetched = dispatch_on_fetched,
                .widen = dispatch_on_widen,
                .checkpoint = dispatch_on_checkpoint,
                .result = dispatch_on_result,
                .stuck = dispatch_on_stuck,
                .lost = dispatch_on_lost,
                .discarded = dispatch_on_discarded,
                .gone = dispatch_on_gone,
                .userdata = m->dispatch,
            },
    };
    int r;

    master_pool_settings(m, &settings);
    r = pool_new(&m->pool, m->event, &settings, &handlers);
    if (r == -ENOENT)
        log_error(
            "the program dld-worker is not there: it belongs beside dld, or in ../libexec/dld");
    else if (r < 0)
        log_error("workers can't be started: %s", strerror(-r));
    fault_point(workers_started);
    return r;
}

static void host_policy(void *userdata, const char *host, struct sched_policy *ret) {
    const struct config *c = ((struct master *)userdata)->config;

    struct config_host values;

    config_host(c, host, &values);
    *ret = (struct sched_policy){
        .connections = values.connections,
        .delay = values.delay,
        .base = MIN(c->retry.base, HOST_BACKOFF_MAX),
        .max = MIN(c->retry.max, HOST_BACKOFF_MAX),
        .patience = c->retry.count + 1,
    };
}

/* A worker has as many jobs as it has slots, and at most as many again ahead; and one that it
 * replaces has some. */
static int start_rates(struct master *m) {
    const struct config *c = m->config;
    int r = rates_new(&m->rates, m->event, c, 3 * c->master.workers * c->worker.transfers);

    if (r < 0)
        log_error("the memory for limits on speed can't be made: %s", strerror(-r));
    return r;
}

void master_policy(const struct config *c, struct attempt_policy *ret) {
    *ret = (struct attempt_policy){.retries = c->retry.count,
                                   .base = c->retry.base,
                                   .max = c->retry.max,
                                   .crash_limit = c->master.crash_limit};
}

void master_access(const struct config *c, struct access_settings *ret) {
    *ret = (struct access_settings){
        .dir = c->credentials.dir, .proxy = c->network.proxy, .proxy_auth = c->network.proxy_auth};
}

static int start_dispatch(struct master *m) {
    struct dispatch_settings settings = {
        .sched = {.max_lanes = WINDOW_LANES,
                  .max_jobs = WINDOW_JOBS,
                  .max_users = WINDOW_USERS,
                  .policy = host_policy,
                  .userdata = m},
        .rates = m->rates,
        .ended = on_job_ended,
        .moved = on_job_moved,
        .userdata = m,
    };

    master_policy(m->config, &settings.policy);
    master_access(m->config, &settings.access);
    return dispatch_new(&m->dispatch, m->event, &settings);
}

/* The socket that systemd passed, or one of our own. */
static int listening_socket(struct master *m) {
    const struct config *c = m->config;
    int n = sd_listen_fds(1), fd;

    if (n > 1) {
        log_error("%d sockets were passed, one is expected (see dld.socket)", n);
        return -EINVAL;
    }
    if (n == 1) {
        fd = SD_LISTEN_FDS_START;
        if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0) {
            log_error("the socket that was passed is not a listening AF_UNIX stream socket");
            return -EINVAL;
        }
        return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : fd;
    }
    fd = control_listen(c->socket_path, c->control.mode, c->control.group);
    if (fd >= 0)
        lstat(c->socket_path, &m->socket);
    if (fd == -EADDRINUSE)
        log_error("another daemon listens on %s; stop it, or give this one another with --socket",
                  c->socket_path);
    else if (fd < 0)
        log_error("%s can't be listened on: %s", c->socket_path, strerror(-fd));
    return fd;
}

static int start_control(struct master *m) {
    struct control_settings settings = {
        .max_line = m->config->control.max_line,
        .methods = methods_table,
        .client_gone = on_client_gone,
        .method_userdata = &m->methods,
        .userdata = m,
    };
    int fd = listening_socket(m), r;

    if (fd < 0)
        return fd;
    m->methods = (struct methods){
        .store = m->store,
        .dispatch = m->dispatch,
        .pool = m->pool,
        .watches = m->watches,
        .rates = m->rates,
        .quota = m->config->quota.jobs,
        .reload = master_reload,
        .reload_userdata = m,
        .started = now_usec(CLOCK_MONOTONIC),
    };
    r = control_new(&m->control, m->event, fd, &settings);
    if (r < 0)
        log_error("the control socket can't be served: %s", strerror(-r));
    fault_point(control_opened);
    return r;
}

int master_open_root(const struct config *c, int *ret) {
    int r = make_directories(c->output.root, c->output.dir_mode);

    if (r == 0) {
        *ret = open(c->output.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = *ret < 0 ? -errno : 0;
    }
    if (r < 0)
        log_error("the output root %s can't be used: %s", c->output.root, strerror(-r));
    return r;
}

static int open_directories(struct master *m) {
    const struct config *c = m->config;
    int r = make_directories(c->state_dir, 0700);

    if (r < 0) {
        log_error("the state directory %s can't be made: %s", c->state_dir, strerror(-r));
        return r;
    }
    r = state_dir_lock(c->state_dir, &m->lock);
    if (r < 0)
        return r;
    fault_point(state_locked);
    return master_open_root(c, &m->root_fd);
}

static int start_loop(struct master *m) {
    int r = sd_event_default(&m->event);

    if (r >= 0)
        r = sd_event_add_signal(m->event, NULL, SIGTERM, on_signal, m);
    if (r >= 0)
        r = sd_event_add_signal(m->event, NULL, SIGINT, on_signal, m);
    if (r >= 0)
        r = sd_event_add_signal(m->event, NULL, SIGHUP, on_reload_signal, m);
    if (r >= 0)
        r = sd_event_add_time_relative(m->event, &m->status, CLOCK_MONOTONIC, 0, STATUS_DELAY,
                                       on_status_due, m);
    if (r >= 0)
        r = sd_event_source_set_enabled(m->status, SD_EVENT_OFF);
    if (r >= 0)
        r = notify_watchdog(m->event, &m->watchdog);
    if (r < 0)
        log_error("the event loop can't be set up: %s", strerror(-r));
    return r < 0 ? r : 0;
}

/* sd-event wants the signals that it handles blocked in every thread; workers start with an empty
 * mask. */
static int block_signals(void) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static void raise_fd_limit(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int master_start(struct master *m) {
    int r = block_signals();

    raise_fd_limit();
    if (r == 0)
        r = open_directories(m);
    if (r == 0)
        r = start_loop(m);
    if (r == 0)
        r = start_rates(m);
    if (r == 0)
        r = start_dispatch(m);
    if (r == 0)
        r = open_store(m);
    if (r == 0) {
        m->watches = watches_new(m->store);
        r = m->watches ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = start_pool(m);
    if (r == 0)
        r = start_control(m);
    return r;
}

/* The control first: its clients refer to the rest. */
static void master_done(struct master *m) {
    remove_socket(m);
    control_free(m->control);
    watches_free(m->watches);
    pool_free(m->pool);
    store_close(m->store);
    dispatch_free(m->dispatch);
    rates_free(m->rates);
    sd_event_source_disable_unref(m->status);
    sd_event_source_disable_unref(m->watchdog);
    sd_event_unref(m->event);
    close_fd(m->root_fd);
    state_dir_unlock(&m->lock);
}

int master_run(struct config *config, int argc, char **argv) {
    struct master m = {.config = config,
                       .argc = argc,
                       .argv = argv,
                       .root_fd = -1,
                       .lock = {.master = -1, .workers = -1}};
    int r = master_start(&m);

    if (r == 0) {
        if (config->transfer.fsync == FSYNC_NEVER)
            log_notice(
                "fsync = never: files may be lost in a power cut though their jobs are done");
        r = sd_event_loop(m.event);
        if (r < 0 && !m.failed)
            log_error("dld can't go on: %s", strerror(-r));
    }
    master_done(&m);
    return r;
}
