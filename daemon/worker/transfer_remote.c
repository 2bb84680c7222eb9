#include "daemon/worker/transfer_rest.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "daemon/worker/answer.h"
#include "daemon/worker/said.h"

void remote_look(struct transfer *t) {
    const struct task *task = t->task;

    remote_base_look(&t->base, t->settings->sink->dirs, task->job.output, task->job.url);
    if (task->stale || t->base.other ||
        (task->job.size >= 0 && t->base.st.st_size != task->job.size))
        t->base.there = false; /* whatever the server says of it, it won't do */
}

/* The tag alone where there is one: a server is to pass over the time then (RFC 9110 section
 * 13.1.3), but nginx wants that to be the same, too. */
int remote_ask(struct transfer *t) {
    char field[ETAG_MAX + 64];
    struct tm tm;
    int r = 0;

    remote_look(t);
    /* A part is of a file that was newer already. */
    if (t->task->kept.offset > 0)
        r = rest_ask(t);
    if (t->offset > 0)
        t->base.there = false;
    if (r < 0 || !t->base.there)
        return r;
    if (*t->base.etag)
        snprintf(field, sizeof(field), "If-None-Match: %s", t->base.etag);
    else if (gmtime_r(&t->base.st.st_mtim.tv_sec, &tm))
        strftime(field, sizeof(field), "If-Modified-Since: %a, %d %b %Y %H:%M:%S GMT", &tm);
    else
        return 0;
    return request_add(&t->request, field);
}

bool remote_redirects(struct transfer *t) {
    const char *location = answer_field(t->easy, "Location");
    int r = location ? identity_redirected(&t->request.identity, location) : 0;

    if (r == -ELOOP)
        failure_set(&t->task->failure, ERR_REDIRECT, "%.200s redirects more than %u times",
                    transfer_where(t), t->settings->config->max_redirects);
    else if (r < 0)
        failure_set(&t->task->failure, ERR_INTERNAL, "out of memory");
    return r == 0;
}

bool remote_unchanged(struct transfer *t, CURLcode code) {
    struct task *task = t->task;

    if (!task->job.if_modified || !t->base.there)
        return false;
    if (t->aside ? !t->unchanged : code != CURLE_OK || t->head.status != 304 || !t->head.ended)
        return false;
    if (!remote_base_holds(&t->base, t->settings->sink->dirs, task->job.output)) {
        failure_set(&task->failure, ERR_OUTPUT,
                    "%.300s was changed while the server was asked for a newer one",
                    task->job.output);
        task->failure.transient = true;
        return false;
    }
    task->not_modified = true;
    task->size = t->base.st.st_size;
    name_with_number(task->job.output, 0, task->parcel.placed);
    return true;
}

/* As the last answer says, or else the first did. */
static const char *field_of_all(const struct transfer *t, const char *name,
                                char said[static SAID_MAX]) {
    const char *value = answer_field(t->easy, name);

    if (value || (t->offset == 0 && !t->said))
        return value;
    return said_field(t->task->parcel.fd, name, said);
}

int remote_adorn(struct transfer *t) {
    struct task *task = t->task;
    const struct wire_job *job = &task->job;
    char said[SAID_MAX];
    int r = 0;

    if (t->aside) {
        ftp_adorn(t);
        return 0;
    }
    if (job->remote_time)
        remote_set_time(task->parcel.fd, field_of_all(t, "Last-Modified", said));
    if (job->if_modified) {
        remote_mark(task->parcel.fd, answer_field(t->easy, "ETag"), job->url);
        task->parcel.conflict = CONFLICT_OVERWRITE;
    } else if (job->content_disposition) {
        r = remote_set_name(task, field_of_all(t, "Content-Disposition", said),
                            t->settings->sink->store_id);
    }
    if (t->offset > 0 || t->said)
        said_forget(task->parcel.fd);
    return r;
}
