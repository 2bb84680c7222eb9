#include <errno.h>
#include <stddef.h>

#include "daemon/worker/request.h"
#include "daemon/worker/transfer_rest.h"

/* What curl receives at once takes this part of a second, so that a slow transfer is an even one. */
#define RECEIVE_PART 8
#define RECEIVE_LEAST KIB

#define NSEC_PER_USEC 1000

/* The lowest of the limits in force, RATE_NONE: there are none. */
static uint64_t lowest(const struct throttled *x) {
    uint64_t least = RATE_NONE;

    for (unsigned i = 0; i < x->n_buckets; i++) {
        uint64_t rate = atomic_load_explicit(&x->buckets[i]->rate, memory_order_relaxed);

        if (rate != RATE_NONE && (least == RATE_NONE || rate < least))
            least = rate;
    }
    return least;
}

/* The buffer's size can't be changed while a transfer runs. */
static CURLcode fit_buffer(struct transfer *t) {
    uint64_t rate = lowest(&t->throttled);
    long usual = request_receive_size(t->settings->config), size = usual;

    if (rate != RATE_NONE && rate / RECEIVE_PART < (uint64_t)usual)
        size = (long)MAX(rate / RECEIVE_PART, RECEIVE_LEAST);
    if (size == usual && !t->small_buffer)
        return CURLE_OK;
    t->small_buffer = size != usual;
    return curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, size);
}

/* A stream that is held back has others wait on the same connection, or curl turn in circles: what
 * is limited from the start gets a connection to itself, and so does each of several for one file.
 */
static CURLcode fit_version(struct transfer *t) {
    bool single = t->task->crowded || (address_is_https(&t->address) &&
                                       (t->lead || throttle_limits(&t->throttled)));
    /* libcurl keeps connections by scope, port and host: so those of HTTP/1 stay apart from those
     * that others share. The kernel looks at it for link-local addresses only. */
    CURLcode c = curl_easy_setopt(t->easy, CURLOPT_ADDRESS_SCOPE, single ? 1L : 0L);

    if (c != CURLE_OK || !single)
        return c;
    return curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

int rate_begin(struct transfer *t) {
    const struct ratelimit *rates = t->settings->rates;
    const struct wire_job *job = &t->task->job;
    struct throttled *x = &t->throttled;

    *x = (struct throttled){0};
    if (job->rate != RATE_NONE)
        bucket_set(&x->own, job->rate, ratelimit_now());
    x->buckets[x->n_buckets++] = t->lead ? &t->lead->throttled.own : &x->own;
    if (job->host_bucket > 0)
        x->buckets[x->n_buckets++] = &rates->lines[job->host_bucket].bucket;
    x->buckets[x->n_buckets++] = &rates->lines[RATELIMIT_GLOBAL].bucket;
    return fit_buffer(t) == CURLE_OK && fit_version(t) == CURLE_OK ? 0 : -ENOMEM;
}

void rate_end(struct transfer *t) {
    throttle_drop(t->settings->throttle, &t->throttled);
}

/* The time that a limit takes is not the server's: it does not count for `timeout`. A deadline
 * stays what it is. While a transfer is held, no more than that counts. */
static void fit_timeout(struct transfer *t, bool held) {
    const struct wire_job *job = &t->task->job;
    uint64_t timeout = held ? 0 : job->timeout_usec + t->throttled.waited / NSEC_PER_USEC;

    if (job->timeout_usec == 0)
        return;
    if (job->deadline_usec > 0) {
        uint64_t begun = t->task->started_usec;
        uint64_t left = job->deadline_usec > begun ? job->deadline_usec - begun : 1;

        timeout = timeout > 0 ? MIN(timeout, left) : left;
    }
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS,
                     (long)MIN((timeout + USEC_PER_MSEC - 1) / USEC_PER_MSEC, (uint64_t)INT32_MAX));
}

bool rate_admits(struct transfer *t, size_t bytes) {
    if (!throttle_limits(&t->throttled))
        return true;
    if (throttle_take(t->settings->throttle, &t->throttled, bytes))
        return true;
    fit_timeout(t, true);
    return false;
}

void transfer_go_on(struct throttled *x) {
    struct transfer *t = (struct transfer *)((char *)x - offsetof(struct transfer, throttled));

    fit_timeout(t, false);
    session_resume(t->settings->session, t->easy);
}

void transfer_set_rate(struct transfer *t, uint64_t rate) {
    bucket_set(&t->throttled.own, rate, ratelimit_now());
}
