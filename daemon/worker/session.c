#include "daemon/worker/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/worker/beat.h"

#define EVENTS_PER_TURN 64
#define ROUNDS_PER_TURN                                                                            \
    8 /* of starting what has become due, before other sources get their turn                      \
       */

/* Connections kept, for each slot and in all. */
#define KEPT_PER_SLOT 4
#define KEPT_MIN 64
#define KEPT_MAX 1024

#define WATCH_RETRY (50 * USEC_PER_MSEC)

/* Seconds for which the addresses of a name are known. libcurl goes through all that it knows after
 * each transfer, so with many hosts these must be few. */
#define NAMES_KEPT 5L

/* Threads that look up a name go on after the transfer that asked has given up. So many may be at
 * it. */
#define LOOKUPS_PER_SLOT 4
#define LOOKUPS_MIN 64

/* What is watched on a descriptor. A connection's socket stays in the epoll set while it lies idle
 * between two transfers, which saves two system calls for each; that is safe because curl tells us
 * before it closes such a socket. Others (of name lookups) it closes by itself, so they go at once.
 */
struct watch {
    uint8_t armed;  /* EPOLLIN | EPOLLOUT as the kernel has it, 0: not in the set */
    uint8_t wanted; /* as curl has it */
    bool connection;
};

struct session {
    CURLM *multi;
    CURLSH *share;
    int epoll;
    sd_event_source *io, *timer, *defer;
    struct lines *lines;
    struct watch *watches; /* by descriptor */
    size_t n_watches;
    uint64_t wake_wanted; /* CLOCK_MONOTONIC: curl's timer, USEC_INFINITY: none */
    uint64_t wake_armed;  /* the source's, never later than wake_wanted */
    bool unwatched;       /* some of the watches are not as curl wants them: watch_again() */
    bool due;             /* curl wants to be called now */
    bool running;         /* it is being called: due will be seen */
    int threads_fd;       /* /proc/self/task, -1: none */
    unsigned threads_max;
    struct scoreboard *board;
    session_ended_fn *on_ended;
    void *userdata;
};

/* ---- sockets ---- */

static struct watch *watch_get(struct session *s, int fd) {
    if ((size_t)fd >= s->n_watches) {
        size_t n = MAX((size_t)fd + 1, s->n_watches * 2);
        struct watch *w = realloc(s->watches, n * sizeof(*w));

        if (!w)
            return NULL;
        for (size_t i = s->n_watches; i < n; i++)
            w[i] = (struct watch){0};
        s->watches = w;
        s->n_watches = n;
    }
    return &s->watches[fd];
}

