/*
 * control.h - the control socket: clients, their requests (JSON-RPC 2.0, one object a line),
 * answers.
 *
 * Everything a client can cost is bounded: the length of a line, the requests of a client under
 * way, the bytes of all requests under way, answers not yet read. A client that breaks the rules is
 * answered, once, and closed; others notice nothing.
 */
#ifndef DLD_CONTROL_H
#define DLD_CONTROL_H

#include <jansson.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/buf.h"

struct control;
struct client;
struct request;

/* JSON-RPC 2.0 section 5.1, and ours. */
enum rpc_error {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_NOT_FOUND = -32001, /* no such job or batch */
    RPC_STORE = -32002,     /* the queue can't be written; nothing was taken */
    RPC_BUSY = -32003,      /* too many clients */
    RPC_STOPPING = -32004,
    RPC_CONFIG = -32005, /* the configuration has errors */
    RPC_QUOTA = -32006,  /* the user has too many jobs; nothing was taken */
    RPC_DENIED = -32007,  /* not for this user */
};

/* Carries out a request: now or later, it must end in exactly one of request_done() and
 * request_fail(). params is an object (empty where there was none), valid until the function
 * returns. */
typedef void control_method_fn(struct request *request, const json_t *params, void *userdata);

struct control_method {
    const char *name; /* NULL ends the table */
    control_method_fn *fn;
    bool query; /* changes nothing: not carried out where nobody reads the answer */
};

struct control_settings {
    size_t max_line;
    const struct control_method *methods;
    void *method_userdata;
    void (*client_gone)(void *userdata, struct client *client); /* it gets nothing any more */
    void *userdata;
};

/* Listens on fd, which becomes the control's. 0 or a negative errno. */
int control_new(struct control **ret, sd_event *event, int fd,
                const struct control_settings *settings);
struct control *control_free(struct control *c); /* takes NULL, returns NULL */

/* Requests not answered yet. */
unsigned control_n_requests(const struct control *c);

/* For clients that come from now on. */
void control_set_max_line(struct control *c, size_t max_line);

/* Accepts no more clients. */
void control_stop(struct control *c);

/* Makes the listening socket: mode and group as configured, its directory made if need be, a stale
 * one replaced. The descriptor, or a negative errno: -EADDRINUSE where another daemon answers
 * there. */
int control_listen(const char *path, unsigned mode, const char *group);

struct client *request_client(const struct request *r);
uid_t request_uid(const struct request *r);

/* It waits for jobs to end, and doesn't count among those that hold up the client's next ones any
 * more. False: the client has too many such. */
bool request_waits(struct request *r);

/* Begins the answer: the caller appends one value with the key "result" (json_begin(b, "result",
 * '{') ...) at once and ends with request_done(), which frees the request. */
struct buf *request_reply(struct request *r);
void request_done(struct request *r);

/* Answers with an error, frees the request. */
void request_fail(struct request *r, enum rpc_error code, const char *fmt, ...) _printf_(3, 4);

/* Likewise with data {"index": index}. */
void request_fail_at(struct request *r, enum rpc_error code, int64_t index, const char *text);

/* Sends a notification: the caller appends one value with the key "params" and calls
 * client_notified(). Clients known from a request may be used until client_gone() was called for
 * them. */
struct buf *client_notify(struct client *c, const char *method);
void client_notified(struct client *c);

#endif
