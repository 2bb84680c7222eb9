/*
 * attempt.h - what becomes of a job when an attempt at it has ended. Pure.
 */
#ifndef DLD_ATTEMPT_H
#define DLD_ATTEMPT_H

#include "common/wire.h"
#include "daemon/job.h"

struct attempt_policy {
    unsigned retries;   /* further attempts after the first */
    uint64_t base, max; /* usec, of the back-off */
    unsigned crash_limit;
};

/* Copies what a worker says it has kept; the old content is freed. 0, or -ENOMEM with nothing
 * changed. */
int attempt_keep(struct job_kept *to, const struct wire_kept *from);

/* Copies what the worker reported into job->result (whose old content is freed). 0, or -ENOMEM with
 * the result empty. */
int attempt_record(struct job *job, const struct wire_result *result, unsigned worker,
                   uint64_t now);

/* Sets state (and due) of a job whose attempt failed: WAITING while it is worth another one, else
 * FAILED. now is CLOCK_REALTIME usec; retry_after is what the server asked for, usec, 0: nothing;
 * random is uniform. */
void attempt_failed(struct job *job, bool transient, uint64_t retry_after,
                    const struct attempt_policy *policy, uint64_t now, uint32_t random);

/* Likewise for one whose worker died of it: QUEUED, or FAILED with ERR_CRASH at the limit. */
void attempt_crashed(struct job *job, const struct attempt_policy *policy, uint64_t now);

#endif
