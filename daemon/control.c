#include "daemon/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "daemon/control_refuse.h"
#include "daemon/json_load.h"

#define MAX_CLIENTS 1024
#define MAX_CLIENTS_OF_UID 768          /* but for root's: some are left to others */
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC) /* when none can be accepted */
#define MAX_REQUESTS 32                /* of one client under way: then it isn't read from */
#define MAX_WAITS 64                   /* likewise; more are refused, for others are to be read */
#define MAX_BYTES_UNDER_WAY (64 * MIB) /* of all clients' requests: likewise */
#define MAX_UNREAD (64 * MIB)          /* of answers: then it is closed */
#define PAUSE_UNREAD (1 * MIB)         /* of answers: then it isn't read from */
#define LINES_PER_TURN 16
#define READ_SIZE (64 * KIB)

struct client {
    struct control *control;
    int fd;
    uid_t uid;
    sd_event_source *io;
    sd_event_source
        *turn; /* defer source: handle lines, send answers, once in a turn of the loop */
    struct buf in, out;
    size_t scanned; /* of in, see jsonl_next() */
    unsigned n_requests, n_waits; /* to be answered soon, and when jobs have ended */
    unsigned n_refs;              /* requests, and one until it is closed */
    bool eof;        /* it sends nothing more */
    bool deaf;       /* it has closed both directions: what it sent counts, nobody reads answers */
    bool broken;     /* what is in out is the last it gets */
    bool closed;     /* gone; the struct stays while requests refer to it */
    struct client *prev, *next;
};

struct request {
    struct client *client;
    char *id;    /* JSON text */
    size_t cost; /* bytes it counts for */
    bool waits;
};

struct control {
    sd_event *event;
    struct control_settings settings;
    int fd;
    sd_event_source *listener;
    sd_event_source *pause; /* timer: the listener is off until then */
    int reserve;            /* see refuse_next() */
    bool accept_failing;
    struct client *clients;
    unsigned n_clients;
    unsigned n_requests; /* under way, of clients gone too */
    size_t bytes_under_way;
};

/* ---- clients ---- */

