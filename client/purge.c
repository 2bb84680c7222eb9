#include "client/dlctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "client/connect.h"
#include "client/idset.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

/* How many jobs the IDs name, of which one may be given twice; -ENOMEM. */
static int64_t count_ids(const struct selection *jobs) {
    _cleanup_(idset_done) struct idset distinct = {0};

    for (size_t i = 0; i < jobs->n_ids; i++)
        if (idset_add(&distinct, (uint64_t)jobs->ids[i]) < 0)
            return -ENOMEM;
    return (int64_t)distinct.n;
}

int verb_purge(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "purge", "ID... | OPTION...",
        "Forget jobs that have ended. Their files stay. Jobs that have not ended are left alone.\n"};
    _cleanup_(selection_done) struct selection jobs = {0};
    const char *state = NULL;
    const struct option_spec specs[] = {
        {"--batch", OPTION_NUMBER, &jobs.batch, "B", "the jobs of batch B"},
        {"--tag", OPTION_TEXT, &jobs.tag, "T", "those with this tag"},
        {"--all", OPTION_FLAG, &jobs.all, NULL, "all jobs that have ended"},
        {"--state", OPTION_TEXT, &state, "S", "only those done, failed or cancelled"},
        {0},
    };
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(buf_done) struct buf b = BUF_INIT(MIB);
    json_t *result = NULL;
    int64_t n, named;
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r == 0)
        r = selection_make("purge", argc, argv, &jobs);
    if (r != 0)
        return options_status(r);
    named = count_ids(&jobs);
    if (named < 0)
        return complain_memory();
    json_begin(&b, NULL, '{');
    selection_to_json(&b, &jobs);
    if (state)
        json_str(&b, "state", state);
    r = client_call(c, &rpc, "purge", &b, &result);
    if (r != 0)
        return r;
    n = get_int(result, "purged", 0);
    if (c->json)
        print_json(result);
    else
        printf("Forgot %" PRId64 " job%s.\n", n, n == 1 ? "" : "s");
    print_flush();
    json_decref(result);
    if (n >= named)
        return DLCTL_OK;
    complain("%" PRId64 " of these jobs do not exist, or did not end so", named - n);
    return DLCTL_JOB_FAILED;
}
