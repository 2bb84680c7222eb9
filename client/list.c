#include "client/dlctl.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "client/connect.h"
#include "client/options.h"
#include "client/print.h"
#include "client/progress.h"
#include "client/table.h"
#include "common/exitcode.h"

#define PAGE_JOBS 1000

struct list {
    struct dlctl *c;
    const char *state;     /* NULL: any */
    const char *tag;       /* NULL: any */
    uint64_t batch, limit; /* 0: any, no limit */
    uint64_t shown;
    int64_t after;  /* the ID that the next page starts behind */
    unsigned width; /* of the terminal */
};

static int list_ask(const struct list *l, struct rpc *rpc, json_t **ret) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(4 * KIB);
    uint64_t limit = PAGE_JOBS;

    if (l->limit > 0)
        limit = MIN(limit, l->limit - l->shown);
    json_begin(&b, NULL, '{');
    if (l->state)
        json_str(&b, "state", l->state);
    if (l->batch > 0)
        json_int(&b, "batch", (int64_t)l->batch);
    if (l->tag)
        json_str(&b, "tag", l->tag);
    json_int(&b, "after", l->after);
    json_int(&b, "limit", (int64_t)limit);
    json_end(&b, '}');
    return rpc_call(rpc, "list", &b, ret);
}

static void list_print(struct list *l, const json_t *jobs) {
    const json_t *job;
    size_t i;

    json_array_foreach(jobs, i, job) {
        if (l->c->json) {
            print_json(job);
        } else {
            if (l->shown == 0)
                table_list_head();
            table_list_row(job, l->width);
        }
        l->shown++;
    }
    print_flush();
}

/* One page after another. Returns the exit status. */
static int list_run(struct list *l, struct rpc *rpc) {
    bool more = true;

    while (more && (l->limit == 0 || l->shown < l->limit)) {
        json_t *page = NULL;
        int64_t next;
        int r = list_ask(l, rpc, &page);

        if (r < 0)
            return rpc_complain(rpc, r);
        list_print(l, json_object_get(page, "jobs"));
        next = get_int(page, "next", 0);
        more = next > l->after;
        l->after = next;
        json_decref(page);
    }
    if (l->shown == 0 && !l->c->json) {
        puts("No jobs.");
        print_flush();
    }
    return DLCTL_OK;
}

int verb_list(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {"list", "", "List jobs, oldest first.\n"};
    struct list l = {.c = c, .width = terminal_width(STDOUT_FILENO)};
    const struct option_spec specs[] = {
        {"--state", OPTION_TEXT, &l.state, "S",
         "those that are queued, waiting, paused, active, done,\nfailed or cancelled"},
        {"--batch", OPTION_NUMBER, &l.batch, "B", "the jobs of batch B"},
        {"--tag", OPTION_TEXT, &l.tag, "T", "those with this tag"},
        {"--limit", OPTION_NUMBER, &l.limit, "N", "N of them at most"},
        {0},
    };
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r != 0)
        return options_status(r);
    if (argc > 0) {
        complain("list takes no words, but '%s' was given; one job is shown by dlctl show ID",
                 argv[0]);
        return DLCTL_USAGE;
    }
    r = client_connect(c, &rpc);
    return r != 0 ? r : list_run(&l, &rpc);
}