static int watch_arm(struct session *s, int fd, struct watch *w, uint8_t events) {
    struct epoll_event e = {.events = events, .data.fd = fd};
    int op = events == 0 ? EPOLL_CTL_DEL : w->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (w->armed == events)
        return 0;
    if (epoll_ctl(s->epoll, op, fd, &e) == 0 || op == EPOLL_CTL_DEL) {
        w->armed = events;
        return 0;
    }
    /* A descriptor closed without our being told has left the set by itself. */
    if (op != EPOLL_CTL_MOD || errno != ENOENT || epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
        return -1;
    w->armed = events;
    return 0;
}

/* There is no memory for it, or the user has too many. To tell curl would be the end of all that it
 * is at; instead it is tried again. */
static void watch_later(struct session *s) {
    uint64_t at = now_usec(CLOCK_MONOTONIC) + WATCH_RETRY;

    s->unwatched = true;
    if (s->wake_armed <= at || sd_event_source_set_time(s->timer, at) < 0)
        return;
    s->wake_armed = at;
    sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void watch_again(struct session *s) {
    bool failed = false;

    for (size_t fd = 0; s->unwatched && fd < s->n_watches; fd++) {
        struct watch *w = &s->watches[fd];

        failed |= w->wanted != 0 && watch_arm(s, (int)fd, w, w->wanted) < 0;
    }
    s->unwatched = false;
    if (failed)
        watch_later(s);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *of_socket) {
    struct session *s = userdata;
    struct watch *w = watch_get(s, fd);

    (void)easy;
    (void)of_socket;
    if (!w)
        return -1;
    w->wanted = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        w->wanted |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        w->wanted |= EPOLLOUT;
    if (w->wanted == 0 && w->connection)
        return 0;
    if (watch_arm(s, fd, w, w->wanted) < 0)
        watch_later(s);
    return 0;
}

curl_socket_t session_open(struct session *s, const struct curl_sockaddr *address) {
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    struct watch *w;

    if (fd < 0)
        return CURL_SOCKET_BAD;
    w = watch_get(s, fd);
    if (!w) {
        close_fd(fd);
        return CURL_SOCKET_BAD;
    }
    *w = (struct watch){.connection = true};
    line_open(s->lines, fd);
    return fd;
}

static int on_close(void *userdata, curl_socket_t fd) {
    struct session *s = userdata;

    if ((size_t)fd < s->n_watches)
        s->watches[fd] = (struct watch){0};
    if (!line_close(s->lines, fd))
        close_fd(fd);
    return 0;
}

/* Errors and hang-ups are for recv() and send() to find out: they may lie behind data not yet read.
 */
static int ready_mask(const struct watch *w, uint32_t events) {
    bool broken = events & (EPOLLERR | EPOLLHUP);
    int mask = 0;

    if ((w->wanted & EPOLLIN) && (broken || (events & EPOLLIN)))
        mask |= CURL_CSELECT_IN;
    if ((w->wanted & EPOLLOUT) && (broken || (events & EPOLLOUT)))
        mask |= CURL_CSELECT_OUT;
    return mask;
}

/* ---- turns ---- */

static void collect_ended(struct session *s) {
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(s->multi, &left))) {
        CURL *easy = m->easy_handle;
        CURLcode code = m->data.result;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_multi_remove_handle(s->multi, easy);
        s->on_ended(s->userdata, easy, code);
    }
}

