#include "daemon/worker/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/worker/answer.h"
#include "daemon/worker/beat.h"
#include "daemon/worker/decode.h"
#include "daemon/worker/excerpt.h"
#include "daemon/worker/head.h"
#include "daemon/worker/header.h"
#include "daemon/worker/remote.h"
#include "daemon/worker/request.h"
#include "daemon/worker/resume.h"
#include "daemon/worker/tls_end.h"
#include "daemon/worker/transfer_line.h"
#include "daemon/worker/transfer_rest.h"
#include "daemon/worker/transfer_segments.h"

/* Bytes read of a body that nobody wants, to keep its connection for the next job. */
#define DISCARD_MAX (64 * KIB)

/* The same of a redirect or a challenge, which curl reads to its end before it goes on. */
#define SKIP_MAX (1 * MIB)

#define SPEED_EVERY (50 * USEC_PER_MSEC)
#define SPEED_OVER (2 * USEC_PER_SEC) /* what is shown is the mean of so long at most */

/* ---- scoreboard ---- */

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
    uint64_t now = now_usec(CLOCK_MONOTONIC), bytes = t->offset + t->had + t->task->bytes;

    atomic_store_explicit(&t->settings->board->heartbeat, now, memory_order_relaxed);
    ROW_SET(t->row, bytes, bytes);
    if (now - t->shown_usec < SPEED_EVERY)
        return;
    t->shown_usec = now;
    ROW_SET(t->row, speed, (bytes - t->mark_bytes) * USEC_PER_SEC / (now - t->mark_usec));
    ROW_SET(t->row, heartbeat, now);
    if (now - t->mark_usec > SPEED_OVER) {
        t->mark_usec = now;
        t->mark_bytes = bytes;
    }
}

/* ---- what curl calls ---- */

const char *transfer_where(const struct transfer *t) {
    const char *host = t->address.url.host_key;

    return t->easy ? answer_where(t->easy, host) : host;
}

static bool above(struct transfer *t, uint64_t bytes, uint64_t limit, const char *name,
                  const char *verb) {
    if (limit == 0 || bytes <= limit)
        return false;
    failure_set(&t->task->failure, ERR_TOO_LARGE, "%.200s %s %llu bytes, %s allows %llu",
                transfer_where(t), verb, (unsigned long long)bytes, name,
                (unsigned long long)limit);
    return true;
}

/* Of the body as it comes over the network. */
bool transfer_too_large(struct transfer *t, uint64_t bytes, const char *verb) {
    return above(t, bytes, t->task->job.max_size, "max_size", verb);
}

/* Of the file. max_size is for this too, unless a coding is undone that has a limit of its own. */
static bool file_too_large(struct transfer *t, uint64_t bytes) {
    const struct wire_job *job = &t->task->job;

    if (above(t, bytes, job->max_decoded_size, "max_decoded_size", "has sent"))
        return true;
    return !(job->compressed && job->max_decoded_size) && transfer_too_large(t, bytes, "has sent");
}

