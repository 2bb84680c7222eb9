#include "daemon/methods.h"

void method_wait(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"ids", "batch", "all", "events", "brief", NULL};
    struct methods *m = userdata;
    struct params_choice choice = {.batch = 0};
    struct params_error err;
    bool events = false, brief = false;

    if (params_only(params, known, &err) < 0 || params_bool(params, "events", &events, &err) < 0 ||
        params_bool(params, "brief", &brief, &err) < 0 ||
        params_choice(params, known, &choice, &err) < 0)
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
    else if (m->stopping)
        request_fail(request, RPC_STOPPING, "the daemon is stopping; the jobs stay in the queue");
    else if (!request_waits(request))
        request_fail(request, RPC_BUSY,
                     "this connection has too many waits under way; use another for more");
    else
        watches_wait(m->watches, request, &choice, events, brief);
    params_choice_done(&choice);
}
