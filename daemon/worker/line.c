#include "daemon/worker/line.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/worker/line_host.h"
#include "daemon/worker/line_rest.h"

#define TICK (5 * USEC_PER_MSEC)
#define HELD_SHARE 4 /* of the descriptors that the process may have: a held file has one */
#define READS_MAX 16 /* of what comes behind the last answer, in one go */

enum line_state {
    LINE_OPEN,   /* curl's */
    LINE_ENDING, /* the descriptor is ours; nothing more is asked */
    LINE_CLOSED, /* only its user knows it still */
};

struct line {
    struct lines *lines;
    enum line_state state;
    int fd;
    uint16_t port; /* ours, 0: not asked for yet */
    unsigned users, requests, n_held;
    const CURL *asker; /* whose answer is outstanding; NULL: nobody's */
    bool numbered;     /* answers are */
    bool tls;
    bool stray;               /* bytes came that nobody asked for */
    bool unclear;             /* whether there are such bytes can't be told any more */
    bool waiting;             /* ENDING, and our side is shut down */
    uint64_t host;            /* of the last request */
    uint64_t idle, held, end; /* CLOCK_MONOTONIC: since when, since when, until when */
    uint64_t held_bytes;
    struct line_rest rest;
    struct line_item *items;
    struct line *prev, *next;
};

struct lines {
    struct line **by_fd;
    size_t n_fds;
    struct line *list;
    sd_event_source *timer;
    int epoll;
    int dead; /* a socket whose other end is closed: what curl gets in exchange for its own */
    unsigned n_held, held_max;
    bool ticking, stopped, hurried;
    struct line_hosts hosts;
    line_verdict_fn *on_verdict;
    void *userdata;
};

/* ---- the set ---- */

static struct line *line_of(const struct lines *l, int fd) {
    return fd >= 0 && (size_t)fd < l->n_fds ? l->by_fd[fd] : NULL;
}

static bool line_set(struct lines *l, int fd, struct line *line) {
    if ((size_t)fd >= l->n_fds) {
        size_t n = MAX((size_t)fd + 1, l->n_fds * 2);
        struct line **p = realloc(l->by_fd, n * sizeof(struct line *));

        if (!p)
            return false;
        memset(p + l->n_fds, 0, (n - l->n_fds) * sizeof(struct line *));
        l->by_fd = p;
        l->n_fds = n;
    }
    l->by_fd[fd] = line;
    return true;
}

static void line_free(struct line *line) {
    DL_DELETE(line->lines->list, line);
    free(line);
}

static void tick_on(struct lines *l) {
    if (l->ticking || l->stopped)
        return;
    l->ticking = sd_event_source_set_time_relative(l->timer, TICK) >= 0 &&
                 sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT) >= 0;
}

void line_open(struct lines *l, int fd) {
    struct line *line = calloc(1, sizeof(*line));

    if (!line || !line_set(l, fd, line)) {
        free(line);
        return;
    }
    line->lines = l;
    line->fd = fd;
    DL_APPEND(l->list, line);
}

/* ---- items ---- */

bool line_is_used(const struct line *line) {
    return line->requests > 1 && !line->numbered;
}

bool line_is_numbered(const struct line *line) {
    return line->numbered;
}

bool line_is_closed(const struct line *line) {
    return line->state != LINE_OPEN;
}

void line_hold(struct line *line, struct line_item *item, uint64_t bytes) {
    if (!line->items) {
        line->held = now_usec(CLOCK_MONOTONIC);
        line->held_bytes = 0;
    }
    line->held_bytes += bytes;
    item->line = line;
    DL_APPEND(line->items, item);
    line->n_held++;
    line->lines->n_held++;
    tick_on(line->lines);
}

void line_forget(struct line_item *item) {
    struct line *line = item->line;

    if (!line)
        return;
    DL_DELETE(line->items, item);
    item->line = NULL;
    line->n_held--;
    line->lines->n_held--;
}

static void give_verdict(struct line *line, enum line_verdict verdict) {
    struct lines *l = line->lines;
    struct line_item *item;

    while ((item = line->items)) {
        line_forget(item);
        l->on_verdict(l->userdata, item, verdict);
    }
}

void line_spoil(struct line *line) {
    line->stray = true;
    line_hosts_note(&line->lines->hosts, line->host);
}

bool line_is_spoilt(const struct line *line) {
    return line->stray;
}

bool lines_want_new(const struct lines *l, const char *url) {
    return l->n_held >= l->held_max || line_hosts_has(&l->hosts, line_host(url));
}

/* ---- the end of a line ---- */

/* The socket is ours now, and so is what still comes over it. */
static void end_begin(struct line *line) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = line->fd};

    line->waiting = true;
    line->end = now_usec(CLOCK_MONOTONIC) + LINE_END_MAX;
    shutdown(line->fd, SHUT_WR);
    epoll_ctl(line->lines->epoll, EPOLL_CTL_ADD, line->fd, &e);
    tick_on(line->lines);
}

