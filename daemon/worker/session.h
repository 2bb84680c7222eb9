/*
 * session.h - the one curl session of a worker: a multi handle on the event loop.
 *
 * Connections, names and TLS sessions are kept between transfers for as long as the worker lives.
 * The easy handles are the callers'; while one is in the session, only the session touches it.
 *
 * The sockets of curl are in an epoll set of their own, which is one source of the loop: what is
 * ready at once is worked off in one turn, so that the results of that turn share a packet to the
 * master.
 */
#ifndef DLD_WORKER_SESSION_H
#define DLD_WORKER_SESSION_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/scoreboard.h"
#include "daemon/worker/line.h"

struct session;

/* A transfer has ended and its handle is out of the session; never called from within session_add()
 * or session_remove(). It may add others. */
typedef void session_ended_fn(void *userdata, CURL *easy, CURLcode code);

/* For up to transfers handles at once. curl_global_init() was called. on_verdict gets the same
 * userdata. 0 or a negative errno. */
int session_new(struct session **ret, sd_event *event, unsigned transfers,
                session_ended_fn *on_ended, line_verdict_fn *on_verdict, void *userdata);

/* Its connections. */
struct lines *session_lines(const struct session *s);

/* All handles must be out of it, and those adopted cleaned up. Takes NULL, returns NULL. */
struct session *session_free(struct session *s);

/* Where to show that something happened; outlives the session. */
void session_set_board(struct session *s, struct scoreboard *board);

/* Sets the options of a new easy handle that tie it to this session; the caller's
 * CURLOPT_OPENSOCKETFUNCTION must use session_open(). 0 or -ENOMEM. */
int session_adopt(struct session *s, CURL *easy);

/* The socket for a connection, for the CURLOPT_OPENSOCKETFUNCTION of an adopted handle.
 * CURL_SOCKET_BAD when there is none to be had. */
curl_socket_t session_open(struct session *s, const struct curl_sockaddr *address);

/* Whether another name may be looked up, which takes a thread: lookups whose transfer gave up go on
 * in theirs, and when too many of them hang, no more are begun. */
bool session_may_look_up(const struct session *s);

/* Starts the transfer that the handle describes. 0 or -ENOMEM. */
int session_add(struct session *s, CURL *easy);

/* Lets a transfer go on that has paused itself (CURL_WRITEFUNC_PAUSE); not from within callbacks of
 * curl. What curl has of its body goes to them before this returns, and where they refuse it, its
 * end is told. */
void session_resume(struct session *s, CURL *easy);

/* Starts a transfer that has not sent anything yet from its beginning, as its options say now. Where
 * that can't be, its end is told before this returns. */
void session_again(struct session *s, CURL *easy);

/* Gives up a transfer; doesn't wait for a name lookup in progress. */
void session_remove(struct session *s, CURL *easy);

#endif
