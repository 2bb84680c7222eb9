#include "daemon/worker/transfer_rest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/url.h"
#include "daemon/worker/answer.h"
#include "daemon/worker/said.h"
#include "daemon/worker/status.h"
#include "daemon/worker/transfer_segments.h"

/* What is less than this is fetched again rather than kept. */
#define KEEP_MIN (64 * KIB)

/* What has come is made durable whenever so much more, or so much time, has gone by. */
#ifdef FAULTS
#define SAVE_BYTES KEEP_MIN /* soon enough to be killed at it */
#else
#define SAVE_BYTES (8 * MIB)
#endif
#define SAVE_EVERY (10 * USEC_PER_SEC)

/* FNV-1a of scheme, host and port. */
static uint64_t source_hash(const struct url *u) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *p = u->host_key; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t rest_source(struct transfer *t) {
    _cleanup_(url_done) struct url u = {0};
    const char *text = NULL, *why;
    size_t column;

    if (t->easy && curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &text) == CURLE_OK && text &&
        url_parse(text, &u, &why, &column) == 0)
        return source_hash(&u);
    return source_hash(&t->address.url);
}

bool rest_is_elsewhere(struct transfer *t) {
    return rest_source(t) != source_hash(&t->address.url);
}

bool rest_version(struct transfer *t, int64_t total) {
    if (total >= 0 && total < (int64_t)KEEP_MIN)
        return false; /* reading dates takes longer than all else that is done with a header */
    return version_read(t->easy, &t->task->version);
}

/* Does a digest tell in the end whether the bytes of several servers fit together? */
static bool is_vouched_for(const struct integrity *in) {
    return in->job.given || in->server[DIGEST_SHA256].given || in->server[DIGEST_SHA512].given;
}

/* What is in the part file fd; ranges is room for RANGES_TEXT_MAX bytes, NULL: none. */
static struct wire_kept kept_in(struct transfer *t, int fd, char *ranges) {
    const struct version *v = &t->task->version;
    struct ranges behind = {.n = 0};
    uint64_t offset = t->segments ? segments_kept(t, &behind) : t->sink.size;

    if (!t->aside && !t->said && t->offset == 0 && transfer_status(t) != 206) {
        said_keep(fd, t->easy);
        t->said = true;
    }
    if (ranges)
        ranges_text(&behind, ranges);
    return (struct wire_kept){
        .offset = offset,
        .ranges = ranges && *ranges ? ranges : NULL,
        .total = atomic_load_explicit(&t->row->total, memory_order_relaxed),
        .etag = *v->etag ? v->etag : NULL,
        .last_modified = *v->modified ? v->modified : NULL,
        .file = part_mark(fd),
        .source = rest_source(t),
    };
}

void rest_forget(struct transfer *t) {
    t->offset = 0;
    t->task->kept.offset = 0;
    t->task->kept.ranges = NULL;
    t->settings->restarted(t->settings->userdata, t->task);
}

bool rest_begin_anew(struct transfer *t) {
    int r = sink_restart(&t->sink);

    t->had = 0;
    rest_forget(t);
    if (r < 0)
        failure_set_output(&t->task->failure, r, t->task->job.output);
    return r == 0;
}

void rest_refuse(struct transfer *t, const char *why) {
    failure_set(&t->task->failure, ERR_PROTOCOL, "%.200s sent a part of the file, but %s",
                transfer_where(t), why);
    t->task->failure.transient = true;
    t->spoilt = true;
}

bool rest_begin(struct transfer *t, int64_t length) {
    struct task *task = t->task;
    int64_t total = -1;
    const char *why = resume_misfit(t->easy, &task->kept, &total);
    int r;

    if (!why && length >= 0 && (uint64_t)length != (uint64_t)total - t->offset)
        why = "its length is not that of the rest";
    if (!why && !answer_is_plain(t->easy) && said_plain(t->sink.fd))
        why = "it is coded, and what is kept is not";
    said_digests(t->sink.fd, &task->integrity);
    answer_digests(t->easy, &task->integrity);
    if (!why && task->kept.source != rest_source(t) && !is_vouched_for(&task->integrity))
        why = "the part that is kept is of another server, and no checksum tells if they fit";
    if (why) {
        rest_refuse(t, why);
        return false;
    }
    ROW_SET(t->row, total, total);
    t->mark_bytes = t->offset + t->had;
    t->rest = (uint64_t)total - t->offset;
    t->versioned = true;
    if (resume_condition(&task->kept)) {
        snprintf(task->version.etag, VERSION_ETAG_MAX, "%s", task->kept.etag ? task->kept.etag : "");
        snprintf(task->version.modified, VERSION_DATE_MAX, "%s",
                 task->kept.last_modified ? task->kept.last_modified : "");
    } else
        version_read(t->easy, &task->version);
    sink_expect(&t->sink, t->rest - t->had);
    if (transfer_too_large(t, (uint64_t)total, "announced") ||
        transfer_wrong_size(t, (uint64_t)total, "announced"))
        return false;
    if (task->kept.ranges && (r = segments_resume(t, (uint64_t)total)) < 0) {
        t->wanted = false; /* what is kept stays as it was */
        failure_set_output(&task->failure, r, task->job.output);
        return false;
    }
    segments_want(t, total);
    return true;
}

