/*
 * attempt.h - what becomes of a job when an attempt at it has ended. Pure.
 */
#ifndef DLD_ATTEMPT_H
#define DLD_ATTEMPT_H

#include "common/wire.h"
#include "daemon/job.h"
#include "daemon/sched.h"

struct attempt_policy {
    unsigned retries;   /* further attempts after the first, where the job doesn't say */
    uint64_t base, max; /* usec, of the back-off */
    unsigned crash_limit;
};

/* Copies what a worker says it has kept; the old content is freed. What was a leftover before is
 * one still, unless the worker has a part file. 0, or -ENOMEM with nothing changed. */
int attempt_keep(struct job_kept *to, const struct wire_kept *from);

/* Copies what the worker reported into job->result (whose old content is freed). 0, or -ENOMEM with
 * the result empty. */
int attempt_record(struct job *job, const struct wire_result *result, unsigned worker,
                   uint64_t now);

/* How an attempt ended, beyond what is in job->result. */
struct attempt_end {
    bool transient;       /* as the worker judges the failure */
    uint64_t retry_after; /* usec that the server asked to wait, 0: nothing */
    uint64_t kept_before; /* job_kept_bytes() when it began */
    uint64_t now;         /* CLOCK_REALTIME usec */
    uint32_t random;      /* uniform */
};

/*
 * Sets state (and due) of a job whose attempt failed, as job->result tells: WAITING while it is
 * worth another one, else FAILED.
 *
 * - A failure counts against `retries` unless the file on disk has grown, or the disk had no room:
 *   then the job waits for as long as it takes. But no job is endless: of attempts that found room
 *   there are at most 10 for each retry (and one for each mirror).
 * - With mirrors, a failure sends the job to the next one at once: its url and host are changed,
 *   and, unless a checksum tells whether bytes of two mirrors fit together, what was kept is
 *   forgotten. Only when all have had their turn does one retry count, and is there a wait. A
 *   mirror that failed for good is not asked again; the job fails when none is left. One that asked
 *   for patience is not asked before its time, while the others go on without it; it has its turn
 *   before the job fails.
 * - A job that could only go on after its deadline fails with ERR_DEADLINE.
 */
void attempt_failed(struct job *job, const struct job_spec *spec,
                    const struct attempt_policy *policy, const struct attempt_end *end);

/* Is what is kept of a job that has ended worth keeping, for someone to try it once more? Only
 * after a failure that may pass. */
bool attempt_may_go_on(const struct job *job);

/* What the end of an attempt says of its host's health. */
enum sched_says attempt_says(const struct wire_result *result);

/* The time that an attempt may take, usec, with what is left until the deadline; 0: any. */
uint64_t attempt_timeout(const struct job_spec *spec, uint64_t now);

/* Sets the state of a job whose worker died of it: QUEUED, or FAILED with ERR_CRASH at the limit. */
void attempt_crashed(struct job *job, const struct attempt_policy *policy, uint64_t now);

#endif
