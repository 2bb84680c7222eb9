/*
 * gate.h - which addresses a worker connects to: [network] deny and allow.
 *
 * Every address is judged right before a socket is opened for it, whatever name it was looked up
 * for and however often the name was looked up before: for the job's URL, and for each redirect.
 * Where only some addresses of a host are refused, curl goes on with the others. A connection that
 * is kept was judged when it was made.
 *
 * With a proxy it is the proxy that connects, and that looks names up. What is judged then is the
 * address written in the URL, if it has one. The configured proxy's own address was chosen by who
 * configured it, and is not judged; that of a job's own proxy is.
 */
#ifndef DLD_WORKER_GATE_H
#define DLD_WORKER_GATE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "common/cidr.h"
#include "common/wire.h"
#include "daemon/worker/failure.h"

/* One a worker. */
struct gate {
    struct cidr_list deny, allow;
    bool proxied; /* unless a job says otherwise */
};

/* 0, or -EBADMSG for lists that can't be read. */
int gate_init(struct gate *g, const struct wire_config *config);

/* What was judged for one transfer, since its last redirect. */
struct passage {
    const struct gate *gate; /* outlives it */
    CURL *easy;
    bool proxied;
    bool own_proxy; /* proxied, by one that the job chose */
    long redirects; /* that were followed when it was judged */
    unsigned opened, refused;
    char address[INET6_ADDRSTRLEN]; /* that was refused last */
};

/* Forgets what was judged before. proxy is the job's: its URL, "": none, NULL: as configured. */
void passage_begin(struct passage *p, const char *proxy);

/* May a socket be opened for this address? From within CURLOPT_OPENSOCKETFUNCTION. */
bool passage_open(struct passage *p, const struct sockaddr *address);

/* May a request be sent over the connection that is there? From within CURLOPT_PREREQFUNCTION: the
 * connections of a proxy serve for many hosts. */
bool passage_request(struct passage *p);

/* Sets the failure of a transfer that came to nothing because all addresses were refused; host is
 * the one of the job's URL. */
void passage_judge(const struct passage *p, const char *host, struct failure *f);

#endif