static void client_free(struct client *c) {
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

/* The last reference goes when it is closed and its requests are answered. */
static void client_unref(struct client *c) {
    if (--c->n_refs == 0)
        client_free(c);
}

static void client_close(struct client *c) {
    struct control *k = c->control;

    if (c->closed)
        return;
    c->closed = true;
    c->io = sd_event_source_disable_unref(c->io);
    c->turn = sd_event_source_disable_unref(c->turn);
    c->fd = close_fd(c->fd);
    DL_DELETE(k->clients, c);
    k->n_clients--;
    k->settings.client_gone(k->settings.userdata, c);
    client_unref(c);
}

/* May the next request be read? */
static bool client_may_ask(const struct client *c) {
    const struct control *k = c->control;

    return !c->broken && !c->eof && c->n_requests < MAX_REQUESTS &&
           buf_size(&c->out) < PAUSE_UNREAD &&
           (k->bytes_under_way < MAX_BYTES_UNDER_WAY || c->n_requests == 0);
}

/* HUP can't be masked: a deaf client's source is on only while there is something to read. */
static void client_update_io(struct client *c) {
    uint32_t events = (client_may_ask(c) ? EPOLLIN : 0u) | (buf_size(&c->out) ? EPOLLOUT : 0u);

    sd_event_source_set_io_events(c->io, events);
    sd_event_source_set_enabled(c->io, c->deaf && !client_may_ask(c) ? SD_EVENT_OFF : SD_EVENT_ON);
}

static void client_turn_soon(struct client *c) {
    if (!c->closed)
        sd_event_source_set_enabled(c->turn, SD_EVENT_ONESHOT);
}

/* ---- answers ---- */

static void answer_begin(struct client *c) {
    json_begin(&c->out, NULL, '{');
    json_str(&c->out, "jsonrpc", "2.0");
}

static void answer_end(struct client *c) {
    json_end(&c->out, '}');
    buf_addc(&c->out, '\n');
    if (c->closed)
        buf_clear(&c->out);
    client_turn_soon(c);
}

static void answer_error(struct client *c, const char *id, enum rpc_error code, const char *text,
                         const int64_t *index) {
    answer_begin(c);
    json_raw(&c->out, "id", id, strlen(id));
    json_begin(&c->out, "error", '{');
    json_int(&c->out, "code", code);
    json_str(&c->out, "message", text);
    if (index) {
        json_begin(&c->out, "data", '{');
        json_int(&c->out, "index", *index);
        json_end(&c->out, '}');
    }
    json_end(&c->out, '}');
    answer_end(c);
}

/* Says what is wrong with what the client sends, and that no more of it is read. */
static void client_break(struct client *c, enum rpc_error code, const char *text) {
    answer_error(c, "null", code, text, NULL);
    c->broken = true;
    buf_done(&c->in);
}

struct client *request_client(const struct request *r) {
    return r->client;
}

uid_t request_uid(const struct request *r) {
    return r->client->uid;
}

static void request_free(struct request *r) {
    struct client *c = r->client, *other;
    struct control *k = c->control;
    bool was_full = k->bytes_under_way >= MAX_BYTES_UNDER_WAY;

    k->bytes_under_way -= r->cost;
    if (r->waits)
        c->n_waits--;
    else
        c->n_requests--;
    k->n_requests--;
    free(r->id);
    free(r);
    client_turn_soon(c);
    if (was_full && k->bytes_under_way < MAX_BYTES_UNDER_WAY)
        DL_FOREACH(k->clients, other)
    client_turn_soon(other);
    client_unref(c);
}

bool request_waits(struct request *r) {
    struct client *c = r->client;

    if (c->n_waits == MAX_WAITS)
        return false;
    r->waits = true;
    c->n_waits++;
    c->n_requests--;
    client_turn_soon(c);
    return true;
}

struct buf *request_reply(struct request *r) {
    answer_begin(r->client);
    json_raw(&r->client->out, "id", r->id, strlen(r->id));
    return &r->client->out;
}

void request_done(struct request *r) {
    answer_end(r->client);
    request_free(r);
}

void request_fail(struct request *r, enum rpc_error code, const char *fmt, ...) {
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    answer_error(r->client, r->id, code, text, NULL);
    request_free(r);
}

void request_fail_at(struct request *r, enum rpc_error code, int64_t index, const char *text) {
    answer_error(r->client, r->id, code, text, &index);
    request_free(r);
}

struct buf *client_notify(struct client *c, const char *method) {
    answer_begin(c);
    json_str(&c->out, "method", method);
    return &c->out;
}

void client_notified(struct client *c) {
    answer_end(c);
}

/* ---- requests ---- */

static const struct control_method *find_method(const struct control *k, const char *name) {
    const struct control_method *m = k->settings.methods;

    while (m->name && !streq(m->name, name))
        m++;
    return m->name ? m : NULL;
}

static bool id_is_valid(const json_t *id) {
    return !id || json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* "id" as it is to be repeated; null where there was none. */
static char *request_id_text(const json_t *id) {
    return id && id_is_valid(id) ? json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("null");
}

static struct request *request_new(struct client *c, const json_t *id, size_t cost) {
    struct request *r = calloc(1, sizeof(*r));

    if (r)
        r->id = request_id_text(id);
    if (!r || !r->id) {
        free(r);
        return NULL;
    }
    r->client = c;
    r->cost = cost;
    c->n_requests++;
    c->n_refs++;
    c->control->n_requests++;
    c->control->bytes_under_way += cost;
    return r;
}

static void call_method(struct client *c, const json_t *message, size_t cost) {
    struct control *k = c->control;
    const json_t *params = json_object_get(message, "params");
    const char *name = json_string_value(json_object_get(message, "method"));
    const struct control_method *method = name ? find_method(k, name) : NULL;
    struct request *r = request_new(c, json_object_get(message, "id"), cost);

    if (!r) {
        client_break(c, RPC_BUSY, "out of memory; try again later");
    } else if (!id_is_valid(json_object_get(message, "id"))) {
        request_fail(r, RPC_INVALID_REQUEST, "id: expected a string or a number");
    } else if (!name) {
        request_fail(r, RPC_INVALID_REQUEST, "expected an object with \"method\", a string");
    } else if (!method) {
        request_fail(r, RPC_METHOD_NOT_FOUND, "there is no method \"%.60s\"; see dld-control(7)",
                     name);
    } else if (c->deaf && method->query) {
        request_fail(r, RPC_BUSY, "the client has gone");
    } else if (params && !json_is_object(params)) {
        request_fail(r, RPC_INVALID_PARAMS, "params: expected an object");
    } else if (params) {
        method->fn(r, params, k->settings.method_userdata);
    } else {
        json_t *none = json_object();

        method->fn(r, none, k->settings.method_userdata);
        json_decref(none);
    }
}

static void handle_line(struct client *c, const char *line, size_t len) {
    json_error_t error;
    json_t *message;

    if (strspn(line, " \t") == len)
        return;
    message = json_load_all(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!message && errno == ENOMEM) {
        client_break(c, RPC_BUSY, "the daemon is out of memory; try again later");
        return;
    }
    if (!message) {
        char text[JSON_ERROR_TEXT_LENGTH + 64];

        snprintf(text, sizeof(text), "not JSON: column %d: %s", error.column, error.text);
        client_break(c, RPC_PARSE_ERROR, text);
        return;
    }
    if (json_is_object(message))
        call_method(c, message, len);
    else
        client_break(c, RPC_INVALID_REQUEST,
                     "expected an object a line, as in JSON-RPC 2.0 (no batches)");
    json_decref(message);
}

static bool may_handle(const struct client *c) {
    return c->n_requests < MAX_REQUESTS && buf_size(&c->out) < PAUSE_UNREAD;
}

/* Whether there may be more lines to handle, now or when answers have gone. */
static bool handle_lines(struct client *c) {
    for (int i = 0; i < LINES_PER_TURN && may_handle(c); i++) {
        size_t len;
        char *line;
        int r;

        if (c->closed || c->broken)
            return false;
        r = jsonl_next(&c->in, &c->scanned, &line, &len);
        if (r == -EMSGSIZE)
            client_break(c, RPC_PARSE_ERROR,
                         "the line is too long ([control] max_line); send jobs in smaller chunks");
        if (r <= 0)
            return false;
        handle_line(c, line, len);
    }
    return !c->closed && !c->broken;
}

/* ---- input and output ---- */

/* False: the client is gone. */
static bool client_read(struct client *c) {
    size_t room = MIN(READ_SIZE, c->in.max - buf_size(&c->in));
    char *to = room > 0 ? buf_reserve(&c->in, room) : NULL;
    ssize_t n;

    if (!to && room > 0)
        client_break(c, RPC_BUSY, "the daemon is out of memory; try again later");
    if (!to)
        return true;
    n = recv(c->fd, to, room, MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (n == 0 && !c->eof) {
        c->eof = true;
        if (buf_size(&c->in) > 0) /* a last line may do without its end */
            buf_addc(&c->in, '\n');
    }
    if (n > 0)
        c->in.len += (size_t)n;
    return true;
}

/* False: the client is gone, or has let too much pile up. */
static bool client_write(struct client *c) {
    if (c->deaf)
        buf_clear(&c->out);
    if (buf_error(&c->out))
        return false;
    while (buf_size(&c->out) > 0) {
        fault_point(answer_due);
        ssize_t n = send(c->fd, buf_head(&c->out), buf_size(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        fault_point(answer_sent);

        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            buf_consume(&c->out, (size_t)n);
    }
    return true;
}

/* Gives back the memory of a long line or answer. */
static void client_shrink(struct buf *b) {
    if (buf_size(b) == 0 && b->cap > 4 * READ_SIZE)
        buf_done(b);
}

/* Has it got all that it is to get? */
static bool client_is_through(const struct client *c, bool more) {
    if (buf_size(&c->out) > 0 || c->n_requests > 0)
        return false;
    return c->broken || (c->eof && c->n_waits == 0 && !more);
}

static int on_client_turn(sd_event_source *source, void *userdata) {
    struct client *c = userdata;
    bool more;

    (void)source;
    more = handle_lines(c);
    if (c->closed)
        return 0;
    if (!client_write(c) || client_is_through(c, more)) {
        client_close(c);
        return 0;
    }
    client_shrink(&c->in);
    client_shrink(&c->out);
    client_update_io(c);
    if (more && may_handle(c))
        client_turn_soon(c);
    return 0;
}

static int on_client_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct client *c = userdata;

    (void)source;
    (void)fd;
    if ((revents & EPOLLHUP) && !c->deaf) {
        c->deaf = true;
        c->control->settings.client_gone(c->control->settings.userdata, c);
    }
    if ((revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !client_read(c)) {
        client_close(c);
        return 0;
    }
    client_turn_soon(c);
    return 0;
}

static int client_new(struct control *k, int fd) {
    struct client *c = calloc(1, sizeof(*c));
    struct ucred cred;
    socklen_t n = sizeof(cred);
    int r;

    if (!c) {
        close_fd(fd);
        return -ENOMEM;
    }
    c->control = k;
    c->n_refs = 1;
    c->fd = fd;
    c->in = BUF_INIT(k->settings.max_line + 1);
    c->out = BUF_INIT(MAX_UNREAD);
    DL_APPEND(k->clients, c);
    k->n_clients++;
    r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 ? -errno : 0;
    if (r >= 0)
        r = sd_event_add_io(k->event, &c->io, fd, EPOLLIN, on_client_io, c);
    if (r >= 0)
        r = sd_event_add_defer(k->event, &c->turn, on_client_turn, c);
    if (r >= 0)
        r = sd_event_source_set_enabled(c->turn, SD_EVENT_OFF);
    if (r < 0)
        client_close(c);
    else
        c->uid = cred.uid;
    return r;
}

/* Why there are too many to serve one more; NULL: there aren't. */
static const char *too_many(const struct control *k, int fd) {
    const struct client *c;
    struct ucred cred = {0};
    socklen_t size = sizeof(cred);
    unsigned n = 0;

    if (k->n_clients >= MAX_CLIENTS)
        return "the daemon has too many clients; try again later";
    if (k->n_clients < MAX_CLIENTS_OF_UID ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || cred.uid == 0)
        return NULL;
    DL_FOREACH(k->clients, c)
    n += c->uid == cred.uid;
    return n < MAX_CLIENTS_OF_UID ? NULL
                                  : "this user has too many clients of the daemon; end some first";
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
    struct control *k = userdata;

    (void)source;
    (void)usec;
    if (k->listener)
        sd_event_source_set_enabled(k->listener, SD_EVENT_ON);
    return 0;
}

/* What waits can't be accepted, and keeps the listener ready: it is turned away, or the listener is
 * off for a while. */
static void accept_failed(struct control *k, int error) {
    bool files = error == EMFILE || error == ENFILE;

    if (!k->accept_failing)
        log_warning("clients can't be accepted: %s", strerror(error));
    k->accept_failing = true;
    if (files && refuse_next(k->fd, &k->reserve,
                             "the daemon has no file descriptors left; try again later"))
        return;
    if (k->reserve < 0)
        k->reserve = refuse_reserve();
    if (sd_event_source_set_time_relative(k->pause, ACCEPT_PAUSE) >= 0 &&
        sd_event_source_set_enabled(k->pause, SD_EVENT_ONESHOT) >= 0)
        sd_event_source_set_enabled(k->listener, SD_EVENT_OFF);
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct control *k = userdata;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;
    const char *reason;

    (void)source;
    (void)revents;
    if (client < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            accept_failed(k, errno);
        return 0;
    }
    k->accept_failing = false;
    reason = too_many(k, client);
    if (reason) {
        refuse_client(client, reason);
        return 0;
    }
    r = client_new(k, client);
    if (r < 0)
        log_warning("a client can't be served: %s", strerror(-r));
    return 0;
}

int control_new(struct control **ret, sd_event *event, int fd,
                const struct control_settings *settings) {
    struct control *k = calloc(1, sizeof(*k));
    int r;

    if (!k) {
        close_fd(fd);
        return -ENOMEM;
    }
    k->event = event;
    k->fd = fd;
    k->settings = *settings;
    k->reserve = refuse_reserve();
    r = sd_event_add_io(event, &k->listener, fd, EPOLLIN, on_accept, k);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &k->pause, CLOCK_MONOTONIC, 0, 0, on_pause_over, k);
    if (r >= 0)
        r = sd_event_source_set_enabled(k->pause, SD_EVENT_OFF);
    if (r < 0) {
        control_free(k);
        return r;
    }
    *ret = k;
    return 0;
}

unsigned control_n_requests(const struct control *k) {
    return k->n_requests;
}

void control_set_max_line(struct control *k, size_t max_line) {
    k->settings.max_line = max_line;
}

void control_stop(struct control *k) {
    k->listener = sd_event_source_disable_unref(k->listener);
    k->pause = sd_event_source_disable_unref(k->pause);
    k->fd = close_fd(k->fd);
    k->reserve = close_fd(k->reserve);
}

struct control *control_free(struct control *k) {
    if (!k)
        return NULL;
    control_stop(k);
    while (k->clients)
        client_close(k->clients);
    free(k);
    return NULL;
}
