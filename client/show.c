#include "client/dlctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/connect.h"
#include "client/format.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

#define LINE_MAX_BYTES MIB
#define KEY_WIDTH 14

static bool is_time(const char *key) {
    return streq(key, "created") || streq(key, "started") || streq(key, "finished") ||
           streq(key, "deadline") || streq(key, "not_before") || streq(key, "due");
}

static bool is_bytes(const char *key) {
    return streq(key, "bytes") || streq(key, "size") || streq(key, "max_size") ||
           streq(key, "max_decoded_size");
}

/* A value of the job, whichever keys this and later daemons send. */
static void add_value(struct buf *b, const char *key, const json_t *v) {
    char text[FORMAT_MAX];

    if (json_is_string(v)) {
        format_printable(b, json_string_value(v));
    } else if (is_time(key) && json_is_number(v)) {
        buf_adds(b, format_time(json_number_value(v), text));
    } else if (is_bytes(key) && json_is_integer(v)) {
        buf_adds(b, format_bytes((uint64_t)MAX(json_integer_value(v), 0), text));
        if (json_integer_value(v) >= 1000)
            buf_addf(b, " (%" JSON_INTEGER_FORMAT ")", json_integer_value(v));
    } else {
        char *json = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(16));

        if (json)
            format_printable(b, json);
        free(json);
    }
}

static void add_error(struct buf *b, const json_t *error) {
    const char *name = get_text(error, "name"), *message = get_text(error, "message");

    format_printable(b, name ? name : "-");
    if (message) {
        buf_adds(b, ": ");
        format_printable(b, message);
    }
}

static void show_headers(struct buf *b, json_t *headers) {
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value) {
        const char *text = json_string_value(value);

        buf_addf(b, "%-13s ", "header");
        format_printable(b, name);
        buf_adds(b, ": ");
        format_printable(b, text ? text : "");
        print_line(b);
    }
}

/* `2024-05-04 13:01:59  w2  404  0.02 s  0 B  http: 404 Not Found` */
static void show_attempt(struct buf *b, const json_t *a) {
    double started = get_number(a, "started", -1), finished = get_number(a, "finished", -1);
    const json_t *error = json_object_get(a, "error");
    const char *outcome = get_text(a, "outcome");
    int64_t status = get_int(a, "http_status", 0), worker = get_int(a, "worker", 0);
    char text[FORMAT_MAX];

    buf_addf(b, "attempt %-5" PRId64 " %s", get_int(a, "attempt", 0), format_time(started, text));
    if (worker > 0)
        buf_addf(b, "  w%" PRId64, worker);
    if (status > 0)
        buf_addf(b, "  %" PRId64, status);
    if (finished >= started && started >= 0)
        buf_addf(b, "  %s", format_duration(finished - started, text));
    buf_addf(b, "  %s  ", format_bytes((uint64_t)MAX(get_int(a, "bytes", 0), 0), text));
    if (json_is_object(error))
        add_error(b, error);
    else
        format_printable(b, outcome ? outcome : "");
    print_line(b);
}

static void show_job(json_t *job) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(LINE_MAX_BYTES);
    const char *key;
    json_t *v;
    size_t i;

    json_object_foreach(job, key, v) {
        if (json_is_null(v) || streq(key, "history"))
            continue;
        if (streq(key, "headers") && json_is_object(v)) {
            show_headers(&b, v);
            continue;
        }
        format_printable(&b, key);
        buf_addf(&b, "%*s", MAX(KEY_WIDTH - (int)buf_size(&b), 1), "");
        if (streq(key, "error"))
            add_error(&b, v);
        else
            add_value(&b, key, v);
        print_line(&b);
    }
    json_array_foreach(json_object_get(job, "history"), i, v) show_attempt(&b, v);
}

int verb_show(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {"show", "ID",
                                       "Show all that is known of a job, and its attempts.\n"};
    static const struct option_spec none[] = {{0}};
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    json_t *job = NULL;
    int64_t id;
    int r = options_parse(c, &usage, none, &argc, argv);

    if (r != 0)
        return options_status(r);
    if (argc != 1) {
        complain("show needs the ID of one job");
        return DLCTL_USAGE;
    }
    if (options_ids(1, argv, &id) < 0)
        return DLCTL_USAGE;
    json_begin(&b, NULL, '{');
    json_int(&b, "id", id);
    r = client_call(c, &rpc, "show", &b, &job);
    if (r != 0)
        return r;
    if (c->json)
        print_json(job);
    else
        show_job(job);
    json_decref(job);
    print_flush();
    return DLCTL_OK;
}
