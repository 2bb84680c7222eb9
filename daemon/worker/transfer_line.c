#include "daemon/worker/transfer_line.h"

#include <errno.h>
#include <string.h>

#include "daemon/worker/decode.h"
#include "daemon/worker/transfer_segments.h"

#define REDONE_MAX 3 /* times that a task is fetched again before its attempt has failed */

static void take_chunks(struct transfer *t, const char *p, size_t n) {
    size_t taken = chunks_add(&t->chunks, p, n);

    if (t->chunks.state == CHUNKS_WRONG)
        failure_set(&t->task->failure, ERR_PROTOCOL,
                    "%.200s sent the body in chunks that make no sense", transfer_where(t));
    else if (taken < n && t->line)
        line_spoil(t->line);
    if (t->chunks.state == CHUNKS_ENDED && t->line)
        line_answered(t->line, t->easy);
}

/* Without a NUL in front curl would go on with the line; with it, it takes it for none, and fails. */
static void refuse_folded(struct transfer *t, char *p, size_t n) {
    if (n == 0 || (*p != ' ' && *p != '\t'))
        return;
    failure_set(&t->task->failure, ERR_PROTOCOL, "%.200s folded a header field that must not be",
                transfer_where(t));
    if (t->offset > 0) /* as transfer.c does */
        t->task->failure.transient = t->spoilt = true;
    *p = '\0';
}

/* libcurl drops what is behind a body and says so only here; and here alone the chunks are as they
 * came, and a line of a header is seen before it is stored. */
static int on_debug(CURL *easy, curl_infotype type, char *p, size_t n, void *userdata) {
    static const char *const words[] = {"Excess found", "Leftovers after chunking"};
    struct transfer *t = userdata;

    (void)easy;
    if (type == CURLINFO_HEADER_IN && t->guarding)
        refuse_folded(t, p, n);
    if (type == CURLINFO_DATA_IN && t->head.ended && t->head.is_chunked)
        take_chunks(t, p, n);
    for (size_t i = 0; type == CURLINFO_TEXT && t->line && i < ELEMENTSOF(words); i++)
        if (n > strlen(words[i]) && memcmp(p, words[i], strlen(words[i])) == 0)
            line_spoil(t->line);
    return 0;
}

int transfer_line_init(struct transfer *t) {
    return curl_easy_setopt(t->easy, CURLOPT_DEBUGFUNCTION, on_debug) == CURLE_OK &&
                   curl_easy_setopt(t->easy, CURLOPT_DEBUGDATA, t) == CURLE_OK
               ? 0
               : -ENOMEM;
}

int transfer_line_setup(struct transfer *t) {
    bool alone =
        t->task->alone || lines_want_new(session_lines(t->settings->session), t->address.url.text);

    t->line = NULL;
    t->guarding = false;
    return curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, alone ? 1L : 0L) == CURLE_OK &&
                   curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, alone ? 1L : 0L) == CURLE_OK &&
                   curl_easy_setopt(t->easy, CURLOPT_VERBOSE, 0L) == CURLE_OK
               ? 0
               : -ENOMEM;
}

static bool is_used(const struct transfer *t) {
    return t->line && line_is_used(t->line);
}

static void hold(struct transfer *t) {
    struct task *task = t->task;

    for (size_t i = 0; i < ELEMENTSOF(task->holds); i++) {
        struct task_hold *h = &task->holds[i];

        h->task = task;
        if (h->item.line == t->line)
            return;
        if (!h->item.line) {
            line_hold(t->line, &h->item, task->bytes);
            return;
        }
    }
    task->misled = true; /* by nobody, but a job with so many redirects is as well fetched alone */
}

void transfer_line_leave(struct transfer *t, bool clean) {
    struct line *line = t->line;

    t->line = NULL;
    if (line)
        line_leave(line, t->easy, clean);
}

/* What sent us here, if anything did, was an answer too. */
void transfer_line_next(struct transfer *t) {
    if (t->head.status >= 300 && is_used(t) && !t->lead)
        hold(t);
    transfer_line_leave(t, t->head.status >= 300); /* curl asks again where it got no answer at all */
    t->head = (struct head){0};
}

bool transfer_line_request(struct transfer *t, const char *ip, int port, int local_port) {
    struct lines *lines = session_lines(t->settings->session);
    int r;

    transfer_line_next(t);
    if (!transfer_is_http(t))
        return true;
    r = line_request(&t->line, lines, t->easy, ip, port, local_port);
    if (r == -EBUSY)
        t->task->misled = t->task->crowded = true;
    return r == 0;
}

