/*
 * connect.h - finds the daemon and opens the connection to it.
 */
#ifndef DLD_CLIENT_CONNECT_H
#define DLD_CLIENT_CONNECT_H

#include "client/dlctl.h"
#include "client/rpc.h"

/* Connects to c->socket, which becomes the default path if none was given: that of
 * path_default_socket(), but the system's daemon where the user has none and DLD_SOCKET is unset.
 * rpc is initialised here and closed by the caller in any case (start with RPC_INIT(NULL)). Returns
 * 0, or complains and returns the exit status. */
int client_connect(struct dlctl *c, struct rpc *rpc);

/* One request and its answer for verbs that need no more: connects, calls, and complains about what
 * goes wrong. params is an object to which the caller has added its members; its brace is closed
 * here. 0 and a new reference in *ret, or the exit status. */
int client_call(struct dlctl *c, struct rpc *rpc, const char *method, struct buf *params,
                json_t **ret);

#endif
