#include "common/chan.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fault.h"

/* Received before other sources get their turn: a busy peer must not starve the loop. */
#define PACKETS_PER_TURN 16

struct chan {
    int fd;
    sd_event_source *io;
    sd_event_source
        *flush; /* a defer source, run once behind what was pending when something was queued */
    chan_record_fn *on_record;
    chan_closed_fn *on_closed;
    void *userdata;
    struct buf out; /* whole records, one behind the other */
    int error;      /* told to on_closed when the loop next comes by */
    bool closed;    /* nothing more is delivered */
    bool want_out;  /* EPOLLOUT is on */
    char packet[WIRE_PACKET_MAX];
};

/* Ends the channel from wherever it failed; the loop tells the owner, who may free it then. */
static void chan_fail(struct chan *c, int error) {
    if (c->closed)
        return;
    c->closed = true;
    c->error = error;
    sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
    sd_event_source_set_enabled(c->flush, SD_EVENT_ONESHOT);
}

/* How many bytes of out are whole records that fit one packet. */
static size_t packet_size(const struct chan *c) {
    size_t pos = 0, fits = 0, len;
    const void *payload;
    uint8_t type;

    if (buf_size(&c->out) <= WIRE_PACKET_MAX)
        return buf_size(&c->out);
    while (wire_next(buf_head(&c->out), buf_size(&c->out), &pos, &type, &payload, &len) > 0 &&
           pos <= WIRE_PACKET_MAX)
        fits = pos;
    return fits;
}

/* Sends until all is gone (0), the socket is full (-EAGAIN), or it fails. */
static int chan_send(struct chan *c) {
    while (buf_size(&c->out) > 0) {
        size_t n = packet_size(c);
        fault_point(packet_due);
        ssize_t sent = send(c->fd, buf_head(&c->out), n, MSG_NOSIGNAL | MSG_DONTWAIT);
        fault_point(packet_sent);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == ENOBUFS ? -EAGAIN : -errno;
        explicit_bzero(buf_head(&c->out), n); /* it may have held a password */
        buf_consume(&c->out, n);
    }
    return 0;
}

static void want_output(struct chan *c, bool want) {
    if (c->want_out == want)
        return;
    c->want_out = want;
    sd_event_source_set_io_events(c->io, EPOLLIN | (want ? EPOLLOUT : 0u));
}

static void chan_send_some(struct chan *c) {
    int r = chan_send(c);

    if (r < 0 && r != -EAGAIN)
        chan_fail(c, r == -EPIPE || r == -ECONNRESET ? 0 : r);
    else
        want_output(c, r == -EAGAIN);
}

static int on_flush(sd_event_source *source, void *userdata) {
    struct chan *c = userdata;

    (void)source;
    if (c->closed)
        c->on_closed(c->userdata, c->error);
    else
        chan_send_some(c); /* which has the loop come by once more if it fails */
    return 0;
}

static void deliver_packet(struct chan *c, size_t n) {
    const void *payload;
    size_t pos = 0, len;
    uint8_t type;
    int r;

    while (!c->closed && (r = wire_next(c->packet, n, &pos, &type, &payload, &len)) != 0) {
        if (r > 0)
            r = c->on_record(c->userdata, type, payload, len);
        if (r < 0)
            chan_fail(c, r);
    }
}

static void chan_receive(struct chan *c, unsigned n_packets) {
    for (unsigned i = 0; i < n_packets && !c->closed; i++) {
        ssize_t n = recv(c->fd, c->packet, sizeof(c->packet), MSG_DONTWAIT | MSG_TRUNC);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            chan_fail(c, n < 0 && errno != ECONNRESET ? -errno : 0);
        else if ((size_t)n > sizeof(c->packet))
            chan_fail(c, -EBADMSG);
        else
            deliver_packet(c, (size_t)n);
        if (n > 0)
            explicit_bzero(c->packet, MIN((size_t)n, sizeof(c->packet)));
    }
}

void chan_drain(struct chan *c) {
    chan_receive(c, UINT_MAX);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct chan *c = userdata;

    (void)source;
    (void)fd;
    if (revents & EPOLLOUT)
        chan_send_some(c);
    if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
        chan_receive(c, PACKETS_PER_TURN);
    return 0;
}

int chan_new(struct chan **ret, sd_event *event, int fd, chan_record_fn *on_record,
             chan_closed_fn *on_closed, void *userdata) {
    struct chan *c = calloc(1, sizeof(*c));
    int r;

    if (!c) {
        close_fd(fd);
        return -ENOMEM;
    }
    c->fd = fd;
    c->out = BUF_INIT(64 * MIB);
    c->on_record = on_record;
    c->on_closed = on_closed;
    c->userdata = userdata;
    r = sd_event_add_io(event, &c->io, fd, EPOLLIN, on_io, c);
    if (r >= 0)
        r = sd_event_add_defer(event, &c->flush, on_flush, c);
    if (r >= 0)
        r = sd_event_source_set_enabled(c->flush, SD_EVENT_OFF);
    if (r < 0) {
        chan_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct chan *chan_free(struct chan *c) {
    if (!c)
        return NULL;
    sd_event_source_disable_unref(c->io);
    sd_event_source_disable_unref(c->flush);
    close_fd(c->fd);
    buf_done(&c->out);
    free(c);
    return NULL;
}

struct buf *chan_buf(struct chan *c) {
    return &c->out;
}

void chan_queued(struct chan *c) {
    if (!c->closed && !c->want_out)
        sd_event_source_set_enabled(c->flush, SD_EVENT_ONESHOT);
}

int chan_flush(struct chan *c, uint64_t timeout_usec) {
    uint64_t deadline = now_usec(CLOCK_MONOTONIC) + timeout_usec;

    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = POLLOUT};
        int r = chan_send(c);
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        if (r != -EAGAIN)
            return r;
        if (now >= deadline)
            return -ETIMEDOUT;
        if (poll(&p, 1, (int)((deadline - now) / USEC_PER_MSEC) + 1) < 0 && errno != EINTR)
            return -errno;
    }
}
