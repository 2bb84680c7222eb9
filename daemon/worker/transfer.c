#include "daemon/worker/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/worker/address.h"
#include "daemon/worker/answer.h"
#include "daemon/worker/decode.h"
#include "daemon/worker/excerpt.h"
#include "daemon/worker/head.h"
#include "daemon/worker/header.h"
#include "daemon/worker/remote.h"
#include "daemon/worker/request.h"
#include "daemon/worker/tls_end.h"

/* Bytes read of a body that nobody wants, to keep its connection for the next job. */
#define DISCARD_MAX (64 * KIB)

#define SHOW_EVERY (50 * USEC_PER_MSEC)
#define SPEED_OVER (2 * USEC_PER_SEC) /* what is shown is the mean of so long at most */

#define CONTENT_TYPE_MAX 255

struct transfer {
    const struct transfer_settings *settings;
    struct scoreboard_row *row;
    CURL *easy;
    struct request request;
    struct address address;
    struct sink sink;
    struct task *task; /* NULL: idle */
    bool used; /* the handle, by an earlier task */
    bool in_session;
    bool body_begun;                /* of the answer that is not a redirect */
    bool wanted;                    /* that body belongs in the file */
    struct head head;               /* of the last answer */
    struct excerpt excerpt;         /* of a body that doesn't */
    bool until_end;                 /* the body ends with its TLS connection, */
    bool tls_ended;                 /* which the server has ended */
    struct decoder decoder;         /* on while a coding is being undone */
    uint64_t coded;                 /* bytes that it took in */
    struct remote_base base;        /* with if_modified: what is there */
    uint64_t discarded;             /* bytes of one that doesn't */
    uint64_t shown_usec;            /* when the row was last updated */
    uint64_t mark_usec, mark_bytes; /* where the measuring of speed began */
    char curl_text[CURL_ERROR_SIZE];
};

/* ---- scoreboard ---- */

#define ROW_SET(row, field, value)                                                                 \
    atomic_store_explicit(&(row)->field, (value), memory_order_relaxed)

static void row_begin(struct transfer *t) {
    uint64_t now = now_usec(CLOCK_MONOTONIC);

    t->shown_usec = t->mark_usec = now;
    t->mark_bytes = 0;
    ROW_SET(t->row, bytes, 0);
    ROW_SET(t->row, total, -1);
    ROW_SET(t->row, speed, 0);
    ROW_SET(t->row, heartbeat, now);
    ROW_SET(t->row, job, t->task->job.id);
}

static void row_update(struct transfer *t) {
    uint64_t now = now_usec(CLOCK_MONOTONIC), bytes = t->task->bytes;

    if (now - t->shown_usec < SHOW_EVERY)
        return;
    t->shown_usec = now;
    ROW_SET(t->row, bytes, bytes);
    ROW_SET(t->row, speed, (bytes - t->mark_bytes) * USEC_PER_SEC / (now - t->mark_usec));
    ROW_SET(t->row, heartbeat, now);
    if (now - t->mark_usec > SPEED_OVER) {
        t->mark_usec = now;
        t->mark_bytes = bytes;
    }
}

/* ---- what curl calls ---- */

static bool above(struct transfer *t, uint64_t bytes, uint64_t limit, const char *name,
                  const char *verb) {
    if (limit == 0 || bytes <= limit)
        return false;
    failure_set(&t->task->failure, ERR_TOO_LARGE, "%s %s %llu bytes, %s allows %llu",
                t->address.url.host_key, verb, (unsigned long long)bytes, name,
                (unsigned long long)limit);
    return true;
}

/* Of the body as it comes over the network. */
static bool too_large(struct transfer *t, uint64_t bytes, const char *verb) {
    return above(t, bytes, t->task->job.max_size, "max_size", verb);
}

/* Of the file. max_size is for this too, unless a coding is undone that has a limit of its own. */
static bool file_too_large(struct transfer *t, uint64_t bytes) {
    const struct wire_job *job = &t->task->job;

    if (above(t, bytes, job->max_decoded_size, "max_decoded_size", "has sent"))
        return true;
    return !(job->compressed && job->max_decoded_size) && too_large(t, bytes, "has sent");
}

