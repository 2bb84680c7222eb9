/*
 * queue_worker.c - stands in for dld-worker where the queue is measured: transfers nothing.
 *
 * Where the output root has a file "answer" when the worker starts, it reports every job as done at
 * once; else it holds them all. When the first job comes the file "first" is made there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/chan.h"
#include "common/util.h"

struct worker {
    sd_event *event;
    struct chan *chan;
    bool answers, had_one;
    int64_t *held;
    size_t n_held, room;
};

/* Results are few bytes: that the buffer doesn't take one more is not expected. */
static int send_result(struct worker *w, int64_t id, enum wire_outcome outcome) {
    struct wire_result m = {.id = id, .outcome = outcome, .size = -1, .kept.total = -1};

    if (outcome == OUTCOME_DONE) {
        m.http_status = 200;
        m.bytes = m.size = 12345;
        m.started_usec = now_usec(CLOCK_REALTIME);
        m.output = "example.com/pub/files/some-file.bin";
        m.content_type = "application/octet-stream";
    }
    int r = wire_put_result(chan_buf(w->chan), &m);
    chan_queued(w->chan);
    return r;
}

static int hold(struct worker *w, int64_t id) {
    if (w->n_held == w->room) {
        size_t room = MAX(w->room * 2, 64u);
        void *p = reallocarray(w->held, room, sizeof(*w->held));

        if (!p)
            return -ENOMEM;
        w->held = p;
        w->room = room;
    }
    w->held[w->n_held++] = id;
    return 0;
}

static int on_job(struct worker *w, const void *payload, size_t len) {
    struct wire_job job;
    int r = wire_get_job(payload, len, &job);

    if (r < 0)
        return r;
    if (!w->had_one)
        close(openat(WORKER_FD_ROOT, "first", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    w->had_one = true;
    return w->answers ? send_result(w, job.id, OUTCOME_DONE) : hold(w, job.id);
}

static int on_config(struct worker *w) {
    struct wire_hello hello = {.wire_version = WIRE_VERSION, .program_version = DLD_VERSION};
    int r = wire_put_hello(chan_buf(w->chan), &hello);

    chan_queued(w->chan);
    return r;
}

static int on_stop(struct worker *w) {
    for (size_t i = 0; i < w->n_held; i++)
        send_result(w, w->held[i], OUTCOME_RELEASED);
    chan_flush(w->chan, 5 * USEC_PER_SEC);
    return sd_event_exit(w->event, 0);
}

static int on_record(void *userdata, uint8_t type, const void *payload, size_t len) {
    switch (type) {
    case WIRE_CONFIG:
        return on_config(userdata);
    case WIRE_JOB:
        return on_job(userdata, payload, len);
    case WIRE_DRAIN:
    case WIRE_STOP:
        return on_stop(userdata);
    default: /* nobody cancels jobs here, or asks for anything else that needs an answer */
        return 0;
    }
}

static void on_closed(void *userdata, int error) {
    struct worker *w = userdata;

    sd_event_exit(w->event, error < 0);
}

int main(void) {
    struct worker w = {0};
    int r;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    w.answers = faccessat(WORKER_FD_ROOT, "answer", F_OK, 0) == 0;
    r = sd_event_new(&w.event);
    if (r >= 0)
        r = chan_new(&w.chan, w.event, WORKER_FD_CHANNEL, on_record, on_closed, &w);
    if (r >= 0)
        r = sd_event_loop(w.event);
    chan_free(w.chan);
    sd_event_unref(w.event);
    free(w.held);
    return r < 0 ? 1 : r;
}
