#include "daemon/methods.h"

#include <errno.h>

#define NAMES_MAX (256 * KIB)
#define WHY_MAX (16 * KIB)

static void reload_done(struct reload *r) {
    buf_done(&r->changed);
    buf_done(&r->restart);
    buf_done(&r->why);
}

static void answer(struct request *request, const struct reload *reload) {
    struct buf *b = request_reply(request);

    json_begin(b, "result", '{');
    json_raw(b, "changed", buf_head(&reload->changed), buf_size(&reload->changed));
    json_raw(b, "restart", buf_head(&reload->restart), buf_size(&reload->restart));
    json_end(b, '}');
    request_done(request);
}

void method_reload(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {NULL};
    _cleanup_(reload_done) struct reload reload = {
        .changed = BUF_INIT(NAMES_MAX), .restart = BUF_INIT(NAMES_MAX), .why = BUF_INIT(WHY_MAX)};
    struct methods *m = userdata;
    struct params_error err;
    const char *why;
    int r;

    if (params_only(params, known, &err) < 0) {
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
        return;
    }
    r = m->reload(m->reload_userdata, &reload);
    why = buf_cstr(&reload.why);
    if (r == 0)
        answer(request, &reload);
    else if (r == -EINVAL)
        request_fail(request, RPC_CONFIG, "nothing was changed: %s",
                     why ? why : "the configuration has errors, see dld --check-config");
    else if (r == -EBUSY)
        request_fail(request, m->stopping ? RPC_STOPPING : RPC_BUSY, "%s",
                     m->stopping ? "the daemon is stopping" : "the daemon is just starting");
    else
        request_fail_memory(request);
}
