#include "client/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/format.h"
#include "client/print.h"

#define LINE_MAX_BYTES MIB

static void add_printable(struct buf *b, const char *s) {
    format_printable(b, s ? s : "-");
}

/* A number into ret, "-" for none. */
static const char *format_int(int64_t n, const char *prefix, char ret[static FORMAT_MAX]) {
    if (n <= 0)
        snprintf(ret, FORMAT_MAX, "-");
    else
        snprintf(ret, FORMAT_MAX, "%s%" PRId64, prefix, n);
    return ret;
}

static const char *format_size(int64_t n, char ret[static FORMAT_MAX]) {
    if (n >= 0)
        return format_bytes((uint64_t)n, ret);
    snprintf(ret, FORMAT_MAX, "-");
    return ret;
}

static void add_output(struct buf *b, const char *output) {
    if (!output)
        return;
    buf_adds(b, " -> ");
    add_printable(b, output);
}

void table_list_head(void) {
    struct buf b = BUF_INIT(KIB);

    buf_addf(&b, "%8s  %-9s  %4s  %9s  %s", "ID", "STATE", "HTTP", "SIZE", "URL -> OUTPUT");
    print_line(&b);
    buf_done(&b);
}

/* What a waiting job waits for, and how long. */
static void add_wait(struct buf *b, const json_t *job) {
    double due = get_number(job, "due", -1), now = (double)now_usec(CLOCK_REALTIME) / USEC_PER_SEC;
    const json_t *error = json_object_get(job, "error");
    char wait[FORMAT_MAX];

    if (due < 0)
        return;
    buf_addf(b, " (in %s", format_duration(MAX(due - now, 0), wait));
    if (json_is_object(error)) {
        buf_adds(b, ", ");
        add_printable(b, get_text(error, "name"));
    }
    buf_adds(b, ")");
}

static void add_error(struct buf *b, const json_t *job) {
    buf_adds(b, " (");
    add_printable(b, get_text(json_object_get(job, "error"), "name"));
    buf_adds(b, ")");
}

void table_list_row(const json_t *job, unsigned width) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(LINE_MAX_BYTES);
    const char *state = get_text(job, "state"), *line;
    char http[FORMAT_MAX], size[FORMAT_MAX];
    int64_t bytes = get_int(job, "bytes", 0);

    buf_addf(&b, "%8" PRId64 "  %-9.20s  %4s  %9s  ", get_int(job, "id", 0), state ? state : "-",
             format_int(get_int(job, "http_status", 0), "", http),
             format_size(get_int(job, "size", bytes > 0 ? bytes : -1), size));
    add_printable(&b, get_text(job, "url"));
    if (!state || (!streq(state, "failed") && !streq(state, "cancelled")))
        add_output(&b, get_text(job, "output"));
    add_wait(&b, job);
    if (state && streq(state, "failed"))
        add_error(&b, job);
    line = buf_cstr(&b);
    if (line && width > 1 && format_width(line) > width) {
        b.len = format_fit(line, width - 1);
        buf_adds(&b, "…");
    }
    print_line(&b);
}

/* Seconds between the job's start and its end, -1 where there are none. */
static double job_seconds(const struct ended *e) {
    return e->started >= 0 && e->finished >= e->started ? e->finished - e->started : -1;
}

void table_ended(const struct ended *e) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(LINE_MAX_BYTES);
    char worker[FORMAT_MAX], http[FORMAT_MAX], bytes[FORMAT_MAX], seconds[FORMAT_MAX];

    buf_addf(&b, "%-6.20s  %-3s %-3s  %8s  %7s  ", e->state ? e->state : "-",
             format_int(e->worker, "w", worker), format_int(e->http_status, "", http),
             format_size(e->bytes, bytes), format_duration(job_seconds(e), seconds));
    add_printable(&b, e->url);
    if (e->error_name) {
        buf_adds(&b, "  ");
        add_printable(&b, e->error_name);
        buf_adds(&b, ": ");
        add_printable(&b, e->error_message);
    } else if (e->state && streq(e->state, "done")) {
        add_output(&b, e->output);
    }
    if (e->skipped)
        buf_adds(&b, " (it was there; skipped)");
    print_line(&b);
}

void table_sum(const json_t *sum) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    int64_t done = get_int(sum, "done", 0), failed = get_int(sum, "failed", 0),
            cancelled = get_int(sum, "cancelled", 0), all = done + failed + cancelled;
    char bytes[FORMAT_MAX], seconds[FORMAT_MAX];

    buf_addf(&b, "Downloaded %" PRId64 " of %" PRId64 " URL%s, %s in %s", done, all,
             all == 1 ? "" : "s", format_size(get_int(sum, "bytes", 0), bytes),
             format_duration(get_number(sum, "seconds", 0), seconds));
    if (failed > 0)
        buf_addf(&b, ", %" PRId64 " failed", failed);
    if (cancelled > 0)
        buf_addf(&b, ", %" PRId64 " cancelled", cancelled);
    print_line(&b);
}
