#include "client/dlctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "client/connect.h"
#include "client/format.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

/* `backoff, next start in 12.00 s, 3 failures in a row (connect)` */
static void add_health(struct buf *b, const json_t *host) {
    const char *state = get_text(host, "state"), *error = get_text(host, "error");
    double wait = get_number(host, "next_start", 0) - (double)now_usec(CLOCK_REALTIME) / 1e6;
    int64_t failures = get_int(host, "failures", 0);
    char text[FORMAT_MAX];

    format_printable(b, state ? state : "?");
    if (wait > 0)
        buf_addf(b, ", next start in %s", format_duration(wait, text));
    if (failures > 0)
        buf_addf(b, ", %" PRId64 " failure%s in a row", failures, failures == 1 ? "" : "s");
    if (failures > 0 && error) {
        buf_adds(b, " (");
        format_printable(b, error);
        buf_addc(b, ')');
    }
}

static void host_print(const json_t *host) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(64 * KIB);
    const char *name = get_text(host, "host");
    int64_t limit = get_int(host, "limit", 0);
    char text[FORMAT_MAX] = "-";

    if (limit > 0)
        snprintf(text, sizeof(text), "%" PRId64, limit);
    buf_addf(&b, "%9" PRId64 "  %6" PRId64 "  %5s  %9" PRId64 "  %8" PRId64 "  %6" PRId64 "  ",
             get_int(host, "queued", 0), get_int(host, "active", 0), text,
             get_int(host, "waiting", 0), get_int(host, "paused", 0), get_int(host, "uid", -1));
    format_printable(&b, name ? name : "?");
    buf_adds(&b, "  ");
    add_health(&b, host);
    print_line(&b);
}

static bool page_print(const struct dlctl *c, const json_t *page, bool first) {
    const json_t *hosts = json_object_get(page, "hosts"), *host;
    size_t i;

    if (first && !c->json && json_array_size(hosts) > 0)
        printf("%9s  %6s  %5s  %9s  %8s  %6s  %s\n", "QUEUED", "ACTIVE", "LIMIT", "WAITING",
               "PAUSED", "UID", "HOST  STATE");
    json_array_foreach(hosts, i, host) {
        if (c->json)
            print_json(host);
        else
            host_print(host);
    }
    print_flush();
    return json_array_size(hosts) > 0;
}

/* One page after another. */
static int hosts_run(struct dlctl *c, struct rpc *rpc) {
    int64_t after = 0, next = 0;
    bool any = false;

    do {
        _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
        json_t *page = NULL;
        int r;

        json_begin(&b, NULL, '{');
        json_int(&b, "after", after);
        json_end(&b, '}');
        r = rpc_call(rpc, "hosts", &b, &page);
        if (r < 0)
            return rpc_complain(rpc, r);
        any = page_print(c, page, after == 0) || any;
        next = get_int(page, "next", 0);
        json_decref(page);
        if (next <= after)
            break;
        after = next;
    } while (next > 0);
    if (!any && !c->json) {
        puts("No host has jobs.");
        print_flush();
    }
    return DLCTL_OK;
}

int verb_hosts(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "hosts", "",
        "List the hosts that have jobs which have not ended, a line for each user who submitted\n"
        "some: how many, how many connections the host may have now, and how it is doing.\n"};
    const struct option_spec specs[] = {{0}};
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r != 0)
        return options_status(r);
    if (argc > 0) {
        complain("hosts takes no words, but '%s' was given", argv[0]);
        return DLCTL_USAGE;
    }
    r = client_connect(c, &rpc);
    return r != 0 ? r : hosts_run(c, &rpc);
}
