/*
 * request.h - the options of an easy handle: what is the same for every job, and what a job asks
 * for.
 *
 * Handles are not reset between jobs: what one job sets, request_clear() takes back.
 */
#ifndef DLD_WORKER_REQUEST_H
#define DLD_WORKER_REQUEST_H

#include <curl/curl.h>

#include "common/wire.h"
#include "daemon/worker/address.h"
#include "daemon/worker/identity.h"

struct request {
    CURL *easy;
    struct curl_slist *headers; /* of this job, those first that identity.h keeps; owned */
    unsigned n_own;             /* so many */
    struct identity identity;
    const char *proxy; /* the configured one, NULL: none */
};

/* What curl_version_info() says, which puts it together anew for each who asks. */
const curl_version_info_data *curl_facts(void);

/* Once for each handle. 0 or -ENOMEM. */
int request_init(struct request *r, CURL *easy, const struct wire_config *config);

/* Bytes that curl receives at once when nothing limits it. */
long request_receive_size(const struct wire_config *config);

/* Whether [network] schemes permits the URL's; false: *ret_failure says so. */
bool request_permitted(const struct wire_config *config, const struct address *address,
                       struct failure *ret_failure);

/* Frees what belongs to it; the handle is the caller's. */
void request_done(struct request *r);

/* The kept bytes are not asked for again, if the file is still the same; before request_fill(). 0
 * or -ENOMEM, and request_clear() must follow. */
int request_rest(struct request *r, const struct wire_kept *kept);

/* Likewise of what is behind them only the bytes up to (not with) end. */
int request_part(struct request *r, const struct wire_kept *kept, uint64_t end);

/* One field more for the next job, "Name: value"; before request_fill(). 0 or -ENOMEM. */
int request_add(struct request *r, const char *header);

/* For one job; address is that of its URL and must outlive the transfer. 0 or -ENOMEM;
 * request_clear() must follow in both cases. */
int request_fill(struct request *r, const struct wire_job *job, const struct address *address);
void request_clear(struct request *r, const struct wire_job *job);

/* Sets the proxy of a job that has its own, or a user for it. */
CURLcode request_set_proxy(CURL *easy, const struct wire_job *job);

#endif
