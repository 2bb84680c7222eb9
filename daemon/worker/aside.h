/*
 * aside.h - transfers in which libcurl may wait, each in a thread of its own.
 *
 * Over FTP and SFTP libcurl waits for some of a server's answers inside of what should not wait:
 * after the last byte of a file, and when a connection is closed. On the loop a silent server would
 * hold up every other transfer of the worker for a minute.
 *
 * What curl calls while such a transfer runs is run by the loop nevertheless: the thread asks, and
 * waits for the answer. So the calls may touch what is the loop's, and the handle too, which lies
 * still meanwhile. Only the handle itself is the thread's.
 */
#ifndef DLD_WORKER_ASIDE_H
#define DLD_WORKER_ASIDE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "daemon/worker/session.h"

struct asides; /* all of a worker */
struct aside;  /* one transfer */

/* Called in the loop. */
struct aside_calls {
    /* A line that the server sent over its control connection. Whether to go on. */
    bool (*reply)(void *userdata, const char *line, size_t n);
    /* Bytes of the file. Whether to go on. */
    bool (*body)(void *userdata, const char *p, size_t n);
    /* Whether a socket may be opened for it. */
    bool (*may_open)(void *userdata, const struct sockaddr *address);
    /* Whether a name may be looked up. */
    bool (*may_look_up)(void *userdata);
    /* It came to this. True: once more, with the handle as it is now. */
    bool (*again)(void *userdata, CURLcode code);
};

/* At most max at once; on_ended is called with a transfer's handle, which may be looked at until it
 * returns, and must not be cleaned up. 0 or a negative errno. */
int asides_new(struct asides **ret, sd_event *event, unsigned max, session_ended_fn *on_ended,
               void *userdata);

/* Gives up all; waits for their threads for some seconds. Where one can't be ended the process is.
 * Takes NULL, returns NULL. */
struct asides *asides_free(struct asides *a);

/* Ends of waiting that are not left to libcurl, 0: none. Over SFTP it would then take leave of a
 * server that doesn't answer, give up after a second, and never free what it has of the connection.
 */
struct aside_limits {
    uint64_t timeout_usec;
    uint64_t low_speed_usec, low_speed_limit; /* fewer bytes a second for so long */
};

/* What a transfer needs for as long as it lives. */
struct aside_own {
    struct aside_limits limits;
    CURL *easy;
    int known_hosts, key; /* descriptors that options of the handle name, -1: none */
    /* CURLOPT_PREQUOTE: as the transfer begins, and as it begins anew. */
    struct curl_slist *commands, *anew;
};

/* Cleans up and closes what is there. */
void aside_own_done(struct aside_own *own);

/* Starts the transfer that the handle describes and takes over what is its own, also on failure.
 * The calls outlive it. 0, or a negative errno: -EAGAIN: there are too many. */
int aside_start(struct asides *a, struct aside_own *own, const struct aside_calls *calls,
                void *userdata, struct aside **ret);

/* curl's own sentence about how it failed, "" where it has none. */
const char *aside_text(const struct aside *r);

/* Which of the limits ended it: CURLE_OK: none of them, CURLE_OPERATION_TIMEDOUT: its time is over,
 * CURLE_AGAIN: it was too slow. */
CURLcode aside_limit(const struct aside *r);

/* Has the server ended a connection as TLS wants it: has it said that it sent all? */
bool aside_tls_ended(const struct aside *r);

/* No call is made any more, and the transfer ends by itself, soon. Before on_ended was called for
 * it only. */
void aside_abandon(struct aside *r);

#endif