long transfer_status(const struct transfer *t) {
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* The file's size is known, or how much of it there is at least. */
bool transfer_wrong_size(struct transfer *t, uint64_t bytes, const char *verb) {
    int64_t size = t->task->job.size;

    if (size < 0 || bytes == (uint64_t)size)
        return false;
    failure_set(&t->task->failure, ERR_SIZE, "%.200s %s %llu bytes, the job asks for %lld",
                transfer_where(t), verb, (unsigned long long)bytes, (long long)size);
    return true;
}

/* The header is complete and the file is to follow. Whether to go on. */
bool transfer_digest(struct transfer *t) {
    struct integrity *in = &t->task->integrity;

    if (!t->aside && t->head.has_digest)
        answer_digests(t->easy, in);
    if (digest_begin(&t->digest, in->kinds) == 0)
        return true;
    failure_set(&t->task->failure, ERR_INTERNAL, "can't make the digests of the file");
    return false;
}

/* Whether to go on. */
static bool decode_begin(struct transfer *t) {
    struct curl_header *second;
    int r = -EOPNOTSUPP;

    if (curl_easy_header(t->easy, "Content-Encoding", 1, CURLH_HEADER, -1, &second) != CURLHE_OK)
        r = decoder_begin(&t->decoder, answer_field(t->easy, "Content-Encoding"));
    if (r == -EOPNOTSUPP)
        failure_set(&t->task->failure, ERR_PROTOCOL, "%.200s sent a content coding not asked for",
                    transfer_where(t));
    else if (r < 0)
        failure_set(&t->task->failure, ERR_INTERNAL, "out of memory");
    return r == 0;
}

/* Whether to go on. */
static bool body_begin(struct transfer *t) {
    bool compressed = t->task->job.compressed;
    curl_off_t total = -1;

    t->body_begun = true;
    t->wanted = answer_has_file(transfer_status(t)) || (t->offset > 0 && transfer_status(t) == 206);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
    if (t->wanted && transfer_status(t) == 206)
        return rest_begin(t, total);
    ROW_SET(t->row, total, compressed ? -1 : total);
    if (!t->wanted)
        return true;
    if (t->head.single[HEAD_CONTENT_RANGE].seen && resume_is_part(t->easy)) {
        failure_set(&t->task->failure, ERR_PROTOCOL,
                    "%.200s sent a part of the file and says that it is the whole",
                    transfer_where(t));
        return false;
    }
    if (t->offset > 0 && !rest_begin_anew(t))
        return false;
    t->versioned = !compressed && rest_version(t, total);
    if (total >= 0 && transfer_too_large(t, (uint64_t)total, "announced"))
        return false;
    if (total >= 0 && !compressed && transfer_wrong_size(t, (uint64_t)total, "announced"))
        return false;
    if (total > 0)
        sink_expect(&t->sink, (uint64_t)total);
    if ((compressed && !decode_begin(t)) || !transfer_digest(t))
        return false;
    segments_want(t, total);
    return true;
}

/* Whether to go on reading a body that is not the file. */
static bool discard(struct transfer *t, size_t n) {
    t->discarded += n;
    return t->discarded <= DISCARD_MAX;
}

bool transfer_is_http(const struct transfer *t) {
    return strncmp(t->address.url.text, "http", strlen("http")) == 0;
}

/* Sees every line of every answer, those of redirects and 1xx too. */
static size_t on_header(char *p, size_t size, size_t n, void *userdata) {
    struct transfer *t = userdata;

    const char *wrong;
    bool ended;

    (void)size; /* is 1 */
    beat_at(t->settings->board, t->task->job.id);
    ended = t->head.ended;
    wrong = head_line(&t->head, p, n);
    if (t->guarding)
        transfer_line_guard(t, false);
    if (!wrong && !t->head.ended && header_is_status_line(p, n)) {
        if (curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION,
                             (long)answer_redirects((long)t->head.status)) != CURLE_OK)
            return CURL_WRITEFUNC_ERROR;
        if (t->stale)
            transfer_line_guard(t, true);
    }
    if (!wrong && !t->head.http1 && t->line && !line_is_numbered(t->line))
        wrong = "speaks a version of HTTP that was not agreed upon";
    if (wrong) {
        failure_set(&t->task->failure, ERR_PROTOCOL, "%.200s %s", transfer_where(t), wrong);
        if (t->offset > 0) /* perhaps it only can't answer for a part */
            t->task->failure.transient = t->spoilt = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (t->head.ended && !ended)
        transfer_line_header(t);
    if (t->head.ended && answer_has_file((long)t->head.status))
        t->until_end = t->head.http1 && !t->head.has_length && !t->head.is_chunked &&
                       tls_end_watch(t->easy, &t->tls_ended);
    if (!header_location_is_valid(p, n) && answer_redirects(transfer_status(t))) {
        failure_set(&t->task->failure, ERR_REDIRECT, "%.200s redirects to what is no URL for a job",
                    transfer_where(t));
        return CURL_WRITEFUNC_ERROR;
    }
    if (t->head.ended && !ended && t->head.status / 100 == 3 && !remote_redirects(t))
        return CURL_WRITEFUNC_ERROR;
    return n;
}

/* Whether it is no more than was announced or asked for. */
static bool fits(struct transfer *t) {
    const struct task *task = t->task;
    uint64_t size = t->offset + task->bytes;

    if (file_too_large(t, size))
        return false;
    if (task->job.size >= 0 && size > (uint64_t)task->job.size)
        return !transfer_wrong_size(t, size, "has sent");
    if (t->offset > 0 && task->bytes > t->rest) {
        rest_refuse(t, "more of it than there is");
        return false;
    }
    return true;
}

/* Bytes of the file. Sets the failure itself. */
static int keep(void *userdata, const char *p, size_t n) {
    struct transfer *t = userdata;
    struct task *task = t->task;
    int r;

    task->bytes += n;
    if (!fits(t))
        return -EFBIG;
    r = sink_write(&t->sink, p, n);
    if (r == 0)
        r = digest_add(&t->digest, p, n);
    if (r < 0)
        failure_set_output(&task->failure, r, task->job.output);
    return r;
}

static int keep_coded(struct transfer *t, const char *p, size_t n) {
    int r;

    t->coded += n;
    if (transfer_too_large(t, t->coded, "has sent"))
        return -EFBIG;
    r = decoder_write(&t->decoder, p, n, keep, t);
    if (r == -EBADMSG)
        failure_set(&t->task->failure, ERR_PROTOCOL, "%.200s sent a body that is not of its coding",
                    transfer_where(t));
    else if (r < 0)
        failure_set(&t->task->failure, ERR_INTERNAL, "out of memory");
    return r;
}

void transfer_show(struct transfer *t) {
    rest_save_if_due(t);
    row_update(t);
}

bool transfer_take(struct transfer *t, const char *p, size_t n) {
    if ((t->decoder.on ? keep_coded(t, p, n) : keep(t, p, n)) < 0)
        return false;
    transfer_show(t);
    return true;
}

static size_t on_body(char *p, size_t size, size_t n, void *userdata) {
    struct transfer *t = userdata;

    (void)size; /* is 1 */
    beat_at(t->settings->board, t->task->job.id);
    if (!t->body_begun && !(t->lead ? segments_begin(t) : body_begin(t)))
        return CURL_WRITEFUNC_ERROR;
    if (!t->wanted) {
        excerpt_add(&t->excerpt, p, n);
        return discard(t, n) ? n : CURL_WRITEFUNC_ERROR;
    }
    if (!rate_admits(t, n))
        return CURL_WRITEFUNC_PAUSE;
    if (t->lead || t->segments)
        return segments_take(t, p, n) == n ? n : CURL_WRITEFUNC_ERROR;
    return transfer_take(t, p, n) ? n : CURL_WRITEFUNC_ERROR;
}

bool transfer_has_all(const struct transfer *t) {
    const struct head *h = &t->head;

    return h->is_identity && h->ended && h->has_length && !h->is_chunked && !t->lead &&
           !t->segments && (answer_has_file((long)h->status) || h->status == 206) &&
           (t->decoder.on ? t->coded : t->task->bytes) >= h->length;
}

/* Sees what on_body() doesn't: lengths before the first byte, and the bodies of redirects. */
static int on_progress(void *userdata, curl_off_t total, curl_off_t now, curl_off_t upload_total,
                       curl_off_t upload_now) {
    struct transfer *t = userdata;
    long status;

    (void)upload_total;
    (void)upload_now;
    transfer_line_progress(t, (uint64_t)now);
    if (segments_stalled(t) || transfer_has_all(t))
        return 1;
    if (t->body_begun || (total <= 0 && now <= (curl_off_t)SKIP_MAX))
        return 0;
    status = transfer_status(t);
    if (answer_has_file(status))
        return transfer_too_large(t, (uint64_t)total, "announced") ||
               (total > 0 && !t->task->job.compressed &&
                transfer_wrong_size(t, (uint64_t)total, "announced"));
    if (status < 300 || now <= (curl_off_t)SKIP_MAX)
        return 0;
    /* A challenge, if it is no redirect: curl is about to answer it. */
    failure_set(&t->task->failure, status < 400 ? ERR_REDIRECT : ERR_PROTOCOL,
                "%.200s sent more than %llu bytes with its %s", transfer_where(t),
                (unsigned long long)SKIP_MAX, status < 400 ? "redirect" : "challenge");
    return 1;
}

static curl_socket_t on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
    struct transfer *t = userdata;

    (void)purpose;
    t->opened = true;
    transfer_line_next(t);
    return passage_open(&t->passage, &address->addr) ? session_open(t->settings->session, address)
                                                     : CURL_SOCKET_BAD;
}

