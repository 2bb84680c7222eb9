/*
 * dld-worker - fetches what the master tells it to; started by dld, never by hand.
 *
 *   main.c       start and end: descriptors inherited, signals, limits, the loop
 *   link.c       messages from and to the master
 *   desk*.c      the jobs in hand: gives out slots, passes on, reports; knows all the parts below;
 *                _stages: the way of a job from the queue to its end
 *   settings.c   what the master configured
 *   beat.c       shows the master that the loop turns, and which job it is at
 *   task.c       one job, from JOB to RESULT
 *   queue.c      jobs that wait for a slot
 *
 *   session.c    the one curl session: a multi handle on the event loop
 *   transfer*.c  one attempt: what curl calls while it runs; _end: what came of it; _rest: going on
 *                with kept bytes;
 *                _remote: times, versions and names from the server; _line: what came over which
 *                connection; _rate: limits on its speed; _segments: one file over several
 *                connections
 *   segments_fill.c  begins those; pieces.c: which of them fetches which part
 *   line*.c      connections on which a server may have sent one answer too many
 *   transfer_ftp.c, ftp.c   the same for FTP, FTPS and SFTP
 *   known_hosts.c  host keys of SFTP servers
 *   aside.c      transfers in which libcurl may wait, each in a thread of its own
 *   request.c    the options of an easy handle
 *   identity.c   by what a request shows who it is, and to whom
 *   throttle.c   holds back transfers that limits on bytes a second don't let go on
 *   address.c    a URL as dld's and curl's parsers see it
 *   chunks.c     chunked bodies, read strictly
 *   h2_end.c     streams of HTTP/2 that are reset before their end
 *   header.c     status lines and redirects that curl takes too lightly
 *   answer.c     how an attempt ended: error statuses, and curl's successes checked again
 *   curlcode.c   curl's error codes as ours
 *   status.c     what HTTP statuses are called
 *   failure.c    an error with its sentence
 *
 *   target.c     what is at a job's target before anything is fetched
 *   dirs.c       directories beneath the output root
 *   sink.c       the part file
 *   unnamed.c    files that need none
 *   said.c       what the first answer said, kept with the part
 *   owner.c      the mark by which a file is known to be this queue's
 *   parcel.c     a finished part file on its way to its name
 *   place.c      giving it the name
 *   round.c      making a group of them durable
 *   publish.c    the thread that does so
 */
#include <errno.h>
#include <fcntl.h>
#include <curl/curl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "common/exitcode.h"
#include "common/log.h"
#include "common/ratelimit.h"
#include "common/scoreboard.h"
#include "common/util.h"
#include "common/wire.h"
#include "daemon/worker/desk.h"
#include "daemon/worker/link.h"

#define FILES_MAX 65536               /* descriptors, where the hard limit allows them */
#define MEMORY_KEPT (16 << 20)        /* bytes that free() keeps for the next malloc() */
#define LAST_WORDS (5 * USEC_PER_SEC) /* for the master to take the last results */

struct worker {
    sd_event *event;
    struct link *link;
    struct desk *desk; /* NULL until CONFIG has come */
    struct scoreboard *board;
    uint32_t n_rows;
    struct ratelimit rates;
};

/* ---- what link.c calls ---- */

static int on_config(void *userdata, const struct wire_config *config) {
    struct worker *w = userdata;
    int r;

    if (config->transfers == 0 || config->transfers > SCOREBOARD_MAX_ROWS || !config->store_id)
        return -EBADMSG;
    r = scoreboard_map(WORKER_FD_SCOREBOARD, config->transfers, &w->board);
    if (r < 0)
        return r;
    w->n_rows = config->transfers;
    r = ratelimit_map(WORKER_FD_RATES, &w->rates);
    if (r < 0)
        return r;
    r = desk_new(&w->desk, w->event, w->link, w->board, &w->rates, WORKER_FD_ROOT, config);
    if (r == 0)
        return 0;
    log_error("the worker can't start: %s",
              r == -ENOSYS ? "openat2() is not there: it takes Linux 5.6 or later, and no "
                             "RestrictSUIDSGID= in the service's unit"
                           : strerror(-r));
    _exit(WORKER_FAILED);
}

