#include "client/dlctl.h"

#include "client/connect.h"
#include "client/options.h"
#include "client/waiter.h"

int verb_wait(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "wait", "ID... | --batch B | --all",
        "Wait until the jobs have ended. Each is printed as it ends, those that had ended\n"
        "before at once, and then the sum. --all waits for the jobs there are now.\n"
        "Exits with 1 if a job failed or was cancelled.\n"};
    _cleanup_(selection_done) struct selection jobs = {0};
    const struct option_spec specs[] = {
        {"--batch", OPTION_NUMBER, &jobs.batch, "B", "the jobs of batch B"},
        {"--all", OPTION_FLAG, &jobs.all, NULL, "all jobs that have not ended"},
        {0},
    };
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(waiter_done) struct waiter w = {0};
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r != 0)
        return options_status(r);
    r = selection_make("wait", argc, argv, &jobs);
    if (r < 0)
        return options_status(r);
    r = client_connect(c, &rpc);
    if (r != 0)
        return r;
    waiter_init(&w, c, &rpc, &jobs);
    return waiter_run(&w);
}
