/*
 * rpc.h - the connection to the daemon: JSON-RPC 2.0, one object a line.
 *
 * Requests may be pipelined and their answers come in any order. All waiting is bounded by the
 * caller and, where `waiting` is set, interruptible by signals that are otherwise blocked.
 */
#ifndef DLD_CLIENT_RPC_H
#define DLD_CLIENT_RPC_H

#include <jansson.h>
#include <signal.h>

#include "common/buf.h"

#define RPC_ANSWER_MSEC 120000   /* an answer that takes longer will not come */
#define RPC_RECONNECT_MSEC 30000 /* how long a lost daemon is looked for */

/* Codes of errors that the daemon answers with. */
enum {
    RPC_BAD_PARAMS = -32602,
    RPC_NOT_FOUND = -32001,
    RPC_STORE_ERROR = -32002,
    RPC_BUSY = -32003,
    RPC_STOPPING = -32004,
    RPC_DENIED = -32007,
    RPC_QUOTA = -32006,
};

struct rpc_error {
    int code;
    int64_t index; /* of the job it is about, -1: none */
    char text[1024];
};

struct rpc {
    const char *path; /* of the socket; borrowed */
    int fd;           /* -1: not connected */
    struct buf in, out;
    size_t scanned;
    bool deaf;               /* the daemon reads no more; what it sent can still be read */
    uint64_t lost_since;     /* usec of CLOCK_MONOTONIC; 0: the daemon has answered since */
    int64_t last_id;         /* of requests; never used twice, even over connections */
    const sigset_t *waiting; /* signal mask while it waits; NULL: unchanged */
    struct rpc_error error;  /* of the last message that was one */

    /* Is shown each line (n bytes and a NUL, and may change it) before it is parsed: 1 when it has taken it,
     * 0, or a negative errno. NULL: none. */
    int (*on_line)(void *userdata, char *line, size_t n);
    void *line_userdata;
};

#define RPC_INIT(socket_path)                                                                      \
    (struct rpc) {                                                                                 \
        .path = (socket_path), .fd = -1, .in = BUF_INIT(80 * MIB), .out = BUF_INIT(80 * MIB)       \
    }

/* Closes the connection, frees the buffers; rpc_open() may be called again. */
void rpc_close(struct rpc *r);

/* Connects. -errno of socket() or connect(). */
int rpc_open(struct rpc *r);

/* Whether an error of rpc_receive() means that the connection is gone and another may do better. */
bool rpc_lost(int error);

/* Connects again after the connection was lost, and says on stderr that it tries; gives up
 * RPC_RECONNECT_MSEC after the loss, which a sign of life from the daemon ends. -EINTR when a
 * signal came while waiting, else the last failure. */
int rpc_recover(struct rpc *r);

/* Queues a request and writes what the socket takes at once; the rest goes out while waiting.
 * params is n bytes of JSON without a newline. *ret_id is the request's. -ENOBUFS, -ENOMEM. A
 * broken connection is not told here but by rpc_receive(). */
int rpc_send(struct rpc *r, const char *method, const char *params, size_t n, int64_t *ret_id);

/* One message of the daemon. */
struct rpc_message {
    json_t *root;
    int64_t id; /* of the request that this answers; 0: a notification, or about no request */
    const char *method; /* of a notification, else NULL */
    json_t *body;       /* result or params, borrowed from root; NULL: an error, see rpc.error */
    bool taken;         /* by on_line; there is nothing else here */
};
void rpc_message_done(struct rpc_message *m);

/* Waits up to msec for the next message. 1 with *ret, 0 when time ran out, -EINTR (a signal),
 * -ECONNRESET and the like when the connection is lost, -EBADMSG for what is no JSON-RPC. */
int rpc_receive(struct rpc *r, uint64_t msec, struct rpc_message *ret);

/* One request and its answer, a new reference in *ret; what else comes is dropped. -EREMOTEIO: the
 * daemon answered with r->error; -ETIMEDOUT, or as rpc_receive(). */
int rpc_call(struct rpc *r, const char *method, struct buf *params, json_t **ret);

/* Complains that the daemon can't be reached (error from rpc_open()) and how to start it; returns
 * the exit status. */
int rpc_complain_open(const struct rpc *r, int error);

/* Complains about a call that failed, and returns the exit status for it. */
int rpc_complain(const struct rpc *r, int error);

#endif
