#include "client/dlctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/connect.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

/* What differs between the verbs that move jobs to another state. */
struct change {
    struct usage usage;
    const char *all;            /* help of --all */
    const char *moved;          /* key of the number of jobs that were moved */
    const char *before, *after; /* what is said around "3 jobs" */
    const char *unfit;          /* key of the jobs that were in no state to be moved */
    const char *reason;         /* why they were not */
};

/* Complains about each job in the list; returns whether there is one. */
static bool complain_each(const json_t *ids, const char *reason) {
    const json_t *id;
    size_t i;

    json_array_foreach(ids, i, id)
        complain("job %" JSON_INTEGER_FORMAT " %s", json_integer_value(id), reason);
    return json_array_size(ids) > 0;
}

static int change_report(const struct dlctl *c, const struct change *change, const json_t *result) {
    int64_t n = get_int(result, change->moved, 0);
    bool missing, unfit;

    if (c->json)
        print_json(result);
    else
        printf("%s %" PRId64 " job%s%s.\n", change->before, n, n == 1 ? "" : "s", change->after);
    print_flush();
    missing = complain_each(json_object_get(result, "missing"), "does not exist");
    unfit = complain_each(json_object_get(result, change->unfit), change->reason);
    return missing || unfit ? DLCTL_JOB_FAILED : DLCTL_OK;
}

static int change_run(struct dlctl *c, const struct change *change, int argc, char **argv) {
    _cleanup_(selection_done) struct selection jobs = {0};
    const struct option_spec specs[] = {
        {"--batch", OPTION_NUMBER, &jobs.batch, "B", "the jobs of batch B"},
        {"--tag", OPTION_TEXT, &jobs.tag, "T", "those with this tag"},
        {"--host", OPTION_TEXT, &jobs.host, "H:P", "those for this host and port"},
        {"--all", OPTION_FLAG, &jobs.all, NULL, change->all},
        {0},
    };
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(buf_done) struct buf b = BUF_INIT(MIB);
    json_t *result = NULL;
    int r = options_parse(c, &change->usage, specs, &argc, argv);

    if (r == 0)
        r = selection_make(change->usage.verb, argc, argv, &jobs);
    if (r != 0)
        return options_status(r);
    json_begin(&b, NULL, '{');
    selection_to_json(&b, &jobs);
    r = client_call(c, &rpc, change->usage.verb, &b, &result);
    if (r != 0)
        return r;
    r = change_report(c, change, result);
    json_decref(result);
    return r;
}

int verb_cancel(struct dlctl *c, int argc, char **argv) {
    static const struct change cancel = {
        .usage = {"cancel", "ID... | OPTION",
                  "Cancel jobs that have not ended. What they have fetched is removed. A job that\n"
                  "has ended stays as it is.\n"},
        .all = "all jobs that have not ended",
        .moved = "cancelled",
        .before = "Cancelled",
        .after = "",
        .unfit = "ended",
        .reason = "had ended already",
    };

    return change_run(c, &cancel, argc, argv);
}

int verb_pause(struct dlctl *c, int argc, char **argv) {
    static const struct change pause = {
        .usage = {"pause", "ID... | OPTION",
                  "Pause jobs that have not ended, until dlctl resume. What they have fetched is\n"
                  "kept, and they go on from there. Jobs that are submitted later are not paused.\n"},
        .all = "all jobs that have not ended",
        .moved = "paused",
        .before = "Paused",
        .after = "",
        .unfit = "ended",
        .reason = "has ended, or is paused already",
    };

    return change_run(c, &pause, argc, argv);
}

int verb_resume(struct dlctl *c, int argc, char **argv) {
    static const struct change resume = {
        .usage = {"resume", "ID... | OPTION", "Let paused jobs go on.\n"},
        .all = "all jobs that are paused",
        .moved = "resumed",
        .before = "Resumed",
        .after = "",
        .unfit = "unpaused",
        .reason = "is not paused",
    };

    return change_run(c, &resume, argc, argv);
}

int verb_retry(struct dlctl *c, int argc, char **argv) {
    static const struct change retry = {
        .usage = {"retry", "ID... | OPTION", "Queue jobs again that failed or were cancelled.\n"},
        .all = "all jobs that failed",
        .moved = "retried",
        .before = "Queued",
        .after = " again",
        .unfit = "unended",
        .reason = "has neither failed nor been cancelled",
    };

    return change_run(c, &retry, argc, argv);
}