void rest_save_if_due(struct transfer *t) {
    uint64_t size = t->segments ? t->offset + t->task->bytes : t->sink.size;

    if (!t->versioned || t->saving || size < KEEP_MIN || size <= t->saved)
        return;
    if (size - t->saved >= SAVE_BYTES || now_usec(CLOCK_MONOTONIC) - t->saved_usec >= SAVE_EVERY)
        t->settings->save(t->settings->userdata, t->task);
}

int rest_ask(struct transfer *t) {
    struct task *task = t->task;
    const struct wire_kept *kept = &task->kept;
    struct ranges behind = {.n = 0};
    uint64_t least = kept->offset;

    if (kept->ranges && ranges_parse(kept->ranges, kept->offset, kept->total, &behind) == 0)
        least = behind.list[behind.n - 1].end;
    if (!resume_may(kept, task->job.checksum != NULL) || task->job.compressed ||
        sink_resume(&t->sink, kept->offset, least, kept->file) < 0) {
        if (task->kept.offset > 0)
            rest_forget(t);
        return 0;
    }
    t->offset = t->saved = kept->offset;
    t->had = ranges_bytes(&behind);
    return request_rest(&t->request, kept);
}

void rest_verify(struct transfer *t, struct task *task) {
    if (task->bytes != t->rest) {
        failure_set(&task->failure, ERR_PARTIAL, "%.200s announced %llu bytes and sent %llu",
                    transfer_where(t), (unsigned long long)t->rest,
                    (unsigned long long)task->bytes);
        return;
    }
    if (transfer_wrong_size(t, t->offset + task->bytes, "has sent") || task->integrity.kinds == 0)
        return;
    task->parcel.unread = &task->integrity;
    task->parcel.failure = &task->failure;
}

/* Might the answer to a request for the whole be another one? There are servers that have no parts
 * to give and say so in all these ways. */
static bool refuses_parts(long status) {
    return (status >= 200 && status < 300) || status == 304 || status == 400 || status == 403 ||
           status == 405 || status == 406 || status == 412 || status == 416 || status == 501;
}

bool rest_judge(struct transfer *t, CURLcode code) {
    struct task *task = t->task;
    long status = transfer_status(t);

    if (t->aside || t->offset == 0 || t->wanted || task->failure.error != ERR_NONE)
        return false;
    if (status == 206 && code == CURLE_OK)
        rest_refuse(t, "it is empty");
    if (!t->head.ended || !refuses_parts(status) || task->failure.error != ERR_NONE)
        return false;
    if (status == 416 && resume_is_whole(t->easy, &task->kept)) {
        task->http_status = 206; /* as it was for its bytes */
        return true;
    }
    failure_set(&task->failure, ERR_HTTP, "%ld %s: the rest of the file is not to be had", status,
                status_reason(status));
    task->failure.transient = true;
    t->spoilt = true;
    return false;
}

/* What is known of ranges hangs on the first bytes. */
static bool is_worth_it(const struct transfer *t) {
    if (t->segments)
        return t->sink.size > 0 && t->offset + t->had + t->task->bytes >= KEEP_MIN;
    return t->sink.size + t->sink.used >= KEEP_MIN;
}

void rest_leave(struct transfer *t, bool again) {
    struct task *task = t->task;

    if (again && !t->spoilt && !t->wanted && t->offset > 0) {
        sink_leave(&t->sink);
        return;
    }
    task->kept.offset = 0;
    task->kept.ranges = NULL;
    if (again && !t->spoilt && t->wanted && t->versioned && is_worth_it(t) &&
        sink_keep(&t->sink, &task->parcel) == 0) {
        task->parcel.work = PARCEL_KEEP;
        if (t->segments && !task->ranges)
            task->ranges = malloc(RANGES_TEXT_MAX); /* without it, only the first bytes are kept */
        task->kept = kept_in(t, task->parcel.fd, t->segments ? task->ranges : NULL);
        return;
    }
    sink_discard(&t->sink);
}

int transfer_save(struct transfer *t, struct parcel *ret, struct wire_kept *ret_kept, char *ranges) {
    *ret = (struct parcel){.fd = fcntl(t->sink.fd, F_DUPFD_CLOEXEC, 0), .work = PARCEL_SAVE};
    if (ret->fd < 0)
        return -errno;
    ret->dir = t->sink.dir;
    ret->dir->n_refs++;
    ret->reserved = t->sink.sparse;
    *ret_kept = kept_in(t, t->sink.fd, ranges);
    t->saving_bytes = t->segments ? t->offset + t->task->bytes : t->sink.size;
    t->saving = true;
    return 0;
}

void transfer_saved(struct transfer *t, uint64_t offset) {
    t->saving = false;
    if (offset > 0)
        t->saved = MAX(t->saved, t->saving_bytes);
    t->saved_usec = now_usec(CLOCK_MONOTONIC);
}
