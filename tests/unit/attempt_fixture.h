/* attempt_fixture.h - a job whose attempts end as the test says. */
#ifndef DLD_ATTEMPT_FIXTURE_H
#define DLD_ATTEMPT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "daemon/attempt.h"

#define NOW (UINT64_C(1700000000) * 1000000)
#define SEC USEC_PER_SEC

static const struct attempt_policy policy = {
    .retries = 2, .base = SEC, .max = 600 * SEC, .crash_limit = 3};

static char *mirrors[] = {"http://a.example/x", "http://b.example:81/x", "http://c.example/y"};

/* A job whose attempts go on at the clock's pace; how the last one ended is set before attempt_ends(). */
struct fixture {
    struct job job;
    struct job_spec spec;
    struct attempt_end end;
};

static inline struct fixture fixture_of(unsigned n_urls) {
    struct fixture f = {
        .job = {.state = JOB_ACTIVE, .result = {.size = -1}, .kept.total = -1},
        .spec = JOB_SPEC_INIT,
        .end = {.transient = true, .now = NOW, .random = UINT32_MAX},
    };

    f.spec.n_urls = n_urls;
    f.spec.urls = mirrors;
    f.job.url = strdup(mirrors[0]);
    f.job.host = strdup("a.example:80");
    return f;
}

static inline void fixture_done(struct fixture *f) {
    free(f->job.url);
    free(f->job.host);
    job_result_done(&f->job.result);
    job_kept_done(&f->job.kept);
}

/* One more attempt, and it fails. */
static inline enum job_state attempt_ends(struct fixture *f, enum dld_error error) {
    f->job.attempts++;
    f->job.state = JOB_ACTIVE;
    f->job.result.error = error;
    f->end.transient = error_transient(error);
    attempt_failed(&f->job, &f->spec, &policy, &f->end);
    f->end.kept_before = f->job.kept.offset;
    return f->job.state;
}

static inline enum job_state attempt_status(struct fixture *f, unsigned status) {
    f->job.attempts++;
    f->job.state = JOB_ACTIVE;
    f->job.result.error = ERR_HTTP;
    f->job.result.http_status = status;
    f->end.transient = http_status_transient(status);
    attempt_failed(&f->job, &f->spec, &policy, &f->end);
    return f->job.state;
}

#endif
