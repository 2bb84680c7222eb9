/*
 * answer.h - judging how a transfer ended: is what came the file that was asked for?
 *
 * Two questions, asked in this order: what curl or the server complain of (a CURLcode, an error
 * status) is turned into one of our errors with a sentence; and what curl calls success is checked
 * again, for it lets pass answers that hold no file, or not the whole.
 */
#ifndef DLD_WORKER_ANSWER_H
#define DLD_WORKER_ANSWER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/worker/failure.h"
#include "daemon/worker/head.h"
#include "daemon/worker/integrity.h"

/* What to judge by. */
struct attempt {
    CURL *easy;
    CURLcode code;
    const char *curl_text; /* CURLOPT_ERRORBUFFER, "" where curl had nothing to say */
    const char *host;      /* "host:port" of the job's URL */
    const struct head *head; /* of the answer to the last request; all zero: none has come */
    uint64_t received;     /* bytes of body, as they came */
    bool resumed;          /* a 206 is the rest that was asked for */
    uint64_t connect_timeout_usec, timeout_usec; /* as set, 0: none */
    uint64_t low_speed_limit, low_speed_time_usec;
};

/* Does the body of an answer with this status belong in the file? Only of 200 and 203 is it a
 * representation of what was asked for (RFC 9110 section 15.3). */
bool answer_has_file(long status);

/* May an answer with this status send us elsewhere, by its Location? (RFC 9110 section 15.4;
 * libcurl follows any from 300 to 399, a 304 and a 305 too.) */
bool answer_redirects(long status);

/* Takes in the digests that the server sent, unless the file is not stored as they were made of it
 * (Content-Encoding). */
void answer_digests(CURL *easy, struct integrity *in);
/* The first field of that name in the last answer; NULL: there is none. Valid until the handle's
 * next transfer. */
const char *answer_field(CURL *easy, const char *name);

/* Likewise the index-th of those fields, from 0; *ret_amount, unless NULL, is how many there are. */
const char *answer_field_at(CURL *easy, const char *name, size_t index, size_t *ret_amount);

/* Whom easy was talking to last, for a message: host, which is of the job's URL, or after a redirect
 * the URL that it led to. That may be long: %.200s. */
const char *answer_where(CURL *easy, const char *host);

/* Is the body of the last answer the file itself, in no Content-Encoding? */
bool answer_is_plain(CURL *easy);

/* Sets *ret_failure where the attempt did not end in the whole file. */
void answer_judge(const struct attempt *a, struct failure *ret_failure);

#endif
