#include "daemon/methods.h"

#include <errno.h>
#include <stdlib.h>

#define LIST_MAX 1000

struct hosts {
    struct methods *methods;
    struct request *request;
    int64_t *active; /* lanes of active jobs, one for each, in order */
    size_t n_active;
};

static void hosts_free(struct hosts *h) {
    free(h->active);
    free(h);
}

static uint64_t count_active(const struct hosts *h, int64_t lane) {
    uint64_t n = 0;
    size_t low = 0, high = h->n_active;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (h->active[middle] < lane)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < h->n_active && h->active[low++] == lane)
        n++;
    return n;
}

static const char *state_name(const struct sched_host_info *info) {
    static const char *const names[] = {
        [SCHED_HOST_OPEN] = "open",
        [SCHED_HOST_BACKOFF] = "backoff",
        [SCHED_HOST_PROBE] = "probe",
        [SCHED_HOST_DOWN] = "down",
    };

    return names[info->state];
}

/* Health is in memory where the host is in the window, and with the lane where it is not. */
static void write_health(const struct hosts *h, struct buf *b, const struct store_lane *lane) {
    struct sched_host_info info = {.state = SCHED_HOST_OPEN};
    uint64_t now = now_usec(CLOCK_MONOTONIC), real = now_usec(CLOCK_REALTIME), next = 0;

    if (dispatch_host_info(h->methods->dispatch, lane->host, &info)) {
        next = info.next_start > now ? real + (info.next_start - now) : 0;
    } else if (lane->due > real) {
        info = (struct sched_host_info){.state = SCHED_HOST_BACKOFF, .failures = lane->failures};
        next = lane->due;
    }
    json_str(b, "state", state_name(&info));
    if (info.limit > 0)
        json_int(b, "limit", info.limit);
    else
        json_none(b, "limit");
    if (next > 0)
        json_time(b, "next_start", next);
    else
        json_none(b, "next_start");
    json_int(b, "failures", info.failures);
    json_str(b, "error", error_name(info.error));
}

static void write_lane(const struct hosts *h, struct buf *b, const struct store_lane *lane) {
    uint64_t active = count_active(h, lane->id);

    json_begin(b, NULL, '{');
    json_str(b, "host", lane->host);
    json_int(b, "uid", lane->uid);
    json_int(b, "queued", (int64_t)(lane->queued - MIN(lane->queued, active)));
    json_int(b, "active", (int64_t)active);
    json_int(b, "waiting", (int64_t)lane->waiting);
    json_int(b, "paused", (int64_t)lane->paused);
    write_health(h, b, lane);
    json_end(b, '}');
}

static void on_hosts(void *userdata, int error, struct store_lane *lanes, size_t n, bool more) {
    struct hosts *h = userdata;
    struct buf *b;

    if (error < 0) {
        request_fail_store(h->request, error);
        hosts_free(h);
        return;
    }
    b = request_reply(h->request);
    json_begin(b, "result", '{');
    json_begin(b, "hosts", '[');
    for (size_t i = 0; i < n; i++)
        if (lanes[i].queued + lanes[i].waiting + lanes[i].paused > 0) /* else they are still coming in */
            write_lane(h, b, &lanes[i]);
    json_end(b, ']');
    if (more && n > 0)
        json_int(b, "next", lanes[n - 1].id);
    else
        json_none(b, "next");
    json_end(b, '}');
    request_done(h->request);
    hosts_free(h);
}

void method_hosts(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"after", "limit", NULL};
    struct methods *m = userdata;
    struct params_error err;
    struct hosts *h;
    int64_t after = 0, limit = LIST_MAX;

    if (params_only(params, known, &err) < 0 ||
        params_int(params, "after", 0, INT64_MAX, &after, &err) < 0 ||
        params_int(params, "limit", 1, LIST_MAX, &limit, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    h = calloc(1, sizeof(*h));
    if (h) {
        *h = (struct hosts){.methods = m, .request = request};
        h->active = dispatch_active_lanes(m->dispatch, &h->n_active);
    }
    if (!h || !h->active ||
        store_hosts(m->store, NULL, after, (size_t)limit, on_hosts, h) < 0) {
        request_fail_memory(request);
        if (h)
            hosts_free(h);
    }
}

void method_drain(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"on", NULL};
    struct methods *m = userdata;
    struct params_error err;
    struct buf *b;
    bool on = true;

    if (params_only(params, known, &err) < 0 || params_bool(params, "on", &on, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    dispatch_drain(m->dispatch, on);
    b = request_reply(request);
    json_begin(b, "result", '{');
    json_bool(b, "draining", on);
    json_int(b, "active", dispatch_activity(m->dispatch, 0).jobs);
    json_end(b, '}');
    request_done(request);
}
