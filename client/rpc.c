#include "client/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/print.h"
#include "common/exitcode.h"
#include "common/jsonl.h"

#define CONNECT_SEC 10 /* that the daemon may let a connection wait for accept() */
#define READ_SIZE (256 * KIB)

void rpc_close(struct rpc *r) {
    r->fd = close_fd(r->fd);
    buf_done(&r->in);
    buf_done(&r->out);
    r->scanned = 0;
    r->deaf = false;
}

int rpc_open(struct rpc *r) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = CONNECT_SEC};
    _cleanup_close_ int fd = -1;
    size_t n = strlen(r->path);

    if (n >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    memcpy(sa.sun_path, r->path, n);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* connect() on an AF_UNIX socket waits while the backlog is full, for as long as this says */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    rpc_close(r);
    r->fd = TAKE_FD(fd);
    return 0;
}

bool rpc_lost(int error) {
    return error == -ECONNRESET || error == -EPIPE || error == -ENOTCONN;
}

int rpc_recover(struct rpc *r) {
    struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    uint64_t patience = RPC_RECONNECT_MSEC * USEC_PER_MSEC;

    rpc_close(r);
    if (r->lost_since == 0) {
        r->lost_since = now_usec(CLOCK_MONOTONIC);
        complain("the connection to the daemon was lost; trying again for %d s",
                 RPC_RECONNECT_MSEC / 1000);
    }
    for (;;) {
        int error;

        if (ppoll(NULL, 0, &pause, r->waiting) < 0)
            return -errno;
        error = rpc_open(r);
        if (error == 0 && now_usec(CLOCK_MONOTONIC) - r->lost_since < patience)
            return 0;
        if (now_usec(CLOCK_MONOTONIC) - r->lost_since >= patience)
            return error < 0 ? error : -ECONNRESET;
    }
}

/* Writes what the socket takes. After an error only reading goes on: the daemon may have said why.
 */
static void rpc_flush(struct rpc *r) {
    while (!r->deaf && buf_size(&r->out) > 0) {
        ssize_t n = send(r->fd, buf_head(&r->out), buf_size(&r->out), MSG_NOSIGNAL);

        if (n >= 0) {
            buf_consume(&r->out, (size_t)n);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            r->deaf = true;
            shutdown(r->fd, SHUT_WR); /* else both sides might wait for each other for ever */
            buf_clear(&r->out);
        }
    }
}

int rpc_send(struct rpc *r, const char *method, const char *params, size_t n, int64_t *ret_id) {
    buf_addf(&r->out,
             "{\"jsonrpc\": \"2.0\", \"id\": %" PRId64 ", \"method\": \"%s\", \"params\": ",
             r->last_id + 1, method);
    buf_add(&r->out, params, n);
    buf_adds(&r->out, "}\n");
    if (buf_error(&r->out))
        return buf_error(&r->out);
    *ret_id = ++r->last_id;
    rpc_flush(r);
    return 0;
}

void rpc_message_done(struct rpc_message *m) {
    json_decref(m->root);
    *m = (struct rpc_message){0};
}

static int rpc_read(struct rpc *r) {
    char *to = buf_reserve(&r->in, READ_SIZE);
    ssize_t n;

    if (!to)
        return buf_error(&r->in);
    n = recv(r->fd, to, READ_SIZE, 0);
    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    r->in.len += (size_t)n;
    return 0;
}

static void rpc_take_error(struct rpc *r, const json_t *error) {
    const char *text = get_text(error, "message");

    r->error.code = (int)get_int(error, "code", 0);
    r->error.index = get_int(json_object_get(error, "data"), "index", -1);
    snprintf(r->error.text, sizeof(r->error.text), "%s", text ? text : "no reason given");
}

static int rpc_parse_json(struct rpc *r, const char *line, size_t n, struct rpc_message *ret) {
    struct rpc_message m = {.root = json_loadb(line, n, 0, NULL)};
    json_t *error = json_object_get(m.root, "error");

    m.id = get_int(m.root, "id", 0);
    m.method = get_text(m.root, "method");
    m.body = json_object_get(m.root, m.method ? "params" : "result");
    if (json_is_object(error)) {
        rpc_take_error(r, error);
        m.body = NULL;
    } else if (!json_is_object(m.body)) {
        rpc_message_done(&m);
        return -EBADMSG;
    } else {
        r->lost_since = 0;
    }
    *ret = m;
    return 1;
}

