/*
 * address.h - one URL, read by two parsers that must agree.
 *
 * The master decides by what common/url makes of a URL; curl connects by what its own parser makes
 * of it. Where the two differ about scheme, host or port, the URL is refused, so that nobody can
 * use the one to deceive the other.
 */
#ifndef DLD_WORKER_ADDRESS_H
#define DLD_WORKER_ADDRESS_H

#include <curl/curl.h>
#include <stdbool.h>

#include "common/url.h"
#include "daemon/worker/failure.h"

struct address {
    CURLU *curl;    /* for CURLOPT_CURLU; reused from URL to URL */
    struct url url; /* url.text NULL: none */
};

/* 0 or -ENOMEM. */
int address_init(struct address *a);
void address_done(struct address *a);

/* Takes in another URL; text is only read. False: *ret_failure says why it can't be used. */
bool address_set(struct address *a, const char *text, struct failure *ret_failure);

bool address_is_https(const struct address *a);

/* Is it HTTP that the server speaks, over TLS or not? */
bool address_is_web(const struct address *a);

#endif
