#include "daemon/job.h"

#include <errno.h>
#include <stdlib.h>

#include "common/ranges.h"
#include "common/util.h"

#define BIT(state) (1u << JOB_##state)

static const struct {
    const char *name;
    unsigned next; /* states it may go to */
} states[JOB_STATE_MAX_] = {
    [JOB_QUEUED] = {"queued",
                    BIT(WAITING) | BIT(PAUSED) | BIT(ACTIVE) | BIT(FAILED) | BIT(CANCELLED)},
    [JOB_WAITING] = {"waiting", BIT(QUEUED) | BIT(PAUSED) | BIT(CANCELLED)},
    [JOB_PAUSED] = {"paused", BIT(QUEUED) | BIT(WAITING) | BIT(CANCELLED)},
    [JOB_ACTIVE] = {"active", BIT(QUEUED) | BIT(WAITING) | BIT(PAUSED) | BIT(DONE) | BIT(FAILED) |
                                  BIT(CANCELLED)},
    [JOB_DONE] = {"done", 0},
    [JOB_FAILED] = {"failed", BIT(QUEUED)},
    [JOB_CANCELLED] = {"cancelled", BIT(QUEUED)},
    [JOB_STAGED] = {"queued", BIT(QUEUED) | BIT(PAUSED) | BIT(CANCELLED)},
};

const char *job_state_name(enum job_state s) {
    return (unsigned)s < JOB_STATE_MAX_ ? states[s].name : NULL;
}

int job_state_parse(const char *s, enum job_state *ret) {
    for (unsigned i = 0; i < JOB_STATE_MAX_; i++)
        if (streq(s, states[i].name)) {
            *ret = (enum job_state)i;
            return 0;
        }
    return -EINVAL;
}

bool job_state_may(enum job_state from, enum job_state to) {
    return (unsigned)from < JOB_STATE_MAX_ && (unsigned)to < JOB_STATE_MAX_ &&
           states[from].next & 1u << to;
}

int job_priority(const struct job *j) {
    return (int)(((int64_t)j->created - j->rank) / (int64_t)JOB_PRIORITY_STEP);
}

bool job_state_ended(enum job_state s) {
    return s == JOB_DONE || s == JOB_FAILED || s == JOB_CANCELLED;
}

static const char *const auth_names[JOB_AUTH_MAX_] = {
    [JOB_AUTH_BASIC] = "basic",
    [JOB_AUTH_DIGEST] = "digest",
    [JOB_AUTH_BEARER] = "bearer",
    [JOB_AUTH_NETRC] = "netrc",
    [JOB_AUTH_KEY] = "key",
};

const char *job_auth_name(enum job_auth a) {
    return (unsigned)a < JOB_AUTH_MAX_ ? auth_names[a] : NULL;
}

int job_auth_parse(const char *s, enum job_auth *ret) {
    for (unsigned i = JOB_AUTH_NONE + 1; i < JOB_AUTH_MAX_; i++)
        if (streq(s, auth_names[i])) {
            *ret = (enum job_auth)i;
            return 0;
        }
    return -EINVAL;
}

void job_result_done(struct job_result *r) {
    free(r->output);
    free(r->message);
    free(r->effective_url);
    free(r->content_type);
    free(r->digest);
    free(r->answer);
    *r = (struct job_result){.size = -1};
}

void job_kept_done(struct job_kept *k) {
    free(k->etag);
    free(k->last_modified);
    free(k->ranges);
    *k = (struct job_kept){.total = -1};
}

uint64_t job_kept_bytes(const struct job_kept *k) {
    struct ranges r;

    if (!k->ranges || ranges_parse(k->ranges, k->offset, k->total, &r) < 0)
        return k->offset;
    return k->offset + ranges_bytes(&r);
}

bool job_kept_any(const struct job_kept *k) {
    return k->offset > 0 || k->leftover;
}

void job_kept_drop(struct job_kept *k) {
    bool leftover = job_kept_any(k);

    job_kept_done(k);
    k->leftover = leftover;
}

struct job *job_free(struct job *j) {
    if (!j)
        return NULL;
    free(j->url);
    free(j->host);
    free(j->body);
    job_result_done(&j->result);
    job_kept_done(&j->kept);
    free(j);
    return NULL;
}

void job_free_many(struct job **jobs, size_t n) {
    for (size_t i = 0; i < n; i++)
        job_free(jobs[i]);
    free(jobs);
}

void job_spec_done(struct job_spec *s) {
    free(s->output);
    free(s->user_agent);
    free(s->referer);
    free(s->tag);
    for (size_t i = 0; i < s->n_headers; i++)
        free(s->headers[i]);
    free(s->headers);
    for (size_t i = 0; i < s->n_urls; i++)
        free(s->urls[i]);
    free(s->urls);
    free(s->checksum);
    free(s->auth_user);
    free(s->credential);
    free(s->client_certificate);
    free(s->proxy);
    free(s->proxy_auth);
    *s = JOB_SPEC_INIT;
}
