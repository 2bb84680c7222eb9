/*
 * curlcode.h - libcurl's error codes as ours.
 *
 * One table for those that mean one thing whenever they come; a function for each that means
 * several. The sentence names the host, or, after a redirect, the URL that was tried last.
 */
#ifndef DLD_WORKER_CURLCODE_H
#define DLD_WORKER_CURLCODE_H

#include "daemon/worker/answer.h"

/* a->code is not CURLE_OK. status is that of the last answer, 0 for none. Sets *ret_failure. */
void curlcode_judge(const struct attempt *a, long status, struct failure *ret_failure);

#endif
