#include "client/connect.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client/print.h"
#include "common/exitcode.h"
#include "common/paths.h"

#define SYSTEM_SOCKET "/run/dld/control.sock"

static int find_socket(char **ret) {
    const char *chosen = getenv("DLD_SOCKET");
    _cleanup_free_ char *path = NULL;
    int r = path_default_socket(&path);

    if (r == -ENOMEM)
        return r;
    if ((!chosen || !*chosen) && (r < 0 || access(path, F_OK) < 0) &&
        (r < 0 || access(SYSTEM_SOCKET, F_OK) == 0)) {
        free(path);
        path = strdup(SYSTEM_SOCKET);
        r = path ? 0 : -ENOMEM;
    }
    if (r == 0)
        *ret = TAKE_PTR(path);
    return r;
}

int client_connect(struct dlctl *c, struct rpc *rpc) {
    int r = c->socket ? 0 : find_socket(&c->socket);

    if (r == -ENOMEM)
        return complain_memory();
    if (r < 0) {
        complain("DLD_SOCKET is no path of a socket: %s", strerror(-r));
        return DLCTL_USAGE;
    }
    *rpc = RPC_INIT(c->socket);
    r = rpc_open(rpc);
    return r < 0 ? rpc_complain_open(rpc, r) : 0;
}

int client_call(struct dlctl *c, struct rpc *rpc, const char *method, struct buf *params,
                json_t **ret) {
    int r = client_connect(c, rpc);

    if (r != 0)
        return r;
    json_end(params, '}');
    r = rpc_call(rpc, method, params, ret);
    return r < 0 ? rpc_complain(rpc, r) : 0;
}