static long answer_status(const struct transfer *t) {
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Whether to go on. */
static bool decode_begin(struct transfer *t) {
    struct curl_header *second;
    int r = -EOPNOTSUPP;

    if (curl_easy_header(t->easy, "Content-Encoding", 1, CURLH_HEADER, -1, &second) != CURLHE_OK)
        r = decoder_begin(&t->decoder, answer_field(t->easy, "Content-Encoding"));
    if (r == -EOPNOTSUPP)
        failure_set(&t->task->failure, ERR_PROTOCOL, "%s sent a content coding not asked for",
                    t->address.url.host_key);
    else if (r < 0)
        failure_set(&t->task->failure, ERR_INTERNAL, "out of memory");
    return r == 0;
}

/* Whether to go on. */
static bool body_begin(struct transfer *t) {
    curl_off_t total = -1;

    t->body_begun = true;
    t->wanted = answer_has_file(answer_status(t));
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
    ROW_SET(t->row, total, t->task->job.compressed ? -1 : total);
    if (t->wanted && t->task->job.compressed && !decode_begin(t))
        return false;
    return !t->wanted || total < 0 || !too_large(t, (uint64_t)total, "announced");
}

/* Whether to go on reading a body that is not the file. */
static bool discard(struct transfer *t, size_t n) {
    t->discarded += n;
    return t->discarded <= DISCARD_MAX;
}

/* Sees every line of every answer, those of redirects and 1xx too. */
static size_t on_header(char *p, size_t size, size_t n, void *userdata) {
    struct transfer *t = userdata;

    const char *wrong;

    (void)size; /* is 1 */
    if (strncmp(t->address.url.text, "http", strlen("http")) != 0)
        return n;
    wrong = head_line(&t->head, p, n);
    if (wrong) {
        failure_set(&t->task->failure, ERR_PROTOCOL, "%s %s", t->address.url.host_key, wrong);
        return CURL_WRITEFUNC_ERROR;
    }
    if (t->head.ended && answer_has_file((long)t->head.status))
        t->until_end = t->head.http1 && !t->head.has_length && !t->head.is_chunked &&
                       tls_end_watch(t->easy, &t->tls_ended);
    if (!header_location_is_valid(p, n) && answer_status(t) / 100 == 3) {
        failure_set(&t->task->failure, ERR_REDIRECT, "%s redirects to what is no URL for a job",
                    t->address.url.host_key);
        return CURL_WRITEFUNC_ERROR;
    }
    return n;
}

/* Bytes of the file. Sets the failure itself. */
static int keep(void *userdata, const char *p, size_t n) {
    struct transfer *t = userdata;
    struct task *task = t->task;
    int r;

    task->bytes += n;
    if (file_too_large(t, task->bytes))
        return -EFBIG;
    r = sink_write(&t->sink, p, n);
    if (r < 0)
        failure_set_output(&task->failure, r, task->job.output);
    return r;
}

static int keep_coded(struct transfer *t, const char *p, size_t n) {
    int r;

    t->coded += n;
    if (too_large(t, t->coded, "has sent"))
        return -EFBIG;
    r = decoder_write(&t->decoder, p, n, keep, t);
    if (r == -EBADMSG)
        failure_set(&t->task->failure, ERR_PROTOCOL, "%s sent a body that is not of its coding",
                    t->address.url.host_key);
    else if (r < 0)
        failure_set(&t->task->failure, ERR_INTERNAL, "out of memory");
    return r;
}

static size_t on_body(char *p, size_t size, size_t n, void *userdata) {
    struct transfer *t = userdata;
    int r;

    (void)size; /* is 1 */
    if (!t->body_begun && !body_begin(t))
        return CURL_WRITEFUNC_ERROR;
    if (!t->wanted) {
        excerpt_add(&t->excerpt, p, n);
        return discard(t, n) ? n : CURL_WRITEFUNC_ERROR;
    }
    r = t->decoder.on ? keep_coded(t, p, n) : keep(t, p, n);
    if (r < 0)
        return CURL_WRITEFUNC_ERROR;
    row_update(t);
    return n;
}

/* Sees what on_body() doesn't: lengths before the first byte, and the bodies of redirects. */
static int on_progress(void *userdata, curl_off_t total, curl_off_t now, curl_off_t upload_total,
                       curl_off_t upload_now) {
    struct transfer *t = userdata;
    long status;

    (void)upload_total;
    (void)upload_now;
    if (t->body_begun || (total <= 0 && now <= (curl_off_t)DISCARD_MAX))
        return 0;
    status = answer_status(t);
    if (answer_has_file(status))
        return too_large(t, (uint64_t)total, "announced");
    if (status < 300 || status >= 400 || now <= (curl_off_t)DISCARD_MAX)
        return 0;
    failure_set(&t->task->failure, ERR_REDIRECT, "%s does not end the body of its redirect",
                t->address.url.host_key);
    return 1;
}

/* Called before a name is looked up that is not in the cache. */
static int on_lookup(void *state, void *reserved, void *userdata) {
    struct transfer *t = userdata;

    (void)state;
    (void)reserved;
    if (session_may_look_up(t->settings->session))
        return 0;
    failure_set(&t->task->failure, ERR_DNS,
                "%s: too many name lookups are without an answer to begin another",
                t->address.url.host_key);
    return 1;
}

/* ---- life ---- */

static int transfer_setup(struct transfer *t) {
    CURL *easy = t->easy;
    int r;

    if (!easy)
        return -ENOMEM;
    r = session_adopt(t->settings->session, easy);
    if (r == 0)
        r = request_init(&t->request, easy, t->settings->config);
    if (r < 0)
        return r;
    if (curl_easy_setopt(easy, CURLOPT_PRIVATE, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_text) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_XFERINFODATA, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_lookup) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

struct transfer *transfer_new(const struct transfer_settings *settings,
                              struct scoreboard_row *row) {
    struct transfer *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->settings = settings;
    t->row = row;
    sink_init(&t->sink, settings->sink);
    t->easy = curl_easy_init();
    if (address_init(&t->address) < 0 || transfer_setup(t) < 0)
        return transfer_free(t);
    return t;
}

/* libcurl up to 8.0 keeps, from one transfer of a handle to the next, a pointer to the last header
 * field, which it has freed; an answer whose first field is folded makes it write there. So each
 * transfer gets a handle of its own; connections are the session's anyway. */
static int transfer_renew(struct transfer *t) {
    curl_easy_cleanup(t->easy);
    t->easy = curl_easy_init();
    return transfer_setup(t);
}

struct transfer *transfer_free(struct transfer *t) {
    if (!t)
        return NULL;
    if (t->in_session)
        transfer_abort(t);
    curl_easy_cleanup(t->easy);
    request_done(&t->request);
    address_done(&t->address);
    sink_done(&t->sink);
    decoder_done(&t->decoder);
    free(t);
    return NULL;
}

struct transfer *transfer_of(CURL *easy) {
    struct transfer *t = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
    return t;
}

struct task *transfer_task(const struct transfer *t) {
    return t->task;
}

/* Asks for the file only if it differs from the one that is there. */
static int add_conditions(struct transfer *t, const struct wire_job *job) {
    char field[ETAG_MAX + 64];
    struct tm tm;
    int r = 0;

    remote_base_look(&t->base, t->settings->sink->dirs, job->output);
    if (!t->base.there)
        return 0;
    if (*t->base.etag) {
        snprintf(field, sizeof(field), "If-None-Match: %s", t->base.etag);
        r = request_add(&t->request, field);
    }
    if (r == 0 && gmtime_r(&t->base.st.st_mtim.tv_sec, &tm)) {
        strftime(field, sizeof(field), "If-Modified-Since: %a, %d %b %Y %H:%M:%S GMT", &tm);
        r = request_add(&t->request, field);
    }
    return r;
}

bool transfer_start(struct transfer *t, struct task *task) {
    int r;

    if (!address_set(&t->address, task->job.url, &task->failure))
        return false;
    r = t->used ? transfer_renew(t) : 0;
    t->used = true;
    if (r == 0 && task->job.if_modified)
        r = add_conditions(t, &task->job);
    if (r == 0)
        r = request_fill(&t->request, &task->job, &t->address);
    if (r == 0) {
        t->task = task;
        t->body_begun = t->wanted = false;
        t->discarded = 0;
        t->head = (struct head){0};
        t->excerpt.n = 0;
        t->coded = 0;
        t->until_end = false;
        decoder_done(&t->decoder);
        t->curl_text[0] = '\0';
        sink_begin(&t->sink, task->job.id, task->job.output);
        row_begin(t);
        r = session_add(t->settings->session, t->easy);
    }
    if (r < 0) {
        request_clear(&t->request, &task->job);
        transfer_release(t);
        failure_set(&task->failure, ERR_INTERNAL, "out of memory");
        return false;
    }
    t->in_session = true;
    return true;
}

/* What the report says of the answer, while the handle still knows it. A URL longer than any of
 * ours may be is none that the master takes. */
static int keep_facts(struct transfer *t, struct task *task) {
    const char *type = NULL, *url = NULL;
    long redirects = 0;

    if (t->wanted)
        task->size = atomic_load_explicit(&t->row->total, memory_order_relaxed);
    task->http_status = (unsigned)answer_status(t);
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

/* A 304 that was asked for: the file that is there is the one, if it still is. */
static bool is_not_modified(struct transfer *t, CURLcode code) {
    struct task *task = t->task;

    if (!task->job.if_modified || !t->base.there || code != CURLE_OK || t->head.status != 304)
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

/* What the file is to have from the server, besides its bytes. */
static int adorn(struct transfer *t, struct task *task) {
    const struct wire_job *job = &task->job;

    if (job->remote_time)
        remote_set_time(task->parcel.fd, answer_field(t->easy, "Last-Modified"));
    if (job->if_modified) {
        remote_mark_etag(task->parcel.fd, answer_field(t->easy, "ETag"));
        task->parcel.conflict = CONFLICT_OVERWRITE;
    } else if (job->content_disposition) {
        return remote_set_name(task, answer_field(t->easy, "Content-Disposition"),
                               t->settings->sink->store_id);
    }
    return 0;
}

static void judge(struct transfer *t, CURLcode code) {
    const struct wire_config *config = t->settings->config;
    struct attempt a = {
        .easy = t->easy,
        .code = code,
        .curl_text = t->curl_text,
        .host = t->address.url.host_key,
        .head = &t->head,
        .received = t->decoder.on ? t->coded : t->task->bytes,
        .connect_timeout_usec = config->connect_timeout_usec,
        .timeout_usec = t->task->job.timeout_usec,
        .low_speed_limit = config->low_speed_limit,
        .low_speed_time_usec = config->low_speed_time_usec,
    };

    answer_judge(&a, &t->task->failure);
}

bool transfer_finish(struct transfer *t, CURLcode code) {
    struct task *task = t->task;
    struct failure *f = &task->failure;
    int r;

    t->in_session = false;
    if (keep_facts(t, task) < 0)
        failure_set(f, ERR_INTERNAL, "out of memory");
    if (f->error == ERR_NONE && !is_not_modified(t, code))
        judge(t, code);
    if (t->wanted && t->until_end && !t->tls_ended)
        failure_set(f, ERR_PARTIAL, "the connection to %s was cut before it said that it had sent all",
                    t->address.url.host_key);
    if (t->decoder.on && !t->decoder.ended)
        failure_set(f, ERR_PARTIAL, "%s sent a coded body that breaks off", t->address.url.host_key);
    decoder_done(&t->decoder);
    request_clear(&t->request, &task->job);
    if (f->error == ERR_NONE && !task->not_modified) {
        r = sink_finish(&t->sink, task->http_status, &task->parcel);
        if (r < 0)
            failure_set_output(f, r, task->job.output);
        task->parcel.conflict = task->job.on_conflict;
        if (r == 0 && adorn(t, task) < 0)
            failure_set(f, ERR_INTERNAL, "out of memory");
        if (r == 0 && f->error != ERR_NONE)
            parcel_discard(&task->parcel);
    }
    if (f->error != ERR_NONE || task->not_modified) {
        sink_discard(&t->sink);
        return false;
    }
    task->size = (int64_t)task->bytes;
    return true;
}

void transfer_abort(struct transfer *t) {
    if (t->in_session) {
        session_remove(t->settings->session, t->easy);
        t->in_session = false;
        t->task->http_status = (unsigned)answer_status(t);
        request_clear(&t->request, &t->task->job);
    }
    sink_discard(&t->sink);
    transfer_release(t);
}

void transfer_release(struct transfer *t) {
    t->task = NULL;
    ROW_SET(t->row, job, 0);
}
