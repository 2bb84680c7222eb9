/*
 * line.h - connections of HTTP/1, and what came over them that is not to be believed yet.
 *
 * The answers of HTTP/1 carry no number: the first bytes after a request are its answer. A server
 * that sends one answer too many (a 408 before it hangs up, a body longer than its length, one
 * request answered twice) makes each later answer on that connection the one to the request before.
 * Bytes that come while nothing is outstanding give it away. Bytes that come after the next request
 * has gone out do not: neither their time (a server may be quick) nor TCP's acknowledgement of the
 * request (the kernel gives it, before the program has read a byte) tells what they answer.
 *
 * What tells is the end. A connection that is one answer ahead stays so, and has one to spare when
 * nothing more is asked. So only the first answer on a connection is believed at once; what later
 * ones brought is held (line_hold()) until the connection has ended: no more is asked, our side is
 * shut down, and the server, whose program now reads that all has been asked, closes its own. If it
 * does so without another word, the answers were to their requests; if bytes come, all held ones
 * are wrong and fetched again, each on a connection of its own, and so is from then on all that
 * comes from that host. So they are if it does not close its side in time, or left a request
 * without an answer: one too few hides one too many. A connection is ended so when it holds
 * LINE_HELD_MAX answers or LINE_HELD_BYTES, or one for LINE_AGE_MAX, or lay idle for LINE_IDLE_MAX;
 * one that holds none is kept. A good server thus costs a connection for each LINE_HELD_MAX answers
 * and no waiting, for slots are free meanwhile; and what a connection holds when an answer takes
 * longer than LINE_BUSY_MAX is fetched twice.
 *
 * What no client can tell is left: a server that answers nothing more once it knows that nothing
 * more will be asked, though it has answered another thing before (the spare answer is then never
 * sent); and the wrong bytes in the right place. A checksum in the job tells them, and a file that
 * has it isn't held.
 *
 * A second request while the answer to the first is still coming is never sent, though libcurl may
 * want to: one false "HTTP/2" in a status line, or one connection of HTTP/2 beside others, makes it
 * take all connections to that server for such as answer many at once.
 *
 * HTTP/2 numbers its streams; its connections are known here and never hold anything.
 */
#ifndef DLD_WORKER_LINE_H
#define DLD_WORKER_LINE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/util.h"

#define LINE_HELD_MAX 64
#define LINE_HELD_BYTES (4 * MIB)
#define LINE_HELD_ALL 4096 /* of all connections; beyond it none is used twice */
#define LINE_AGE_MAX (5 * USEC_PER_SEC)
#define LINE_IDLE_MAX (10 * USEC_PER_MSEC)
#define LINE_BUSY_MAX (10 * USEC_PER_SEC) /* one with held answers; these are fetched again then */
#define LINE_END_MAX (5 * USEC_PER_SEC)   /* for the server's end; held answers are fetched again then */

struct lines;
struct line;

/* What hangs on a line; the caller's, who zeroes it at first. */
struct line_item {
    struct line *line; /* NULL: it hangs on none */
    struct line_item *prev, *next;
};

/* What an item stands for. */
enum line_verdict {
    LINE_RIGHT,   /* is the answer to its request; */
    LINE_UNCLEAR, /* it can't be told; */
    LINE_WRONG    /* is not. */
};

/* The item hangs on no line any more. Never from within a function of this header but line_ready(). */
typedef void line_verdict_fn(void *userdata, struct line_item *item, enum line_verdict verdict);

/* epoll is where a descriptor is watched; what comes up there is for line_ready(). 0 or a negative
 * errno. */
int lines_new(struct lines **ret, sd_event *event, int epoll, line_verdict_fn *on_verdict,
              void *userdata);

/* No verdict is given any more, and curl closes its sockets itself. */
void lines_stop(struct lines *l);

/* No line has an item or a user. Takes NULL, returns NULL. */
struct lines *lines_free(struct lines *l);

/* Did a host send what nobody asked for, or is so much held that each request must have a
 * connection of its own? url is any of the host's. */
bool lines_want_new(const struct lines *l, const char *url);

/* A socket was made for curl. Without memory for it, it is none of ours. */
void line_open(struct lines *l, int fd);

/* curl wants to close it. True: don't, it is still needed here. */
bool line_close(struct lines *l, int fd);

/* Before a request, from within CURLOPT_PREREQFUNCTION: the line that it goes over, of which the
 * caller is a user now until line_leave(); NULL: none that is known. 0, or if nothing may be sent
 * -EBADMSG: bytes lie on it already, or -EBUSY: it waits for the answer to another request, and
 * *ret is NULL. */
int line_request(struct line **ret, struct lines *l, CURL *easy, const char *ip, int port,
                 int local_port);

/* All of the answer to the request that easy made over it has come. */
void line_answered(struct line *line, const CURL *easy);

/* Has there been a request before the last one? */
bool line_is_used(const struct line *line);

/* Has curl given it up? */
bool line_is_closed(const struct line *line);

/* curl has found more behind an answer than belongs to it. */
void line_spoil(struct line *line);
bool line_is_spoilt(const struct line *line);

/* The item, of an answer with so many bytes, hangs on the line now. */
void line_hold(struct line *line, struct line_item *item, uint64_t bytes);

/* It doesn't any more. Nothing happens if it did not. */
void line_forget(struct line_item *item);

/* Is it one of HTTP/2, by what the ends agreed upon in the TLS handshake? It is never used, then. */
bool line_is_numbered(const struct line *line);

/* easy's request is over. clean: all of its answer came. The line may be gone after. */
void line_leave(struct line *line, const CURL *easy, bool clean);

/* Something has come on a descriptor that curl doesn't wait for. False: it is none of ours. */
bool line_ready(struct lines *l, int fd);

/* Ends lines as soon as nothing is outstanding on them. */
void lines_hurry(struct lines *l);

#endif
