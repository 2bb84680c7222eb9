#include "client/dlctl.h"

#include <stdio.h>

#include "client/connect.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

/* "Changed: retry.base, retry.max" */
static void print_names(const char *title, const json_t *names) {
    for (size_t i = 0; i < json_array_size(names); i++)
        printf("%s%s", i > 0 ? ", " : title, json_string_value(json_array_get(names, i)));
    if (json_array_size(names) > 0)
        puts("");
}

int verb_reload(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "reload", "",
        "Have the daemon read its configuration again. What can change while it runs holds from "
        "now\n"
        "on; what can't is named. A configuration with an error changes nothing.\n"};
    static const struct option_spec specs[] = {{0}};
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    const json_t *changed, *restart;
    json_t *result = NULL;
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r == 0 && argc > 0) {
        complain("reload takes no words, but '%s' was given", argv[0]);
        return DLCTL_USAGE;
    }
    if (r != 0)
        return options_status(r);
    json_begin(&b, NULL, '{');
    r = client_call(c, &rpc, "reload", &b, &result);
    if (r != 0)
        return r;
    changed = json_object_get(result, "changed");
    restart = json_object_get(result, "restart");
    if (c->json)
        print_json(result);
    else if (json_array_size(changed) + json_array_size(restart) == 0)
        puts("Nothing has changed.");
    if (!c->json) {
        print_names("Changed: ", changed);
        print_names("Changed, but it takes a restart: ", restart);
    }
    print_flush();
    json_decref(result);
    return DLCTL_OK;
}