/* Called before a request is sent, over a new connection or one that was kept. */
static int on_request(void *userdata, char *address, char *local_address, int port,
                      int local_port) {
    struct transfer *t = userdata;

    (void)local_address;
    return passage_request(&t->passage) && transfer_line_request(t, address, port, local_port)
               ? CURL_PREREQFUNC_OK
               : CURL_PREREQFUNC_ABORT;
}

bool transfer_may_look_up(struct transfer *t) {
    if (session_may_look_up(t->settings->session))
        return true;
    failure_set(&t->task->failure, ERR_DNS,
                "%.200s: too many name lookups are without an answer to begin another",
                transfer_where(t));
    return false;
}

/* Called before a name is looked up that is not in the cache. */
static int on_lookup(void *state, void *reserved, void *userdata) {
    (void)state;
    (void)reserved;
    return !transfer_may_look_up(userdata);
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
    if (r == 0)
        r = transfer_line_init(t);
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
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) != CURLE_OK)
        return -ENOMEM;
    t->passage = (struct passage){.gate = t->settings->gate, .easy = easy};
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

/* libcurl before 8.0 keeps, from one transfer of a handle to the next, a pointer to the last header
 * field, which it has freed; an answer whose first field is folded makes it write there. Such an
 * answer is stopped before (transfer_line_guard()), except that of a proxy to CONNECT, which we
 * don't see: where there may be one, each transfer gets a new handle. */