static int on_job(void *userdata, const struct wire_job *job) {
    struct worker *w = userdata;

    return desk_job(w->desk, job);
}

static int on_cancel(void *userdata, int64_t id) {
    struct worker *w = userdata;

    return desk_cancel(w->desk, id);
}

static int on_discard(void *userdata, const struct wire_discard *message) {
    struct worker *w = userdata;

    return desk_discard(w->desk, message);
}

static int on_release(void *userdata, int64_t id) {
    struct worker *w = userdata;

    return desk_release(w->desk, id);
}

static int on_widened(void *userdata, const struct wire_widened *widened) {
    struct worker *w = userdata;

    return desk_widened(w->desk, widened);
}

static int on_rate(void *userdata, const struct wire_rate *rate) {
    struct worker *w = userdata;

    return desk_rate(w->desk, rate);
}

static int on_drain(void *userdata) {
    struct worker *w = userdata;

    return desk_drain(w->desk);
}

static int on_stop(void *userdata) {
    struct worker *w = userdata;

    return desk_stop(w->desk);
}

/* ---- start ---- */

/* What the master handed over is what wire.h says, and nothing else stays open. */
static int check_descriptors(void) {
    int type = 0;
    socklen_t size = sizeof(type);
    struct stat st;

    if (getsockopt(WORKER_FD_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        type != SOCK_SEQPACKET)
        return -EBADF;
    if (fstat(WORKER_FD_ROOT, &st) < 0 || !S_ISDIR(st.st_mode))
        return -EBADF;
    for (int fd = WORKER_FD_CHANNEL; fd < WORKER_FD_MAX_; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return -EBADF;
    if (close_range(WORKER_FD_MAX_, ~0U, 0) < 0 && errno != ENOSYS)
        return -errno;
    return 0;
}

/* A Ctrl-C or a `systemctl stop` reaches every process of the service, but it is the master that
 * says what becomes of the jobs: the worker ends by STOP, with its master, or by SIGKILL. */
static int setup_signals(void) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    sigset_t none;

    for (size_t i = 0; i < ELEMENTSOF(ignored); i++)
        if (signal(ignored[i], SIG_IGN) == SIG_ERR)
            return -errno;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return -errno;
    /* A master that died before this line is noticed by the end of the channel. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
}

static void raise_limits(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_MAX)
        return;
    limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)FILES_MAX);
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* libcurl allocates a receive buffer for each transfer, large enough for malloc() to give it back
 * to the kernel each time, only to ask for it again. */
static void keep_memory(void) {
    mallopt(M_MMAP_THRESHOLD, MEMORY_KEPT);
    mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT);
}

static int worker_setup(struct worker *w) {
    struct link_handlers handlers = {
        .config = on_config,
        .job = on_job,
        .cancel = on_cancel,
        .discard = on_discard,
        .release = on_release,
        .rate = on_rate,
        .widened = on_widened,
        .drain = on_drain,
        .stop = on_stop,
        .userdata = w,
    };
    int r = setup_signals();

    if (r < 0)
        return r;
    umask(0);
    raise_limits();
    keep_memory();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    r = sd_event_new(&w->event);
    if (r < 0)
        return r;
    return link_new(&w->link, w->event, WORKER_FD_CHANNEL, &handlers);
}

static void worker_done(struct worker *w) {
    desk_free(w->desk);
    link_free(w->link);
    scoreboard_unmap(w->board, w->n_rows);
    ratelimit_done(&w->rates);
    sd_event_unref(w->event);
    curl_global_cleanup();
}

int main(int argc, char **argv) {
    struct worker w = {0};
    int r;

    (void)argv;
    log_init("dld-worker", LOG_NOTICE);
    if (argc > 1 || check_descriptors() < 0) {
        log_error("this program is started by dld and is of no use by itself");
        return WORKER_FAILED;
    }
    r = worker_setup(&w);
    if (r >= 0)
        r = sd_event_loop(w.event);
    if (r < 0) {
        log_error("the worker can't go on: %s", strerror(-r));
        r = WORKER_FAILED;
    }
    if (w.link)
        link_flush(w.link, LAST_WORDS);
    worker_done(&w);
    return r;
}
