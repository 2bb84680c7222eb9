#include "daemon/worker/link.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/chan.h"
#include "common/exitcode.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/util.h"

struct link {
    struct chan *chan;
    struct link_handlers handlers;
    bool greeted, configured;
};

static int say_hello(struct link *l) {
    struct wire_hello hello = {.wire_version = WIRE_VERSION, .program_version = DLD_VERSION};
    int r = wire_put_hello(chan_buf(l->chan), &hello);

    chan_queued(l->chan);
    return r;
}

static int on_hello(struct link *l, const void *payload, size_t len) {
    struct wire_hello hello;
    int r = wire_get_hello(payload, len, &hello);

    if (r < 0)
        return r;
    if (hello.wire_version != WIRE_VERSION) {
        log_error("the master (dld %s) speaks version %" PRIu32
                  " of the worker protocol, this is dld-worker " DLD_VERSION
                  " with version %d: install both from one build and restart dld",
                  hello.program_version ? hello.program_version : "?", hello.wire_version,
                  WIRE_VERSION);
        if (say_hello(l) == 0)
            chan_flush(l->chan, USEC_PER_SEC);
        _exit(WORKER_PROTOCOL);
    }
    l->greeted = true;
    return 0;
}

static int on_config(struct link *l, const void *payload, size_t len) {
    struct wire_config config;
    int r = wire_get_config(payload, len, &config);

    if (r < 0)
        return r;
    l->configured = true;
    r = l->handlers.config(l->handlers.userdata, &config);
    fault_point(worker_configured);
    return r < 0 ? r : say_hello(l);
}

static int on_job(struct link *l, const void *payload, size_t len) {
    struct wire_job job;
    int r = wire_get_job(payload, len, &job);

    return r < 0 ? r : l->handlers.job(l->handlers.userdata, &job);
}

static int on_id(struct link *l, const void *payload, size_t len,
                 int (*handler)(void *userdata, int64_t id)) {
    int64_t id;
    int r = wire_get_id(payload, len, &id);

    return r < 0 ? r : handler(l->handlers.userdata, id);
}

static int on_rate(struct link *l, const void *payload, size_t len) {
    struct wire_rate rate;
    int r = wire_get_rate(payload, len, &rate);

    return r < 0 ? r : l->handlers.rate(l->handlers.userdata, &rate);
}

static int on_widened(struct link *l, const void *payload, size_t len) {
    struct wire_widened message;
    int r = wire_get_widened(payload, len, &message);

    return r < 0 ? r : l->handlers.widened(l->handlers.userdata, &message);
}

static int on_discard(struct link *l, const void *payload, size_t len) {
    struct wire_discard message;
    int r = wire_get_discard(payload, len, &message);

    return r < 0 ? r : l->handlers.discard(l->handlers.userdata, &message);
}

static int on_empty(struct link *l, const void *payload, size_t len, int (*handler)(void *)) {
    int r = wire_get_empty(payload, len);

    return r < 0 ? r : handler(l->handlers.userdata);
}

static int on_record(void *userdata, uint8_t type, const void *payload, size_t len) {
    struct link *l = userdata;

    if (!l->greeted)
        return type == WIRE_HELLO ? on_hello(l, payload, len) : -EBADMSG;
    if (!l->configured)
        return type == WIRE_CONFIG ? on_config(l, payload, len) : -EBADMSG;
    switch (type) {
    case WIRE_JOB:
        return on_job(l, payload, len);
    case WIRE_CANCEL:
        return on_id(l, payload, len, l->handlers.cancel);
    case WIRE_RELEASE:
        return on_id(l, payload, len, l->handlers.release);
    case WIRE_RATE:
        return on_rate(l, payload, len);
    case WIRE_WIDENED:
        return on_widened(l, payload, len);
    case WIRE_DISCARD:
        return on_discard(l, payload, len);
    case WIRE_STOP:
        return on_empty(l, payload, len, l->handlers.stop);
    case WIRE_DRAIN:
        return on_empty(l, payload, len, l->handlers.drain);
    default:
        return -EBADMSG;
    }
}

static void on_closed(void *userdata, int error) {
    (void)userdata;
    if (error == 0)
        _exit(WORKER_OK);
    log_error("the master sent something that makes no sense (%s); the worker ends",
              strerror(-error));
    _exit(WORKER_PROTOCOL);
}

/* Without its result the master would wait for a job for ever. */
static _Noreturn void fail_send(int error) {
    log_error("a message to the master can't be sent: %s; the worker ends", strerror(-error));
    _exit(WORKER_FAILED);
}

int link_new(struct link **ret, sd_event *event, int fd, const struct link_handlers *handlers) {
    struct link *l = calloc(1, sizeof(*l));
    int r;

    if (!l) {
        close_fd(fd);
        return -ENOMEM;
    }
    l->handlers = *handlers;
    r = chan_new(&l->chan, event, fd, on_record, on_closed, l);
    if (r < 0) {
        free(l);
        return r;
    }
    *ret = l;
    return 0;
}

struct link *link_free(struct link *l) {
    if (!l)
        return NULL;
    chan_free(l->chan);
    free(l);
    return NULL;
}

void link_send_fetched(struct link *l, const struct wire_fetched *fetched) {
    int r = wire_put_fetched(chan_buf(l->chan), fetched);

    if (r < 0)
        fail_send(r);
    chan_queued(l->chan);
}

void link_send_discarded(struct link *l, int64_t id) {
    int r = wire_put_discarded(chan_buf(l->chan), id);

    if (r < 0)
        fail_send(r);
    chan_queued(l->chan);
}

void link_send_widen(struct link *l, const struct wire_widen *widen) {
    int r = wire_put_widen(chan_buf(l->chan), widen);

    if (r < 0)
        fail_send(r);
    chan_queued(l->chan);
}

void link_send_checkpoint(struct link *l, const struct wire_checkpoint *checkpoint) {
    int r = wire_put_checkpoint(chan_buf(l->chan), checkpoint);

    if (r < 0)
        fail_send(r);
    chan_queued(l->chan);
}

void link_send_result(struct link *l, const struct wire_result *result) {
    int r = wire_put_result(chan_buf(l->chan), result);

    if (r < 0)
        fail_send(r);
    chan_queued(l->chan);
}

int link_flush(struct link *l, uint64_t timeout_usec) {
    return chan_flush(l->chan, timeout_usec);
}