static void end_done(struct line *line, enum line_verdict verdict) {
    struct lines *l = line->lines;

    l->by_fd[line->fd] = NULL;
    close_fd(line->fd);
    line->state = LINE_CLOSED;
    if (line->stray)
        verdict = LINE_WRONG;
    else if (line->unclear)
        verdict = LINE_UNCLEAR;
    give_verdict(line, verdict);
    line_free(line);
}

/* Bytes that nobody asked for. A 408 is how many a server says that it is tired of waiting: no
 * reason to be wary of its host. */
static void note_stray(struct line *line) {
    line->stray = true;
    if (!line_rest_is_timeout(&line->rest))
        line_hosts_note(&line->lines->hosts, line->host);
}

static void end_read(struct line *line) {
    uint8_t buffer[16 * KIB];
    ssize_t n;

    for (int i = 0; i < READS_MAX; i++) {
        n = recv(line->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end_done(line, n == 0 ? LINE_RIGHT : LINE_UNCLEAR);
            return;
        }
        if (!line->unclear && line_rest_add(&line->rest, line->tls, buffer, (size_t)n))
            note_stray(line);
        if (line->unclear || line->stray)
            break;
    }
    end_done(line, LINE_UNCLEAR);
}

/* Takes an idle connection away from curl, to which it looks as if the server had closed it. */
static void retire(struct line *line) {
    struct lines *l = line->lines;
    int old = line->fd, fd = fcntl(old, F_DUPFD_CLOEXEC, 0);

    if (fd < 0 || !line_set(l, fd, line)) {
        close_fd(fd);
        return;
    }
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, old, NULL);
    if (dup3(l->dead, old, O_CLOEXEC) < 0) {
        l->by_fd[fd] = NULL;
        close_fd(fd);
        shutdown(old, SHUT_RDWR);
        line->unclear = true;
        return;
    }
    l->by_fd[old] = NULL;
    line->fd = fd;
    line->state = LINE_ENDING;
    end_begin(line);
}

bool line_close(struct lines *l, int fd) {
    struct line *line = line_of(l, fd);

    if (!line)
        return false;
    if (line->requests > 1 && !line->numbered && !l->stopped) {
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
        line->state = LINE_ENDING;
        if (line->users == 0)
            end_begin(line);
        return true;
    }
    l->by_fd[fd] = NULL;
    line->state = LINE_CLOSED;
    if (line->users == 0)
        line_free(line);
    return false;
}

bool line_ready(struct lines *l, int fd) {
    struct line *line = line_of(l, fd);

    if (!line || line->users > 0)
        return false;
    if (line->state == LINE_OPEN && line->requests > 0 && !line->numbered) {
        retire(line);
        return true;
    }
    if (line->state != LINE_ENDING || !line->waiting)
        return false;
    end_read(line);
    return true;
}

static void judge(struct line *line, uint64_t now) {
    bool hurried = line->lines->hurried;

    if (line->state == LINE_ENDING) {
        if (line->waiting && now >= line->end) {
            line_hosts_note(&line->lines->hosts, line->host);
            end_done(line, LINE_UNCLEAR);
        } else if (!line->waiting && line->items && now >= line->held + LINE_BUSY_MAX) {
            give_verdict(line, LINE_UNCLEAR);
        }
    } else if (!line->items || line->state != LINE_OPEN) {
        return;
    } else if (line->unclear || (line->users > 0 && now >= line->held + LINE_BUSY_MAX)) {
        give_verdict(line, LINE_UNCLEAR);
    } else if (line->users == 0 && (hurried || now >= line->idle + LINE_IDLE_MAX)) {
        retire(line);
    }
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
    struct lines *l = userdata;
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    struct line *line, *next;
    bool more = false;

    (void)source;
    (void)usec;
    l->ticking = false;
    DL_FOREACH_SAFE(l->list, line, next)
    judge(line, now);
    DL_FOREACH(l->list, line)
    more |= line->items || line->state == LINE_ENDING;
    if (more)
        tick_on(l);
    return 0;
}

void lines_hurry(struct lines *l) {
    l->hurried = true;
}

/* ---- requests ---- */

static uint16_t port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {0};
    socklen_t size = sizeof(a);

    if (getsockname(fd, &a.any, &size) < 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

/* Two connections may have the same port here, if they lead elsewhere. */
static bool leads_to(int fd, const char *ip, int port) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {0};
    socklen_t size = sizeof(a);
    char text[INET6_ADDRSTRLEN];
    bool six;

    if (getpeername(fd, &a.any, &size) < 0)
        return false;
    six = a.any.sa_family == AF_INET6;
    if (!inet_ntop(a.any.sa_family, six ? (void *)&a.in6.sin6_addr : (void *)&a.in.sin_addr, text,
                   sizeof(text)))
        return false;
    return ntohs(six ? a.in6.sin6_port : a.in.sin_port) == port && strcmp(text, ip) == 0;
}

