/* How a transfer ends. */

#include <string.h>

#include "daemon/worker/answer.h"
#include "daemon/worker/transfer.h"
#include "daemon/worker/transfer_line.h"
#include "daemon/worker/transfer_rest.h"
#include "daemon/worker/transfer_segments.h"

#define CONTENT_TYPE_MAX 255

/* What the report says of the answer, while the handle still knows it. A URL longer than any of
 * ours may be is none that the master takes. */
static int keep_facts(struct transfer *t, struct task *task) {
    const char *type = NULL, *url = NULL;
    long redirects = 0;

    if (t->wanted)
        task->size = atomic_load_explicit(&t->row->total, memory_order_relaxed);
    if (t->aside)
        return 0;
    task->http_status = (unsigned)transfer_status(t);
    if (task->http_status >= 400 && t->excerpt.n > 0 && !(task->body = excerpt_text(&t->excerpt)))
        return -ENOMEM;
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    if (redirects > 0)
        curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    if (url && strlen(url) > URL_MAX_LENGTH)
        failure_set(&task->failure, ERR_REDIRECT, "redirected to a URL of %zu bytes", strlen(url));
    else if (url && !(task->effective_url = strdup(url)))
        return -ENOMEM;
    if (type && !(task->content_type = strndup(type, CONTENT_TYPE_MAX)))
        return -ENOMEM;
    return 0;
}

/* The whole is there: is it what was asked for? */
static void verify(struct transfer *t, struct task *task) {
    if (t->segments) {
        segments_verify(t);
        return;
    }
    if (t->offset > 0) {
        rest_verify(t, task);
        return;
    }
    if (transfer_wrong_size(t, task->bytes, "has sent") || (!t->body_begun && !transfer_digest(t)))
        return;
    if (digest_end(&t->digest, &task->parcel.sums) < 0)
        failure_set(&task->failure, ERR_INTERNAL, "can't make the digests of the file");
    else
        integrity_judge(&task->integrity, &task->parcel.sums, &task->failure);
}

struct attempt transfer_attempt(struct transfer *t, CURLcode code) {
    const struct wire_config *config = t->settings->config;

    return (struct attempt){
        .easy = t->easy,
        .code = code,
        .curl_text = t->curl_text,
        .host = t->address.url.host_key,
        .head = &t->head,
        .received = t->decoder.on ? t->coded : t->task->bytes,
        .resumed = t->wanted && t->offset > 0,
        .connect_timeout_usec = config->connect_timeout_usec,
        .timeout_usec = t->task->job.timeout_usec,
        .low_speed_limit = config->low_speed_limit,
        .low_speed_time_usec = config->low_speed_time_usec,
    };
}

static void judge(struct transfer *t, CURLcode code) {
    struct attempt a = transfer_attempt(t, code);

    if (t->aside)
        ftp_end(t, code);
    else
        answer_judge(&a, &t->task->failure);
    if (t->task->failure.error != ERR_NONE)
        t->task->failure.elsewhere = rest_is_elsewhere(t);
}

/* Does a body whose coding is to be undone lack its end? Where the server says that there is none
 * at all, it may call that coded, too. */
static bool coding_breaks_off(const struct transfer *t) {
    if (t->body_begun)
        return t->decoder.on && !t->decoder.ended;
    return t->task->job.compressed && t->head.http1 && !t->head.has_length && !t->head.is_chunked &&
           answer_has_file((long)t->head.status) && !answer_is_plain(t->easy);
}

bool transfer_finish(struct transfer *t, CURLcode code) {
    struct task *task = t->task;
    struct failure *f = &task->failure;
    bool whole;
    int r;

    t->in_session = false;
    rate_end(t);
    if (keep_facts(t, task) < 0)
        failure_set(f, ERR_INTERNAL, "out of memory");
    if (code != CURLE_OK)
        passage_judge(&t->passage, t->address.url.host_key, f);
    whole = t->segments || rest_judge(t, code);
    if (f->error == ERR_NONE && !whole && !remote_unchanged(t, code))
        judge(t, code);
    if (t->until_end && !t->tls_ended)
        failure_set(f, ERR_PARTIAL,
                    "the connection to %.200s was cut before it said that it had sent all",
                    transfer_where(t));
    /* What is read in pieces is left where the next one begins. */
    if (t->wanted && !t->segments && t->head.is_chunked && t->chunks.state != CHUNKS_ENDED)
        failure_set(f, ERR_PROTOCOL, "%.200s sent chunks that do not end as they must",
                    transfer_where(t));
    if (coding_breaks_off(t))
        failure_set(f, ERR_PARTIAL, "%.200s sent a coded body that breaks off", transfer_where(t));
    decoder_done(&t->decoder);
    if (f->error == ERR_NONE && !task->not_modified) {
        verify(t, task);
        t->spoilt |= f->error == ERR_CHECKSUM;
    }
    if (!t->aside)
        request_clear(&t->request, &task->job);
    if (f->error == ERR_NONE && !task->not_modified) {
        r = sink_finish(&t->sink, task->http_status, &task->parcel);
        if (r < 0)
            failure_set_output(f, r, task->job.output);
        task->parcel.conflict = task->job.on_conflict;
        if (r == 0 && remote_adorn(t) < 0)
            failure_set(f, ERR_INTERNAL, "out of memory");
        if (r == 0 && f->error != ERR_NONE) {
            parcel_discard(&task->parcel);
            t->spoilt = true;
        }
    }
    if (t->aside)
        ftp_leave(t, false);
    if (f->error != ERR_NONE || task->not_modified) {
        rest_leave(t, f->transient && !task->not_modified);
        return false;
    }
    task->kept.offset = 0;
    task->size = (int64_t)(t->segments ? segments_total(t) : t->offset + task->bytes);
    return true;
}

void transfer_abort(struct transfer *t, bool keep) {
    if (t->aside) {
        ftp_leave(t, true);
        t->in_session = false;
    }
    if (t->segments) {
        segments_stop(t);
        if (!t->in_session)
            request_clear(&t->request, &t->task->job);
    }
    if (t->in_session) {
        session_remove(t->settings->session, t->easy);
        t->in_session = false;
        rate_end(t);
        t->task->http_status = (unsigned)transfer_status(t);
        request_clear(&t->request, &t->task->job);
    }
    if (t->task) {
        transfer_line_drop(t);
        rest_leave(t, keep);
    }
    transfer_release(t);
}

void transfer_not_connected(struct transfer *t, const struct transfer *failed) {
    if (!t->in_session || t->opened || t->line || t->lead || !address_is_https(&t->address) ||
        !streq(t->address.url.host_key, failed->address.url.host_key))
        return;
    curl_easy_setopt(t->easy, CURLOPT_PIPEWAIT, 0L);
    session_again(t->settings->session, t->easy);
}

bool transfer_failed_to_connect(const struct transfer *t, CURLcode code) {
    return code != CURLE_OK && !t->aside && !t->line && address_is_https(&t->address);
}

void transfer_release(struct transfer *t) {
    segments_free(t);
    t->task = NULL;
    ROW_SET(t->row, job, 0);
}