static int transfer_renew(struct transfer *t, const char *proxy) {
    t->stale = t->easy && curl_facts()->version_num < 0x080000;
    if (t->easy && !t->challenged && !(t->stale && (proxy || t->settings->config->proxy)))
        return 0;
    t->stale = t->challenged = false;
    curl_easy_cleanup(t->easy);
    t->easy = curl_easy_init();
    return transfer_setup(t);
}

struct transfer *transfer_free(struct transfer *t) {
    if (!t)
        return NULL;
    if (t->in_session)
        transfer_abort(t, false);
    segments_free(t);
    curl_easy_cleanup(t->easy);
    request_done(&t->request);
    address_done(&t->address);
    digest_done(&t->digest);
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

static int session_start(struct transfer *t) {
    const struct wire_job *job = &t->task->job;
    int r = t->used ? transfer_renew(t, job->proxy) : 0;

    t->used = true;
    t->opened = false;
    t->challenged = job->auth == WIRE_AUTH_DIGEST;
    passage_begin(&t->passage, job->proxy);
    if (r == 0)
        r = transfer_line_setup(t);
    if (r == 0)
        r = t->lead ? segments_ask(t) : job->if_modified ? remote_ask(t) : rest_ask(t);
    if (r == 0)
        r = request_fill(&t->request, job, &t->address);
    if (r == 0)
        r = rate_begin(t);
    if (r == 0)
        r = session_add(t->settings->session, t->easy);
    if (r < 0) {
        rate_end(t);
        request_clear(&t->request, job);
    }
    return r;
}

/* The handle of the session is of no use to it; a new one is made when it is wanted again. */
static int start_aside(struct transfer *t) {
    curl_easy_cleanup(TAKE_PTR(t->easy));
    request_done(&t->request);
    t->used = true;
    passage_begin(&t->passage, t->task->job.proxy);
    return ftp_start(t);
}

bool transfer_start(struct transfer *t, struct task *task) {
    int r;

    if (!address_set(&t->address, task->job.url, &task->failure) ||
        !request_permitted(t->settings->config, &t->address, &task->failure))
        return false;
    t->task = task;
    t->body_begun = t->wanted = t->spoilt = t->versioned = t->said = t->saving = false;
    t->discarded = t->offset = t->rest = t->saved = t->had = 0;
    t->saved_usec = now_usec(CLOCK_MONOTONIC);
    t->curl_text[0] = '\0';
    t->head = (struct head){0};
    t->excerpt.n = 0;
    t->coded = 0;
    t->until_end = false;
    decoder_done(&t->decoder);
    sink_begin(&t->sink, task->job.id, task->job.output);
    row_begin(t);
    r = address_is_web(&t->address) ? session_start(t) : start_aside(t);
    if (r < 0) {
        sink_leave(&t->sink);
        transfer_release(t);
        failure_set(&task->failure, ERR_INTERNAL, "out of memory");
        return false;
    }
    t->in_session = true;
    return true;
}