/* curl tells a connection by its addresses only. */
static struct line *line_find(struct lines *l, const char *ip, int port, int local_port) {
    struct line *line, *found = NULL;
    bool several = false;

    DL_FOREACH(l->list, line) {
        if (line->state != LINE_OPEN)
            continue;
        if (line->port == 0)
            line->port = port_of(line->fd);
        if (line->port != local_port)
            continue;
        several |= found != NULL;
        found = line;
    }
    if (!several)
        return found;
    DL_FOREACH(l->list, line)
    if (line->state == LINE_OPEN && line->port == local_port && leads_to(line->fd, ip, port))
        return line;
    return NULL;
}

/* What OpenSSL has read and curl has not is no longer on the socket. */
static bool has_bytes(const struct line *line, SSL *ssl) {
    char byte;

    return (ssl && SSL_pending(ssl) > 0) || recv(line->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static bool is_http2(SSL *ssl) {
    const unsigned char *name = NULL;
    unsigned n = 0;

    if (ssl)
        SSL_get0_alpn_selected(ssl, &name, &n);
    return n == 2 && memcmp(name, "h2", 2) == 0;
}

int line_request(struct line **ret, struct lines *l, CURL *easy, const char *ip, int port,
                 int local_port) {
    struct line *line = line_find(l, ip, port, local_port);
    struct curl_tlssessioninfo *info = NULL;
    const char *url = NULL;
    SSL *ssl = NULL;
    bool stray;

    *ret = NULL;
    if (!line)
        return 0;
    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) == CURLE_OK && info &&
        info->backend == CURLSSLBACKEND_OPENSSL)
        ssl = info->internals;
    line->tls = ssl != NULL;
    line->numbered = is_http2(ssl);
    if (!line->numbered && line->asker)
        return -EBUSY;
    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    line->host = line_host(url ? url : "");
    stray = line->requests > 0 && !line->numbered && line->users == 0 && has_bytes(line, ssl);
    if (stray)
        line_spoil(line);
    line->asker = easy;
    line->users++;
    line->requests++;
    *ret = line;
    return stray ? -EBADMSG : 0;
}

void line_answered(struct line *line, const CURL *easy) {
    if (line->asker == easy)
        line->asker = NULL;
}

void line_leave(struct line *line, const CURL *easy, bool clean) {
    struct lines *l = line->lines;

    line->users--;
    line_answered(line, easy);
    if (!clean)
        line->unclear = true;
    if (line->users > 0)
        return;
    if (line->state == LINE_CLOSED) {
        line_free(line);
        return;
    }
    if (line->state == LINE_ENDING) {
        end_begin(line);
        return;
    }
    if (!line->items && !line->stray)
        return;
    line->idle = now_usec(CLOCK_MONOTONIC);
    if (line->stray || line->n_held >= LINE_HELD_MAX || line->held_bytes >= LINE_HELD_BYTES ||
        l->n_held >= l->held_max || line->idle - line->held >= LINE_AGE_MAX)
        retire(line);
}

/* ---- life ---- */

int lines_new(struct lines **ret, sd_event *event, int epoll, line_verdict_fn *on_verdict,
              void *userdata) {
    struct lines *l = calloc(1, sizeof(*l));
    struct rlimit limit;
    int r, pair[2];

    if (!l)
        return -ENOMEM;
    l->held_max = getrlimit(RLIMIT_NOFILE, &limit) == 0
                      ? (unsigned)MIN(limit.rlim_cur / HELD_SHARE, (rlim_t)LINE_HELD_ALL)
                      : LINE_HELD_MAX;
    l->epoll = epoll;
    l->dead = -1;
    l->on_verdict = on_verdict;
    l->userdata = userdata;
    r = sd_event_add_time(event, &l->timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_tick, l);
    if (r >= 0)
        r = sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(l->timer, true);
    if (r >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        r = -errno;
    if (r < 0) {
        lines_free(l);
        return r;
    }
    l->dead = pair[0];
    close_fd(pair[1]);
    *ret = l;
    return 0;
}

void lines_stop(struct lines *l) {
    l->stopped = true;
    sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
}

struct lines *lines_free(struct lines *l) {
    struct line *line, *next;

    if (!l)
        return NULL;
    DL_FOREACH_SAFE(l->list, line, next) {
        if (line->state == LINE_ENDING)
            close_fd(line->fd);
        line_free(line);
    }
    sd_event_source_disable_unref(l->timer);
    close_fd(l->dead);
    free(l->by_fd);
    free(l);
    return NULL;
}
