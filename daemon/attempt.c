#include "daemon/attempt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/backoff.h"

/* A server may ask for patience, but not for ever. */
#define RETRY_AFTER_MAX (24 * 3600 * USEC_PER_SEC)

static int copy(char **to, const char *from) {
    if (!from)
        return 0;
    *to = strdup(from);
    return *to ? 0 : -ENOMEM;
}

int attempt_keep(struct job_kept *to, const struct wire_kept *from) {
    struct job_kept k = {.offset = from->offset, .total = from->total};

    if (copy(&k.etag, from->etag) < 0 || copy(&k.last_modified, from->last_modified) < 0) {
        job_kept_done(&k);
        return -ENOMEM;
    }
    job_kept_done(to);
    *to = k;
    return 0;
}

int attempt_record(struct job *job, const struct wire_result *result, unsigned worker,
                   uint64_t now) {
    struct job_result r = {
        .http_status = result->http_status,
        .bytes = result->bytes,
        .size = result->size,
        .error = result->error,
        .worker = worker,
        .skipped = result->skipped,
        .not_modified = result->not_modified,
        .started = result->started_usec,
        .finished = now,
    };

    job_result_done(&job->result);
    job->result = (struct job_result){.size = -1};
    if (copy(&r.output, result->output) < 0 || copy(&r.message, result->message) < 0 ||
        copy(&r.effective_url, result->effective_url) < 0 ||
        copy(&r.content_type, result->content_type) < 0 || copy(&r.digest, result->digest) < 0 ||
        copy(&r.answer, result->body) < 0) {
        job_result_done(&r);
        return -ENOMEM;
    }
    job->result = r;
    return attempt_keep(&job->kept, &result->kept);
}

void attempt_failed(struct job *job, bool transient, uint64_t retry_after,
                    const struct attempt_policy *policy, uint64_t now, uint32_t random) {
    uint64_t delay = backoff_delay(job->attempts, policy->base, policy->max, random);

    if (!transient || job->attempts > policy->retries) {
        job->state = JOB_FAILED;
        return;
    }
    job->state = JOB_WAITING;
    job->due = now + MAX(delay, MIN(retry_after, RETRY_AFTER_MAX));
}

void attempt_crashed(struct job *job, const struct attempt_policy *policy, uint64_t now) {
    job->crashes++;
    if (job->crashes < policy->crash_limit) {
        job->state = JOB_QUEUED;
        return;
    }
    job->state = JOB_FAILED;
    job_result_done(&job->result);
    job->result = (struct job_result){.size = -1, .error = ERR_CRASH, .finished = now};
    if (asprintf(&job->result.message, "%u workers died while they ran this job", job->crashes) < 0)
        job->result.message = NULL;
}
