/*
 * identity.h - by what a transfer shows who it is, kept to the origin (scheme, host and port) of
 * its URL.
 *
 * That is auth, the client's certificate, and the job's headers Authorization, Proxy-Authorization
 * and Cookie. libcurl drops the user, the password and the token by itself when an answer redirects
 * elsewhere; all else is taken from the handle then, before the next request is made of it. Nothing
 * comes back, also if a later redirect leads home again, as in browsers. Cookies that servers set
 * are libcurl's: they follow RFC 6265 and live as long as the transfer.
 *
 * A connection made with a certificate serves only transfers with the same one.
 */
#ifndef DLD_WORKER_IDENTITY_H
#define DLD_WORKER_IDENTITY_H

#include <curl/curl.h>
#include <stdbool.h>

#include "common/wire.h"
#include "daemon/worker/address.h"

struct identity {
    CURL *easy;
    const struct wire_job *job;
    const struct address *origin;
    struct curl_slist *headers; /* the caller's */
    unsigned n_own;             /* of them, the first: for the origin alone */
    const char *cookie;         /* the value of the job's header, NULL: none */
    unsigned redirects, max_redirects;
    bool away; /* has left the origin */
};

/* Is it a header ("Name: value") for the origin alone? */
bool identity_is_private(const char *header);

/* Is it Cookie? That is sent by other means, together with those that servers set, and does not
 * belong into the list. */
bool identity_is_cookie(const char *header);

/* Sets the options for the job, headers among them, of which the first n_own are private. What is
 * passed must outlive the transfer. 0 or -ENOMEM; identity_clear() must follow in both cases. */
int identity_set(struct identity *id, const struct wire_job *job, const struct address *origin,
                 struct curl_slist *headers, unsigned n_own);

/* An answer redirects to this place, as its Location has it; from within the header callback. 0;
 * -ELOOP: there have been too many of them; -ENOMEM. In these cases the transfer must not go on. */
int identity_redirected(struct identity *id, const char *location);

/* Takes all of it back from the handle. */
void identity_clear(struct identity *id);

#endif