void transfer_line_guard(struct transfer *t, bool on) {
    t->guarding = on;
    curl_easy_setopt(t->easy, CURLOPT_VERBOSE, on ? 1L : 0L);
}

void transfer_line_header(struct transfer *t) {
    t->chunks = (struct chunks){0};
    if (t->line && (t->head.status == 204 || t->head.status == 304))
        line_answered(t->line, t->easy);
    if (is_used(t) || t->head.is_chunked)
        curl_easy_setopt(t->easy, CURLOPT_VERBOSE, 1L);
}

void transfer_line_progress(struct transfer *t, uint64_t received) {
    const struct head *h = &t->head;

    if (t->line && h->ended && h->status >= 200 && h->has_length && !h->is_chunked &&
        received >= h->length)
        line_answered(t->line, t->easy);
}

void transfer_line_drop(struct transfer *t) {
    transfer_line_leave(t, false);
    for (size_t i = 0; t->task && i < ELEMENTSOF(t->task->holds); i++)
        line_forget(&t->task->holds[i].item);
}

/* Would it have ended so on another connection, too? */
static bool is_ours(const struct failure *f) {
    switch (f->error) {
    case ERR_HTTP:
    case ERR_PROTOCOL:
    case ERR_REDIRECT:
    case ERR_PARTIAL:
    case ERR_RESET:
    case ERR_SIZE:
    case ERR_TOO_LARGE:
    case ERR_CHECKSUM:
        return false;
    default:
        return true;
    }
}

/* All of the answer came, though curl may not be content with it. */
static bool is_whole(const struct transfer *t, CURLcode code) {
    return code == CURLE_OK || code == CURLE_TOO_MANY_REDIRECTS ||
           (code == CURLE_UNSUPPORTED_PROTOCOL && t->head.status >= 300);
}

/* The file has the checksum that the job asks for, or will be read for it before it gets its name. */
static bool is_proven(const struct task *task) {
    return task->failure.error == ERR_NONE && !task->not_modified && task->integrity.job.given;
}

/* Said before a connection is closed that lay idle for too long, it answers nothing. */
static bool is_no_answer(const struct transfer *t) {
    return t->task->http_status == 408 && is_used(t) && line_is_closed(t->line);
}

static enum transfer_trust judge_line(struct transfer *t, CURLcode code) {
    struct task *task = t->task;
    const struct failure *f = &task->failure;

    if (is_proven(task) || segments_vouch(t))
        return TRANSFER_TRUSTED;
    if (is_used(t) && line_is_spoilt(t->line))
        return TRANSFER_WRONG;
    /* A connection of HTTP/2 that its server was about to end: nobody has worked on the request. */
    if (t->line && line_is_numbered(t->line) && f->error == ERR_RESET && t->head.status == 0 &&
        task->redone == 0)
        return TRANSFER_WRONG;
    if (!is_used(t) || task->parcel.work == PARCEL_KEEP)
        return TRANSFER_TRUSTED;
    if (is_no_answer(t))
        return TRANSFER_WRONG;
    if (f->error == ERR_NONE || is_whole(t, code))
        return TRANSFER_HELD;
    if (is_ours(f))
        return TRANSFER_TRUSTED;
    /* Another attempt follows anyway, unless the server had hung up before it was asked. */
    return f->transient && t->head.status > 0 ? TRANSFER_TRUSTED : TRANSFER_WRONG;
}

enum transfer_trust transfer_trust(struct transfer *t, CURLcode code) {
    struct task *task = t->task;
    enum transfer_trust trust = judge_line(t, code);

    if (trust == TRANSFER_HELD)
        hold(t);
    transfer_line_leave(t, is_whole(t, code) && !is_no_answer(t));
    for (size_t i = 0; i < ELEMENTSOF(task->holds); i++)
        if (is_proven(task))
            line_forget(&task->holds[i].item);
        else if (task->holds[i].item.line && trust == TRANSFER_TRUSTED)
            trust = TRANSFER_HELD;
    if (task->misled && !is_proven(task))
        trust = TRANSFER_WRONG;
    if (trust == TRANSFER_WRONG && task->redone++ >= REDONE_MAX) {
        task_reset(task);
        failure_set(&task->failure, ERR_RESET,
                    "%.200s sent bytes that nobody asked for, again and again", transfer_where(t));
        trust = TRANSFER_TRUSTED;
    }
    return trust;
}
