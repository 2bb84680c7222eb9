/*
 * backoff.h - how long to wait before trying again: exponential, capped, with jitter.
 */
#ifndef DLD_BACKOFF_H
#define DLD_BACKOFF_H

#include <stdint.h>

#include "common/util.h"

/* What a host asks for is obeyed, but for no longer. */
#define HOST_WAIT_MAX (3600 * USEC_PER_SEC)

/* Microseconds to wait after the attempt-th failure (from 1): base x 2^(attempt-1), at most max,
 * then "equal jitter": half of it fixed, half scaled by random, which is uniform in 0..UINT32_MAX.
 * Never overflows. */
uint64_t backoff_delay(unsigned attempt, uint64_t base_usec, uint64_t max_usec, uint32_t random);

#endif
