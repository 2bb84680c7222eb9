#include "daemon/worker/transfer_rest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/worker/answer.h"

/* What is less than this is fetched again rather than kept. */
#define KEEP_MIN (64 * KIB)

/* What has come is made durable whenever so much more, or so much time, has gone by. */
#define SAVE_BYTES (8 * MIB)
#define SAVE_EVERY (10 * USEC_PER_SEC)

void rest_forget(struct transfer *t) {
    t->offset = 0;
    t->task->kept.offset = 0;
    t->settings->restarted(t->settings->userdata, t->task);
}

bool rest_begin_anew(struct transfer *t) {
    int r = sink_restart(&t->sink);

    rest_forget(t);
    if (r < 0)
        failure_set_output(&t->task->failure, r, t->task->job.output);
    return r == 0;
}

void rest_refuse(struct transfer *t, const char *why) {
    failure_set(&t->task->failure, ERR_PROTOCOL, "%s sent a part of the file, but %s",
                t->address.url.host_key, why);
    t->task->failure.transient = true;
    t->spoilt = true;
}

bool rest_begin(struct transfer *t, int64_t length) {
    struct task *task = t->task;
    int64_t total = -1;
    const char *why = resume_misfit(t->easy, &task->kept, &total);

    if (!why && length >= 0 && (uint64_t)length != (uint64_t)total - t->offset)
        why = "its length is not that of the rest";
    if (why) {
        rest_refuse(t, why);
        return false;
    }
    ROW_SET(t->row, total, total);
    t->mark_bytes = t->offset;
    t->rest = (uint64_t)total - t->offset;
    t->versioned = true;
    snprintf(task->version.etag, VERSION_ETAG_MAX, "%s", task->kept.etag ? task->kept.etag : "");
    snprintf(task->version.modified, VERSION_DATE_MAX, "%s",
             task->kept.last_modified ? task->kept.last_modified : "");
    answer_digests(t->easy, &task->integrity);
    sink_expect(&t->sink, t->rest);
    return !transfer_too_large(t, (uint64_t)total, "announced") &&
           !transfer_wrong_size(t, (uint64_t)total, "announced");
}

void rest_save_if_due(struct transfer *t) {
    uint64_t size = t->sink.size;

    if (!t->versioned || t->saving || size < KEEP_MIN || size <= t->saved)
        return;
    if (size - t->saved >= SAVE_BYTES || now_usec(CLOCK_MONOTONIC) - t->saved_usec >= SAVE_EVERY)
        t->settings->save(t->settings->userdata, t->task);
}

int rest_ask(struct transfer *t) {
    struct task *task = t->task;

    if (!resume_condition(&task->kept) || task->job.compressed ||
        sink_resume(&t->sink, task->kept.offset) < 0) {
        if (task->kept.offset > 0)
            rest_forget(t);
        return 0;
    }
    t->offset = t->saved = task->kept.offset;
    return request_rest(&t->request, &task->kept);
}

void rest_verify(struct transfer *t, struct task *task) {
    if (task->bytes != t->rest) {
        failure_set(&task->failure, ERR_PARTIAL, "%s announced %llu bytes and sent %llu",
                    t->address.url.host_key, (unsigned long long)t->rest,
                    (unsigned long long)task->bytes);
        return;
    }
    if (transfer_wrong_size(t, t->offset + task->bytes, "has sent") || task->integrity.kinds == 0)
        return;
    task->parcel.unread = &task->integrity;
    task->parcel.failure = &task->failure;
}

bool rest_judge(struct transfer *t, CURLcode code) {
    struct task *task = t->task;
    long status = transfer_status(t);

    if (t->aside || t->offset == 0 || t->wanted || task->failure.error != ERR_NONE)
        return false;
    if (status == 206 && code == CURLE_OK)
        rest_refuse(t, "it is empty");
    if (status != 416)
        return false;
    if (resume_is_whole(t->easy, &task->kept)) {
        task->http_status = 206; /* as it was for its bytes */
        return true;
    }
    failure_set(&task->failure, ERR_HTTP,
                "416 Range Not Satisfiable: what is kept of the file is "
                "not a part of it any more");
    task->failure.transient = true;
    t->spoilt = true;
    return false;
}

void rest_leave(struct transfer *t, bool again) {
    struct task *task = t->task;

    if (again && !t->spoilt && !t->wanted && t->offset > 0) {
        sink_leave(&t->sink);
        return;
    }
    task->kept.offset = 0;
    if (again && !t->spoilt && t->wanted && t->versioned &&
        t->sink.size + t->sink.used >= KEEP_MIN && sink_keep(&t->sink, &task->parcel) == 0) {
        task->parcel.work = PARCEL_KEEP;
        task->kept = (struct wire_kept){
            .offset = t->sink.size,
            .total = atomic_load_explicit(&t->row->total, memory_order_relaxed),
            .etag = *task->version.etag ? task->version.etag : NULL,
            .last_modified = *task->version.modified ? task->version.modified : NULL,
        };
        return;
    }
    sink_discard(&t->sink);
}

int transfer_save(struct transfer *t, struct parcel *ret, struct wire_kept *ret_kept) {
    struct task *task = t->task;

    *ret = (struct parcel){.fd = fcntl(t->sink.fd, F_DUPFD_CLOEXEC, 0), .work = PARCEL_SAVE};
    if (ret->fd < 0)
        return -errno;
    ret->dir = t->sink.dir;
    ret->dir->n_refs++;
    *ret_kept = (struct wire_kept){
        .offset = t->sink.size,
        .total = atomic_load_explicit(&t->row->total, memory_order_relaxed),
        .etag = *task->version.etag ? task->version.etag : NULL,
        .last_modified = *task->version.modified ? task->version.modified : NULL,
    };
    t->saving = true;
    return 0;
}

void transfer_saved(struct transfer *t, uint64_t offset) {
    t->saving = false;
    t->saved = MAX(t->saved, offset);
    t->saved_usec = now_usec(CLOCK_MONOTONIC);
}
