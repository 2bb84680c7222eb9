#include "client/dlctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/connect.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

int verb_drain(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "drain", "",
        "Start no job from now on; those that are active go on to their end. Jobs can still be\n"
        "submitted. It lasts until dlctl drain --off, or until the daemon starts again.\n"};
    bool off = false;
    const struct option_spec specs[] = {
        {"--off", OPTION_FLAG, &off, NULL, "start jobs again"},
        {0},
    };
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    json_t *result = NULL;
    int64_t n;
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r == 0 && argc > 0) {
        complain("drain takes no words, but '%s' was given", argv[0]);
        return DLCTL_USAGE;
    }
    if (r != 0)
        return options_status(r);
    json_begin(&b, NULL, '{');
    json_bool(&b, "on", !off);
    r = client_call(c, &rpc, "drain", &b, &result);
    if (r != 0)
        return r;
    n = get_int(result, "active", 0);
    if (c->json)
        print_json(result);
    else if (off)
        puts("Jobs are started again.");
    else
        printf("Draining: no job is started; %" PRId64 " still active.\n", n);
    print_flush();
    json_decref(result);
    return DLCTL_OK;
}
