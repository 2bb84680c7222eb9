#include "daemon/worker/task.h"

#include <string.h>

static size_t text_size(const char *s) {
    return s ? strlen(s) + 1 : 0;
}

/* Copies a string to *to and moves *to behind it. */
static const char *text_put(char **to, const char *s) {
    size_t n = text_size(s);

    if (!s)
        return NULL;
    *to += n;
    return memcpy(*to - n, s, n);
}

struct task *task_new(const struct wire_job *job) {
    size_t texts = text_size(job->url) + text_size(job->output) + text_size(job->user_agent) +
                   text_size(job->referer) + text_size(job->checksum) +
                   text_size(job->kept.etag) + text_size(job->kept.last_modified) +
                   text_size(job->kept.ranges) +
                   text_size(job->user) + text_size(job->secret) + text_size(job->certificate) +
                   text_size(job->proxy) + text_size(job->proxy_user) +
                   text_size(job->proxy_secret);
    struct task *t;
    char *to;

    for (uint32_t i = 0; i < job->n_headers; i++)
        texts += text_size(job->headers[i]);
    t = calloc(1, sizeof(*t) + texts);
    if (!t)
        return NULL;
    to = (char *)(t + 1);
    t->job = *job;
    t->job.url = text_put(&to, job->url);
    t->job.output = text_put(&to, job->output);
    t->job.user_agent = text_put(&to, job->user_agent);
    t->job.referer = text_put(&to, job->referer);
    t->job.checksum = text_put(&to, job->checksum);
    t->job.kept.etag = text_put(&to, job->kept.etag);
    t->job.kept.last_modified = text_put(&to, job->kept.last_modified);
    t->job.kept.ranges = text_put(&to, job->kept.ranges);
    t->job.user = text_put(&to, job->user);
    t->job.secret = text_put(&to, job->secret);
    t->job.certificate = text_put(&to, job->certificate);
    t->job.proxy = text_put(&to, job->proxy);
    t->job.proxy_user = text_put(&to, job->proxy_user);
    t->job.proxy_secret = text_put(&to, job->proxy_secret);
    for (uint32_t i = 0; i < job->n_headers; i++)
        t->job.headers[i] = text_put(&to, job->headers[i]);
    t->arrived_usec = now_usec(CLOCK_MONOTONIC);
    t->size = -1;
    t->kept = t->job.kept;
    t->parcel.fd = -1;
    return t;
}

/* A view into the task's own block. */
static void text_wipe(const char *s) {
    if (s)
        explicit_bzero((char *)s, strlen(s));
}

void task_reset(struct task *t) {
    for (size_t i = 0; i < ELEMENTSOF(t->holds); i++)
        line_forget(&t->holds[i].item);
    if (t->parcel.fd >= 0)
        parcel_discard(&t->parcel);
    parcel_done(&t->parcel);
    t->parcel = (struct parcel){.fd = -1};
    failure_clear(&t->failure);
    t->version = (struct version){0};
    t->misled = t->not_modified = t->skipped = false;
    t->http_status = 0;
    t->bytes = 0;
    t->size = -1;
    t->digest[0] = '\0';
    free(TAKE_PTR(t->effective_url));
    free(TAKE_PTR(t->content_type));
    free(TAKE_PTR(t->body));
    free(TAKE_PTR(t->name));
}

struct task *task_free(struct task *t) {
    if (!t)
        return NULL;
    text_wipe(t->job.secret);
    text_wipe(t->job.certificate);
    text_wipe(t->job.proxy_secret);
    for (size_t i = 0; i < ELEMENTSOF(t->holds); i++)
        line_forget(&t->holds[i].item);
    parcel_done(&t->parcel);
    free(t->effective_url);
    free(t->content_type);
    free(t->ranges);
    free(t->body);
    free(t->name);
    free(t);
    return NULL;
}

void task_result(const struct task *t, enum wire_outcome outcome, const char *output,
                 struct wire_result *ret) {
    bool failed = outcome == OUTCOME_FAILED;

    *ret = (struct wire_result){
        .id = t->job.id,
        .outcome = (uint8_t)outcome,
        .error = failed ? (uint8_t)t->failure.error : ERR_NONE,
        .transient = failed && t->failure.transient,
        .elsewhere = failed && t->failure.elsewhere,
        .skipped = outcome == OUTCOME_DONE && t->skipped,
        .not_modified = outcome == OUTCOME_DONE && t->not_modified,
        .http_status = t->http_status,
        .bytes = t->bytes,
        .size = t->size,
        .started_usec = t->started_usec,
        .retry_after_usec = failed ? t->failure.retry_after_usec : 0,
        .output = outcome == OUTCOME_DONE ? output : NULL,
        .message = failed ? t->failure.message : NULL,
        .effective_url = t->effective_url,
        .content_type = t->content_type,
        .digest = outcome == OUTCOME_DONE && *t->digest ? t->digest : NULL,
        .body = failed ? t->body : NULL,
        .kept = t->kept,
    };
}