static int rpc_parse(struct rpc *r, char *line, size_t n, struct rpc_message *ret) {
    int taken = r->on_line ? r->on_line(r->line_userdata, line, n) : 0;

    if (taken != 0) {
        *ret = (struct rpc_message){.taken = true};
        r->lost_since = taken > 0 ? 0 : r->lost_since;
        return taken;
    }
    return rpc_parse_json(r, line, n, ret);
}

/* Waits for the socket; 0 when the time ran out. */
static int rpc_poll(struct rpc *r, uint64_t usec) {
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    struct timespec ts = {.tv_sec = (time_t)(usec / USEC_PER_SEC),
                          .tv_nsec = (long)(usec % USEC_PER_SEC) * 1000};
    int n;

    if (buf_size(&r->out) > 0)
        p.events |= POLLOUT;
    n = ppoll(&p, 1, &ts, r->waiting);
    if (n < 0)
        return -errno;
    if (p.revents & POLLOUT)
        rpc_flush(r);
    if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
        int error = rpc_read(r);

        if (error < 0)
            return error;
    }
    return n;
}

int rpc_receive(struct rpc *r, uint64_t msec, struct rpc_message *ret) {
    uint64_t now = now_usec(CLOCK_MONOTONIC), deadline = now + msec * USEC_PER_MSEC;

    if (r->fd < 0)
        return -ENOTCONN;
    for (;;) {
        char *line;
        size_t len;
        int n = jsonl_next(&r->in, &r->scanned, &line, &len);

        if (n != 0)
            return n < 0 ? n : rpc_parse(r, line, len, ret);
        n = rpc_poll(r, deadline > now ? deadline - now : 0);
        if (n < 0)
            return n;
        now = now_usec(CLOCK_MONOTONIC);
        if (n == 0 && now >= deadline)
            return 0;
    }
}

int rpc_call(struct rpc *r, const char *method, struct buf *params, json_t **ret) {
    uint64_t deadline = now_usec(CLOCK_MONOTONIC) + RPC_ANSWER_MSEC * USEC_PER_MSEC;
    int64_t id = 0;
    int n = buf_error(params);

    if (n == 0)
        n = rpc_send(r, method, buf_head(params), buf_size(params), &id);
    if (n < 0)
        return n;
    for (;;) {
        _cleanup_(rpc_message_done) struct rpc_message m = {0};
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        n = now < deadline ? rpc_receive(r, (deadline - now) / USEC_PER_MSEC + 1, &m) : 0;
        if (n <= 0)
            return n < 0 ? n : -ETIMEDOUT;
        if (!m.body && (m.id == id || m.id == 0))
            return -EREMOTEIO;
        if (m.id == id) {
            *ret = json_incref(m.body);
            return 0;
        }
    }
}

int rpc_complain_open(const struct rpc *r, int error) {
    const char *hint = "is dld running? (systemctl start dld, or dld in another terminal)";

    if (error == -EACCES || error == -EPERM)
        hint = "the socket's group may use it; are you in that group?";
    else if (error == -EAGAIN)
        hint = "dld does not answer; see its log (journalctl -u dld)";
    else if (error == -ENAMETOOLONG)
        hint = "the path of a socket has at most 107 bytes";
    complain("cannot reach the daemon at %s: %s; %s", r->path, strerror(-error), hint);
    return DLCTL_UNREACHABLE;
}

int rpc_complain(const struct rpc *r, int error) {
    static const char params[] = "params."; /* who reads this wrote no params */
    const size_t n = sizeof(params) - 1;

    if (error == -ENOMEM)
        return complain_memory();
    if (error == -EBADMSG || error == -EMSGSIZE) {
        complain("what answers at %s does not speak dld's protocol", r->path);
        return DLCTL_UNREACHABLE;
    }
    if (error != -EREMOTEIO) {
        complain("the connection to the daemon at %s was lost: %s", r->path,
                 error == -ETIMEDOUT ? "no answer came" : strerror(-error));
        return DLCTL_UNREACHABLE;
    }
    complain("%s", strncmp(r->error.text, params, n) == 0 ? r->error.text + n : r->error.text);
    switch (r->error.code) {
    case RPC_NOT_FOUND:
    case RPC_STORE_ERROR:
    case RPC_DENIED:
    case RPC_QUOTA:
        return DLCTL_JOB_FAILED;
    case RPC_BUSY:
    case RPC_STOPPING:
        return DLCTL_UNREACHABLE;
    default:
        return DLCTL_USAGE;
    }
}
