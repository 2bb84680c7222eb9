#include "daemon/methods.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/params.h"

static void on_piece(void *userdata, int error, const struct store_piece *p) {
    struct request *request = userdata;
    struct buf *b;

    switch (error) {
    case 0:
        break;
    case -EBUSY:
        request_fail(request, RPC_BUSY,
                     "another backup is being written, or was broken off less than 30 seconds ago;"
                     " try again later");
        return;
    case -ESTALE:
        request_fail(request, RPC_NOT_FOUND,
                     "there is no such backup any more: it took too long; begin again");
        return;
    case -EINVAL:
        request_fail(request, RPC_INVALID_PARAMS, "params.offset: the backup is not so long");
        return;
    default:
        request_fail_store(request, error);
        return;
    }
    b = request_reply(request);
    json_begin(b, "result", '{');
    json_int(b, "backup", p->number);
    json_int(b, "size", (int64_t)p->size);
    if (p->next < p->size)
        json_int(b, "next", (int64_t)p->next);
    else
        json_none(b, "next");
    buf_adds(b, ",\"data\":\"");
    buf_add(b, p->base64, p->length);
    buf_addc(b, '"');
    json_end(b, '}');
    request_done(request);
}

/* The queue holds the URLs and headers of all users: it is for those who could read its file. */
static bool may_read(const struct request *request) {
    uid_t uid = request_uid(request);

    return uid == 0 || uid == geteuid();
}

void method_backup(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"backup", "offset", NULL};
    const struct methods *m = userdata;
    int64_t number = 0, offset = 0;
    struct params_error err;
    int r = params_only(params, known, &err);

    if (r == 0)
        r = params_int(params, "backup", 1, INT64_MAX, &number, &err);
    if (r == 0)
        r = params_int(params, "offset", 0, INT64_MAX, &offset, &err);
    if (r < 0)
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
    else if (number == 0 && offset > 0)
        request_fail(request, RPC_INVALID_PARAMS, "params.backup: expected, where offset is not 0");
    else if (!may_read(request))
        request_fail(request, RPC_DENIED,
                     "only root and the user that dld runs as may copy the queue");
    else if (store_backup(m->store, number, (uint64_t)offset, on_piece, request) < 0)
        request_fail_memory(request);
}
