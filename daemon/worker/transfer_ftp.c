#include "daemon/worker/transfer_rest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* How a version is named in what is kept: as Last-Modified would have it. */
static void date_text(time_t date, char ret[VERSION_DATE_MAX]) {
    struct tm tm;

    *ret = '\0';
    if (date >= 0 && gmtime_r(&date, &tm))
        strftime(ret, VERSION_DATE_MAX, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/* The size of the whole file; -1: unknown. */
static int64_t file_size(const struct transfer *t) {
    curl_off_t length = -1;

    if (t->ftp.size >= 0)
        return t->ftp.size;
    if (t->address.url.scheme != URL_SFTP)
        return t->offset == 0 ? t->ftp.opening : -1;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length < 0 ? -1 : (int64_t)t->offset + length;
}

static time_t file_time(const struct transfer *t) {
    curl_off_t date = -1;

    curl_easy_getinfo(t->easy, CURLINFO_FILETIME_T, &date);
    return (time_t)date;
}

/* The file's version has a name: its size, and a time that is not so young that another version may
 * have it too. */
static bool name_version(struct transfer *t, int64_t size, time_t date) {
    struct version *v = &t->task->version;

    *v = (struct version){.etag = ""};
    date_text(date, v->modified);
    return size >= 0 && *v->modified && date <= time(NULL) - VERSION_AGE;
}

/* With if_modified: is the file that is there as large, and no older? */
static bool is_unchanged(const struct transfer *t, int64_t size, time_t date) {
    return t->task->job.if_modified && t->base.there && date >= 0 && size == t->base.st.st_size &&
           date <= t->base.st.st_mtim.tv_sec;
}

static bool is_of_kept_version(const struct transfer *t, int64_t size) {
    const struct wire_kept *kept = &t->task->kept;

    return t->versioned && size == kept->total && kept->last_modified &&
           streq(kept->last_modified, t->task->version.modified);
}

/* The first byte has come, or the end without one. Whether to go on. */
static bool file_begin(struct transfer *t) {
    int64_t size = file_size(t);
    time_t date = file_time(t);

    if (is_unchanged(t, size, date)) {
        t->unchanged = true;
        return false;
    }
    t->versioned = name_version(t, size, date);
    if (t->offset > 0 && !is_of_kept_version(t, size)) {
        t->anew = true;
        return false;
    }
    t->body_begun = t->wanted = true;
    t->total = size;
    ROW_SET(t->row, total, size);
    if (size >= 0 && (transfer_too_large(t, (uint64_t)size, "announced") ||
                      transfer_wrong_size(t, (uint64_t)size, "announced")))
        return false;
    if (t->offset > 0) {
        t->rest = (uint64_t)size - t->offset;
        t->mark_bytes = t->offset;
    }
    if (size > 0)
        sink_expect(&t->sink, (uint64_t)size - t->offset);
    return t->offset > 0 || transfer_digest(t);
}

/* ---- what the aside calls ---- */

static bool on_reply(void *userdata, const char *line, size_t n) {
    struct transfer *t = userdata;
    const char *wrong = ftp_line(&t->ftp, line, n);

    if (wrong)
        failure_set(&t->task->failure, ERR_PROTOCOL, "%s %s", t->address.url.host_key, wrong);
    return !wrong;
}

static bool on_body(void *userdata, const char *p, size_t n) {
    struct transfer *t = userdata;
    struct task *task = t->task;

    if (!t->body_begun && !file_begin(t))
        return false;
    if (t->total >= 0 && t->offset + task->bytes + n > (uint64_t)t->total) {
        failure_set(&task->failure, ERR_PROTOCOL, "%s sends more than the %lld bytes it announced",
                    t->address.url.host_key, (long long)t->total);
        task->failure.transient = t->spoilt = true;
        return false;
    }
    return transfer_take(t, p, n);
}

static bool on_open(void *userdata, const struct sockaddr *address) {
    struct transfer *t = userdata;

    return passage_open(&t->passage, address);
}

static bool on_lookup(void *userdata) {
    return transfer_may_look_up(userdata);
}

static bool begin_anew(struct transfer *t) {
    if (!rest_begin_anew(t))
        return false;
    t->anew = false;
    t->task->bytes = 0;
    ftp_begin(&t->ftp);
    return ftp_fill_anew(t->easy, t->commands_anew) == 0;
}

/* A server that has another file now, or knows no parts, is asked for the whole. */
static bool on_again(void *userdata, CURLcode code) {
    struct transfer *t = userdata;

    if (code == CURLE_OK && !t->body_begun)
        file_begin(t);
    if (t->offset == 0 || t->task->failure.error != ERR_NONE)
        return false;
    if (!t->anew && code != CURLE_QUOTE_ERROR && code != CURLE_BAD_DOWNLOAD_RESUME)
        return false;
    return begin_anew(t);
}

static const struct aside_calls calls = {
    .reply = on_reply,
    .body = on_body,
    .may_open = on_open,
    .may_look_up = on_lookup,
    .again = on_again,
};

/* ---- for transfer.c ---- */

/* Where what is kept can be gone on with, the transfer begins behind it. */
static void ask_rest(struct transfer *t) {
    const struct wire_kept *kept = &t->task->kept;

    if (kept->offset == 0)
        return;
    if (kept->last_modified && !kept->etag && kept->total >= 0 && kept->source == rest_source(t) &&
        sink_resume(&t->sink, kept->offset, kept->offset, kept->file) == 0)
        t->offset = t->saved = kept->offset;
    else
        rest_forget(t);
}

int ftp_start(struct transfer *t) {
    struct task *task = t->task;
    struct aside_own own = {.easy = curl_easy_init(), .known_hosts = -1, .key = -1};
    struct request common;
    int r = own.easy ? request_init(&common, own.easy, t->settings->config) : -ENOMEM;

    t->total = -1;
    t->anew = t->unchanged = false;
    ftp_begin(&t->ftp);
    if (task->job.if_modified)
        remote_look(t);
    else
        ask_rest(t);
    if (r == 0 && curl_easy_setopt(own.easy, CURLOPT_PRIVATE, t) != CURLE_OK)
        r = -ENOMEM;
    if (r == 0 && !ftp_fill(&own, t->settings->config, &task->job, &t->address, t->offset,
                            &t->known, &task->failure))
        r = -EINVAL;
    if (r < 0) {
        aside_own_done(&own);
        return r;
    }
    t->easy = t->passage.easy = own.easy;
    t->commands_anew = own.anew;
    r = aside_start(t->settings->asides, &own, &calls, t, &t->aside);
    if (r < 0)
        t->easy = NULL;
    if (r == -EAGAIN)
        failure_set(&task->failure, ERR_INTERNAL, "too many transfers wait for servers to end");
    return r;
}

/* Over FTPS without a size only the server can say that all was sent. */
static void judge_end(struct transfer *t) {
    struct failure *f = &t->task->failure;
    uint64_t size = t->offset + t->task->bytes;
    bool cut = t->address.url.scheme == URL_FTPS && !aside_tls_ended(t->aside);

    if (t->total >= 0 && size != (uint64_t)t->total)
        failure_set(f, ERR_PARTIAL, "%s announced %lld bytes and sent %llu",
                    t->address.url.host_key, (long long)t->total, (unsigned long long)size);
    else if (t->total < 0 && cut)
        failure_set(f, ERR_PARTIAL,
                    "the connection to %s was cut before it said that it had sent all",
                    t->address.url.host_key);
}

void ftp_end(struct transfer *t, CURLcode code) {
    struct attempt a = transfer_attempt(t, code);
    struct ftp_attempt f = {
        .ftp = &t->ftp,
        .address = &t->address,
        .known_hosts = t->settings->config->known_hosts,
        .known = t->known,
        .authenticated = t->task->job.auth != WIRE_AUTH_NONE,
    };

    a.curl_text = aside_text(t->aside);
    if (code != CURLE_OK && aside_limit(t->aside) != CURLE_OK) { /* as curl would have it */
        a.code = CURLE_OPERATION_TIMEDOUT;
        a.curl_text = aside_limit(t->aside) == CURLE_AGAIN ? "too slow" : "";
    }
    if (code == CURLE_OK)
        judge_end(t);
    ftp_judge(&a, &f, &t->task->failure);
}

void ftp_leave(struct transfer *t, bool abandon) {
    if (abandon)
        aside_abandon(t->aside);
    t->aside = NULL;
    t->easy = NULL;
}

void ftp_adorn(struct transfer *t) {
    char date[VERSION_DATE_MAX];

    date_text(file_time(t), date);
    if (t->task->job.remote_time && *date)
        remote_set_time(t->task->parcel.fd, date);
    if (t->task->job.if_modified)
        t->task->parcel.conflict = CONFLICT_OVERWRITE;
}
