#include "client/dlctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/connect.h"
#include "client/format.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

static const char *format_speed(const json_t *from, char ret[static FORMAT_MAX]) {
    double speed = get_number(from, "speed", 0);

    return format_bytes(speed > 0 && speed < 1e18 ? (uint64_t)speed : 0, ret);
}

/* `dld 0.1.0, pid 812, up 2 h 13 min, 3.4 MB/s` */
static void status_head(struct buf *b, const json_t *status) {
    const char *version = get_text(status, "version");
    char text[FORMAT_MAX];

    buf_adds(b, "dld ");
    format_printable(b, version ? version : "?");
    if (get_int(status, "pid", 0) > 0)
        buf_addf(b, ", pid %" PRId64, get_int(status, "pid", 0));
    buf_addf(b, ", up %s", format_duration(get_number(status, "uptime", 0), text));
    buf_addf(b, ", %s/s", format_speed(status, text));
    print_line(b);
}

/* `Rate: 2 MB/s, by [rate "day"] until 2026-11-22 07:00:00`; nothing where there never is a limit. */
static void status_rate(struct buf *b, const json_t *rate) {
    const char *by = get_text(rate, "by"), *window = get_text(rate, "window");
    double until = get_number(rate, "until", 0);
    int64_t limit = get_int(rate, "limit", 0);
    char text[FORMAT_MAX];

    if (!by || (limit <= 0 && streq(by, "config") && until <= 0))
        return;
    if (limit > 0)
        buf_addf(b, "Rate: %s/s, ", format_bytes((uint64_t)limit, text));
    else
        buf_adds(b, "Rate: no limit, ");
    if (window) {
        buf_adds(b, "by [rate \"");
        format_printable(b, window);
        buf_adds(b, "\"]");
    } else {
        buf_adds(b, streq(by, "set") ? "as set by dlctl set" : "by [rate] limit");
    }
    if (until > 0)
        buf_addf(b, " until %s", format_time(until, text));
    print_line(b);
}

/* `Jobs: 10 queued, 0 waiting, ...` */
static void status_jobs(struct buf *b, json_t *jobs) {
    const char *state, *comma = " ";
    json_t *n;

    buf_adds(b, "Jobs:");
    json_object_foreach(jobs, state, n) {
        buf_addf(b, "%s%" JSON_INTEGER_FORMAT " ", comma, json_integer_value(n));
        format_printable(b, state);
        comma = ", ";
    }
    print_line(b);
}

static void status_batch(struct buf *b, const json_t *batch) {
    char text[FORMAT_MAX];

    buf_addf(b, "Batch %" PRId64 ": %" PRId64 " of %" PRId64 " done", get_int(batch, "batch", 0),
             get_int(batch, "done", 0), get_int(batch, "count", 0));
    buf_addf(b, ", %" PRId64 " failed, %" PRId64 " cancelled, %" PRId64 " active",
             get_int(batch, "failed", 0), get_int(batch, "cancelled", 0),
             get_int(batch, "active", 0));
    buf_addf(b, ", %s", format_bytes(batch_bytes(batch), text));
    buf_addf(b, " in %s", format_duration(get_number(batch, "seconds", 0), text));
    buf_addf(b, ", %s/s", format_speed(batch, text));
    if (json_is_false(json_object_get(batch, "complete")))
        buf_adds(b, "; still being submitted");
    print_line(b);
}

static void status_workers(struct buf *b, const json_t *workers) {
    const json_t *w;
    size_t i;

    buf_addf(b, "%-6s  %7s  %-8s  %6s  %10s  %9s  %8s", "WORKER", "PID", "STATE", "ACTIVE", "SPEED",
             "DONE", "RESTARTS");
    print_line(b);
    json_array_foreach(workers, i, w) {
        const char *state = get_text(w, "state");
        char speed[FORMAT_MAX + 4], text[FORMAT_MAX];

        snprintf(speed, sizeof(speed), "%s/s", format_speed(w, text));
        buf_addf(
            b, "w%-5" PRId64 "  %7" PRId64 "  %-8.20s  %6" PRId64 "  %10s  %9" PRId64 "  %8" PRId64,
            get_int(w, "worker", 0), get_int(w, "pid", 0), state ? state : "-",
            get_int(w, "active", 0), speed, get_int(w, "done", 0), get_int(w, "restarts", 0));
        print_line(b);
    }
}

static void status_print(const json_t *status) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(64 * KIB);
    const json_t *batch = json_object_get(status, "batch");

    if (json_is_object(batch)) {
        status_batch(&b, batch);
        return;
    }
    status_head(&b, status);
    status_rate(&b, json_object_get(status, "rate"));
    status_jobs(&b, json_object_get(status, "jobs"));
    if (json_is_true(json_object_get(status, "draining")))
        puts("Draining: no job is started until dlctl drain --off.");
    status_workers(&b, json_object_get(status, "workers"));
}

int verb_status(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "status", "", "Show how the daemon and its workers are doing, or how far a batch is.\n"};
    uint64_t batch = 0;
    const struct option_spec specs[] = {
        {"--batch", OPTION_NUMBER, &batch, "B", "about batch B"},
        {0},
    };
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    json_t *status = NULL;
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r != 0)
        return options_status(r);
    if (argc > 0) {
        complain("status takes no words, but '%s' was given; a job is shown by dlctl show ID",
                 argv[0]);
        return DLCTL_USAGE;
    }
    json_begin(&b, NULL, '{');
    if (batch > 0)
        json_int(&b, "batch", (int64_t)batch);
    r = client_call(c, &rpc, "status", &b, &status);
    if (r != 0)
        return r;
    if (c->json)
        print_json(status);
    else
        status_print(status);
    json_decref(status);
    print_flush();
    return DLCTL_OK;
}