/* Ends what has ended, and starts what was started by that, until there is no more of it. */
static void session_settle(struct session *s) {
    int running;

    collect_ended(s);
    for (int i = 0; s->due && i < ROUNDS_PER_TURN; i++) {
        s->due = false;
        curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        collect_ended(s);
    }
    s->running = false;
    sd_event_source_set_enabled(s->defer, s->due ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    if (s->board)
        beat_turned(s->board);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct session *s = userdata;
    struct epoll_event events[EVENTS_PER_TURN];
    int n = epoll_wait(fd, events, EVENTS_PER_TURN, 0), running;

    (void)source;
    (void)revents;
    s->running = true;
    for (int i = 0; i < n; i++) {
        int ready = events[i].data.fd;
        struct watch *w = (size_t)ready < s->n_watches ? &s->watches[ready] : NULL;
        int mask = w ? ready_mask(w, events[i].events) : 0;

        if (!w || w->wanted == 0) { /* idle: its server closed it, broke it, or speaks */
            if (w && w->armed)
                watch_arm(s, ready, w, 0);
            line_ready(s->lines, ready);
        } else if (mask)
            curl_multi_socket_action(s->multi, ready, mask, &running);
    }
    session_settle(s);
    return 0;
}

static int on_defer(sd_event_source *source, void *userdata) {
    struct session *s = userdata;

    (void)source;
    s->running = true;
    session_settle(s);
    return 0;
}

/* ---- curl's timer ---- */

static int timer_arm(struct session *s) {
    int r;

    if (s->wake_armed <= s->wake_wanted)
        return 0;
    s->wake_armed = s->wake_wanted;
    r = sd_event_source_set_time(s->timer, s->wake_armed);
    return r < 0 ? r : sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* curl moves its timer several times a transfer, nearly always to later; the source is then left
 * where it is and only moved when it fires. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct session *s = userdata;

    (void)source;
    (void)usec;
    s->wake_armed = USEC_INFINITY;
    watch_again(s);
    if (now_usec(CLOCK_MONOTONIC) < s->wake_wanted)
        return timer_arm(s);
    s->wake_wanted = USEC_INFINITY;
    s->running = s->due = true;
    session_settle(s);
    return 0;
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *userdata) {
    struct session *s = userdata;

    (void)multi;
    s->wake_wanted = USEC_INFINITY;
    if (timeout_ms > 0) {
        s->wake_wanted = now_usec(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * USEC_PER_MSEC;
        return timer_arm(s) < 0 ? -1 : 0;
    }
    s->due = timeout_ms == 0;
    if (s->due && !s->running)
        return sd_event_source_set_enabled(s->defer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
    return 0;
}

/* ---- name lookups ---- */

/* A directory of /proc has a link for each entry. */
bool session_may_look_up(const struct session *s) {
    struct stat st;

    return s->threads_fd < 0 || fstat(s->threads_fd, &st) < 0 || st.st_nlink <= s->threads_max;
}

/* ---- life ---- */

static int setup_multi(struct session *s, unsigned transfers) {
    long kept = MIN(MAX(transfers * KEPT_PER_SLOT, KEPT_MIN), KEPT_MAX);

    s->multi = curl_multi_init();
    s->share = curl_share_init();
    if (!s->multi || !s->share)
        return -ENOMEM;
    if (curl_share_setopt(s->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
        curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
        curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s) != CURLM_OK ||
        curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
        curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s) != CURLM_OK ||
        curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK ||
        curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, kept) != CURLM_OK)
        return -ENOMEM;
    return 0;
}

static int vital(sd_event_source *source) {
    return sd_event_source_set_exit_on_failure(source, true);
}

static int setup_sources(struct session *s, sd_event *event) {
    int r;

    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0)
        return -errno;
    r = sd_event_add_io(event, &s->io, s->epoll, EPOLLIN, on_io, s);
    if (r >= 0)
        r = vital(s->io);
    if (r >= 0)
        r = sd_event_add_time(event, &s->timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_timer, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = vital(s->timer);
    if (r >= 0)
        r = sd_event_add_defer(event, &s->defer, on_defer, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->defer, SD_EVENT_OFF);
    return r < 0 ? r : vital(s->defer);
}

int session_new(struct session **ret, sd_event *event, unsigned transfers,
                session_ended_fn *on_ended, line_verdict_fn *on_verdict, void *userdata) {
    struct session *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->on_ended = on_ended;
    s->userdata = userdata;
    s->wake_wanted = s->wake_armed = USEC_INFINITY;
    s->epoll = -1;
    s->threads_fd = open("/proc/self/task", O_PATH | O_DIRECTORY | O_CLOEXEC);
    s->threads_max = MAX(transfers * LOOKUPS_PER_SLOT, LOOKUPS_MIN);
    r = setup_sources(s, event);
    if (r >= 0)
        r = lines_new(&s->lines, event, s->epoll, on_verdict, userdata);
    if (r >= 0)
        r = setup_multi(s, transfers);
    if (r < 0) {
        session_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

struct session *session_free(struct session *s) {
    if (!s)
        return NULL;
    s->board = NULL;
    s->running = true; /* no source is wanted any more */
    if (s->lines)
        lines_stop(s->lines);
    curl_multi_cleanup(s->multi);
    curl_share_cleanup(s->share);
    lines_free(s->lines);
    sd_event_source_disable_unref(s->io);
    sd_event_source_disable_unref(s->timer);
    sd_event_source_disable_unref(s->defer);
    close_fd(s->epoll);
    close_fd(s->threads_fd);
    free(s->watches);
    free(s);
    return NULL;
}

void session_set_board(struct session *s, struct scoreboard *board) {
    s->board = board;
}

struct lines *session_lines(const struct session *s) {
    return s->lines;
}

int session_adopt(struct session *s, CURL *easy) {
    if (curl_easy_setopt(easy, CURLOPT_SHARE, s->share) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, s) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, NAMES_KEPT) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

int session_add(struct session *s, CURL *easy) {
    return curl_multi_add_handle(s->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

void session_resume(struct session *s, CURL *easy) {
    CURLcode code = curl_easy_pause(easy, CURLPAUSE_CONT);

    if (code == CURLE_OK)
        return;
    curl_multi_remove_handle(s->multi, easy);
    s->on_ended(s->userdata, easy, code);
}

void session_again(struct session *s, CURL *easy) {
    curl_multi_remove_handle(s->multi, easy);
    if (session_add(s, easy) < 0)
        s->on_ended(s->userdata, easy, CURLE_OUT_OF_MEMORY);
}

void session_remove(struct session *s, CURL *easy) {
    curl_multi_remove_handle(s->multi, easy);
}
