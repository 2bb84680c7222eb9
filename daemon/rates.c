#include "daemon/rates.h"

#define HASH_NONFATAL_OOM 1
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "common/log.h"
#include "common/ratelimit.h"
#include "common/util.h"

#define IDLE_BUCKETS 1024 /* that remember what hosts without active jobs have spent */

/* The clock may be set, and the time zone changed, without our being told. */
#define LOOK_AGAIN (3600 * USEC_PER_SEC)

struct host_bucket {
    char *host;
    unsigned users;
    struct host_bucket *prev, *next; /* those without users, the one used last at the end */
    UT_hash_handle hh;               /* by host */
};

struct rates {
    const struct config *config;
    sd_event *event;
    struct rate_window *windows; /* the names are the configuration's */
    struct ratelimit memory;
    int fd;
    sd_event_source *timer; /* the next change by the timetable; NULL: there is none */

    bool set;
    uint64_t set_limit;
    struct rate_now now; /* by the timetable */
    uint64_t in_force;

    struct host_bucket *buckets; /* by number */
    struct host_bucket *by_host, *idle;
    uint32_t n_used; /* those behind were never used; 0 is not a host's */
};

/* ---- for all ---- */

static void apply(struct rates *r) {
    uint64_t limit = r->set ? r->set_limit : r->now.limit;
    const char *why = r->set ? "as was set" : r->now.window ? r->now.window->name : "[rate] limit";

    if (limit == r->in_force)
        return;
    r->in_force = limit;
    bucket_set(&r->memory.lines[RATELIMIT_GLOBAL].bucket, limit, ratelimit_now());
    if (limit == RATE_NONE)
        log_info("transfers are not limited any more (%s)", why);
    else
        log_info("transfers are limited to %" PRIu64 " bytes a second (%s)", limit, why);
}

static int consult(struct rates *r) {
    uint64_t now = now_usec(CLOCK_REALTIME);
    int e = 0;

    timetable_at(r->windows, r->config->n_windows, r->config->rate.limit, now, &r->now);
    if (r->timer) {
        e = sd_event_source_set_time(r->timer, MIN(r->now.until, now + LOOK_AGAIN));
        if (e >= 0)
            e = sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
    }
    apply(r);
    return e;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    return consult(userdata);
}

void rates_set(struct rates *r, uint64_t limit) {
    r->set = true;
    r->set_limit = limit;
    apply(r);
}

void rates_reset(struct rates *r) {
    r->set = false;
    apply(r);
}

void rates_now(const struct rates *r, struct rates_info *ret) {
    *ret = (struct rates_info){
        .limit = r->in_force,
        .set = r->set,
        .window = r->now.window && !r->set ? r->now.window->name : NULL,
        .until = r->set ? USEC_INFINITY : r->now.until,
    };
}

/* ---- for hosts ---- */

/* One that was never used, or else the one that was idle for longest. */
static struct host_bucket *unused(struct rates *r) {
    struct host_bucket *b = r->idle;

    if (r->n_used < r->memory.n_buckets)
        return &r->buckets[r->n_used++];
    if (!b)
        return NULL;
    DL_DELETE(r->idle, b);
    HASH_DEL(r->by_host, b);
    free(TAKE_PTR(b->host));
    return b;
}

/* Takes over the host's name. */
static struct host_bucket *assign(struct rates *r, char *host, uint64_t rate) {
    struct host_bucket *b = unused(r);

    if (!b)
        return NULL;
    b->host = host;
    HASH_ADD_KEYPTR(hh, r->by_host, host, strlen(host), b);
    if (!b->hh.tbl) {
        b->host = NULL;
        return NULL; /* lost until the next start, for want of memory to do better */
    }
    bucket_set(&r->memory.lines[b - r->buckets].bucket, rate, ratelimit_now());
    return b;
}

int rates_host_take(struct rates *r, const char *host, uint32_t *ret) {
    _cleanup_free_ char *name = NULL;
    struct host_bucket *b = NULL;
    struct config_host h;

    config_host(r->config, host, &h);
    *ret = 0;
    if (h.rate == RATE_NONE)
        return 0;
    HASH_FIND(hh, r->by_host, host, strlen(host), b);
    if (b && b->users == 0) {
        DL_DELETE(r->idle, b);
    } else if (!b) {
        name = strdup(host);
        b = name ? assign(r, name, h.rate) : NULL;
        if (!b)
            return name && !r->idle ? -EBUSY : -ENOMEM;
        TAKE_PTR(name);
    }
    b->users++;
    *ret = (uint32_t)(b - r->buckets);
    return 0;
}

void rates_host_drop(struct rates *r, uint32_t bucket) {
    struct host_bucket *b = &r->buckets[bucket];

    if (bucket > 0 && --b->users == 0)
        DL_APPEND(r->idle, b);
}

/* ---- life ---- */

int rates_fd(const struct rates *r) {
    return r->fd;
}

/* The timetable as the configuration has it. */
static int read_windows(struct rates *r) {
    const struct config *c = r->config;
    struct rate_window *windows = calloc(c->n_windows + 1, sizeof(*windows));
    int e = 0;

    if (windows && c->n_windows > 0 && !r->timer)
        e = sd_event_add_time(r->event, &r->timer, CLOCK_REALTIME, 0, USEC_PER_MSEC, on_time, r);
    if (!windows || e < 0) {
        free(windows);
        return windows ? e : -ENOMEM;
    }
    if (c->n_windows == 0)
        r->timer = sd_event_source_disable_unref(r->timer);
    for (size_t i = 0; i < c->n_windows; i++)
        windows[i] = c->windows[i].window;
    free(r->windows);
    r->windows = windows;
    return consult(r);
}

int rates_configured(struct rates *r) {
    uint64_t now = ratelimit_now();
    struct host_bucket *b, *next;
    int e = read_windows(r);

    if (e < 0)
        return e;
    HASH_ITER(hh, r->by_host, b, next) {
        struct ratelimit_bucket *bucket = &r->memory.lines[b - r->buckets].bucket;
        struct config_host h;

        config_host(r->config, b->host, &h);
        if (h.rate != bucket->rate)
            bucket_set(bucket, h.rate, now);
    }
    return 0;
}

static int setup(struct rates *r, uint32_t n_jobs) {
    int e =
        ratelimit_create(MIN(1 + n_jobs + IDLE_BUCKETS, RATELIMIT_MAX_BUCKETS), &r->memory, &r->fd);

    if (e < 0)
        return e;
    r->n_used = 1;
    r->buckets = calloc(r->memory.n_buckets, sizeof(*r->buckets));
    return r->buckets ? read_windows(r) : -ENOMEM;
}

int rates_new(struct rates **ret, sd_event *event, const struct config *config, uint32_t n_jobs) {
    struct rates *r = calloc(1, sizeof(*r));
    int e;

    if (!r)
        return -ENOMEM;
    r->config = config;
    r->fd = -1;
    r->event = event;
    e = setup(r, n_jobs);
    if (e < 0) {
        rates_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

struct rates *rates_free(struct rates *r) {
    struct host_bucket *b, *next;

    if (!r)
        return NULL;
    HASH_ITER(hh, r->by_host, b, next) {
        HASH_DEL(r->by_host, b);
        free(b->host);
    }
    sd_event_source_disable_unref(r->timer);
    ratelimit_done(&r->memory);
    close_fd(r->fd);
    free(r->buckets);
    free(r->windows);
    free(r);
    return NULL;
}
