#include "daemon/worker/transfer_segments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/worker/pieces.h"
#include "daemon/worker/transfer_line.h"

#define OTHERS_MAX 16

/* So long may one be silent while another connection is idle. */
#define STALL_USEC (5 * USEC_PER_SEC)

/* Requests in a row that brought less than this end the attempt, once none is left. */
#define FAILURES_MAX 3
#define PROGRESS_MIN (64 * KIB)

/* A connection besides the first, used for one part after the other. */
struct segment {
    struct transfer *t;
    struct task task;          /* as t sees it */
    struct scoreboard_row row; /* nobody looks at it; the first's shows them all */
};

struct segments {
    struct pieces pieces; /* owned by transfers */
    uint64_t total;
    uint64_t front;    /* bytes that the first has digested */
    unsigned limit;    /* connections at once */
    unsigned failures; /* in a row */
    bool vouched;
    bool fatal; /* nothing more can come of it, for a reason of ours */
    struct failure failure; /* the last; of the attempt, if it fails */
    unsigned n;
    struct segment *others[OTHERS_MAX];
};

static struct transfer *lead_of(struct transfer *t) {
    return t->lead ? t->lead : t;
}

static unsigned count_running(const struct transfer *lead) {
    const struct segments *s = lead->segments;
    unsigned n = lead->in_session;

    for (unsigned i = 0; i < s->n; i++)
        n += s->others[i]->t->in_session;
    return n;
}

/* What is in the file of each piece that is being fetched. */
static void look_at_progress(struct segments *s) {
    uint64_t now = now_usec(CLOCK_MONOTONIC);

    for (unsigned i = 0; i < s->pieces.n; i++) {
        struct piece *x = &s->pieces.list[i];
        const struct transfer *t = x->owner;

        if (!t)
            continue;
        x->at = t->sink.size;
        x->speed = now - t->heard_usec > STALL_USEC / 2
                       ? 0
                       : (x->at - t->from) * USEC_PER_SEC / MAX(now - t->from_usec, USEC_PER_MSEC);
    }
}

static void start_clock(struct transfer *t, uint64_t from) {
    t->from = from;
    t->from_usec = t->heard_usec = now_usec(CLOCK_MONOTONIC);
}

/* ---- the other connections ---- */

static uint64_t timeout_left(const struct transfer *lead) {
    const struct task *task = lead->task;
    uint64_t limit = task->job.timeout_usec + lead->throttled.waited / 1000;
    uint64_t spent = now_usec(CLOCK_REALTIME);

    spent -= MIN(spent, task->started_usec);
    if (task->job.timeout_usec == 0)
        return 0;
    return limit > spent + USEC_PER_MSEC ? limit - spent : USEC_PER_MSEC;
}

/* One that has nothing to do; NULL: there is none. */
static struct segment *segment_get(struct transfer *lead) {
    struct segments *s = lead->segments;
    struct segment *g;

    for (unsigned i = 0; i < s->n; i++)
        if (!s->others[i]->t->in_session)
            return s->others[i];
    if (s->n == OTHERS_MAX)
        return NULL;
    g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->t = transfer_new(lead->settings, &g->row);
    if (!g->t) {
        free(g);
        return NULL;
    }
    g->t->lead = lead;
    return s->others[s->n++] = g;
}

static bool segment_start(struct transfer *lead, struct piece *x) {
    struct segment *g = segment_get(lead);
    const struct task *task = lead->task;
    const struct version *v = &task->version;

    if (!g)
        return false;
    failure_clear(&g->task.failure);
    g->task = (struct task){
        .job = task->job,
        .started_usec = now_usec(CLOCK_REALTIME),
        .slot = TASK_NO_SLOT,
        .parcel.fd = -1,
        .kept = {.offset = x->at,
                 .total = (int64_t)lead->segments->total,
                 .etag = *v->etag ? v->etag : NULL,
                 .last_modified = *v->modified ? v->modified : NULL},
    };
    g->task.job.timeout_usec = timeout_left(lead);
    g->task.job.if_modified = false;
    x->owner = g->t;
    x->reach = x->end;
    start_clock(g->t, x->at);
    if (transfer_start(g->t, &g->task))
        return true;
    x->owner = NULL;
    return false;
}

/* As many connections as there may be, if there is something left for them. */
static void fill(struct transfer *lead) {
    struct segments *s = lead->segments;

    while (!s->fatal && s->failures < FAILURES_MAX && count_running(lead) < s->limit) {
        struct piece *x;

        look_at_progress(s);
        x = pieces_pick(&s->pieces);
        if (!x)
            break;
        if (!segment_start(lead, x)) {
            s->failures++;
            failure_set(&s->failure, ERR_INTERNAL, "another connection can't be begun");
            break;
        }
    }
    pieces_tidy(&s->pieces);
}

int segments_ask(struct transfer *t) {
    struct transfer *lead = t->lead;
    const struct piece *x = pieces_of(&lead->segments->pieces, t);
    int r = sink_share(&t->sink, &lead->sink, x->at);

    return r < 0 ? r : request_part(&t->request, &t->task->kept, x->end);
}

static bool is_plain(CURL *easy) {
    const char *coding = answer_field(easy, "Content-Encoding");

    return !coding || strcasecmp(coding, "identity") == 0;
}

bool segments_begin(struct transfer *t) {
    struct segments *s = t->lead->segments;
    struct piece *x = pieces_of(&s->pieces, t);
    curl_off_t length = -1;
    const char *why;

    t->body_begun = true;
    if (!x || transfer_status(t) != 206)
        return x && !answer_has_file(transfer_status(t));
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    why = resume_part_misfit(t->easy, &t->task->kept, x->reach);
    if (!why && length >= 0 && (uint64_t)length != x->reach - t->sink.size)
        why = "its length is not that of the range";
    if (!why && !is_plain(t->easy))
        why = "it is coded";
    if (!why && rest_source(t) != rest_source(t->lead) && !t->task->job.checksum)
        why = "it is of another server, and no checksum tells if they fit";
    if (why) {
        rest_refuse(t, why);
        return false;
    }
    t->wanted = x->begun = s->vouched = true;
    return true;
}

/* ---- bytes ---- */

/* Of the part file. */
static void fail_output(struct transfer *lead, int error) {
    struct segments *s = lead->segments;

    s->fatal = true;
    failure_clear(&s->failure);
    failure_set_output(&s->failure, error, lead->task->job.output);
}

size_t segments_take(struct transfer *t, const char *p, size_t n) {
    struct transfer *lead = lead_of(t);
    struct segments *s = lead->segments;
    struct piece *x = pieces_of(&s->pieces, t);
    uint64_t at = t->sink.size + t->sink.used;
    void *ousted;
    int r;

    while (x && x->end - at < n && pieces_extend(&s->pieces, x, &ousted))
        ;
    if (!x)
        return 0;
    n = (size_t)MIN((uint64_t)n, x->end - at);
    r = sink_write(&t->sink, p, n);
    if (r == 0 && t == lead)
        r = digest_add(&t->digest, p, n);
    if (r < 0) {
        fail_output(lead, r);
        return 0;
    }
    lead->task->bytes += n;
    t->heard_usec = now_usec(CLOCK_MONOTONIC);
    transfer_show(lead);
    /* Where its request ends it ends by itself. */
    return at + n == x->end && x->end < x->reach ? 0 : n;
}

bool segments_stalled(struct transfer *t) {
    struct transfer *lead = lead_of(t);

    if (!lead->segments || !t->wanted || t->throttled.held ||
        now_usec(CLOCK_MONOTONIC) - t->heard_usec < STALL_USEC ||
        count_running(lead) >= lead->segments->limit)
        return false;
    failure_set(&t->task->failure, ERR_STALLED, "%s has sent nothing for %llu seconds",
                t->address.url.host_key, (unsigned long long)(STALL_USEC / USEC_PER_SEC));
    return true;
}

/* ---- ends ---- */

/* What it brought is in the file now, and its piece is nobody's; false: it had none. */
static bool give_up_piece(struct transfer *t, bool *ret_whole) {
    struct transfer *lead = lead_of(t);
    struct segments *s = lead->segments;
    int r = sink_settle(&t->sink);
    struct piece *x = pieces_of(&s->pieces, t);

    if (r < 0 && !s->fatal)
        fail_output(lead, r);
    if (!x)
        return false;
    x->at = t->sink.size;
    *ret_whole = x->at == x->end;
    x->owner = NULL;
    x->begun = x->at > x->begin;
    if (t == lead)
        s->front = x->at;
    return true;
}

static void other_end(struct transfer *t) {
    rate_end(t);
    request_clear(&t->request, &t->task->job);
    sink_leave(&t->sink);
}

/* One has broken off. What it says is the attempt's failure, if no other brings the rest. */
static void note_failure(struct transfer *t, CURLcode code) {
    struct transfer *lead = lead_of(t);
    struct segments *s = lead->segments;
    struct failure *f = &t->task->failure;
    struct attempt a = transfer_attempt(t, code);

    a.received = t->sink.size - t->from;
    a.resumed = t->wanted;
    if (code != CURLE_OK)
        passage_judge(&t->passage, t->address.url.host_key, f);
    if (f->error == ERR_NONE)
        answer_judge(&a, f);
    if (f->error == ERR_NONE)
        failure_set(f, ERR_PARTIAL, "%s did not send all of the part that was asked for",
                    t->address.url.host_key);
    failure_clear(&s->failure);
    s->failure = *f;
    *f = (struct failure){0};
    s->failure.transient = true;
    s->fatal |= code == CURLE_OPERATION_TIMEDOUT && lead->task->job.timeout_usec > 0 &&
                timeout_left(lead) <= USEC_PER_MSEC;
    if (a.received >= PROGRESS_MIN) {
        s->failures = 0;
        return;
    }
    s->failures++;
    s->limit = MAX(MIN(s->limit, count_running(lead)), 1u);
}

static void connection_ended(struct transfer *t, CURLcode code) {
    struct segments *s = lead_of(t)->segments;
    bool whole = false, had_piece;

    t->in_session = false;
    had_piece = give_up_piece(t, &whole);
    if (had_piece && whole)
        s->failures = 0;
    else if (had_piece && !s->fatal)
        note_failure(t, code);
    if (t->lead) {
        transfer_line_leave(t, code == CURLE_OK);
        other_end(t);
    } else {
        rate_end(t);
        if (s->vouched)
            transfer_line_leave(t, code == CURLE_OK);
    }
    pieces_tidy(&s->pieces);
}

void segments_stop(struct transfer *lead) {
    struct segments *s = lead->segments;
    struct ranges ranges;
    bool whole;

    for (unsigned i = 0; i < s->n; i++) {
        struct transfer *t = s->others[i]->t;

        if (!t->in_session)
            continue;
        session_remove(t->settings->session, t->easy);
        t->in_session = false;
        transfer_line_drop(t);
        give_up_piece(t, &whole);
        other_end(t);
    }
    give_up_piece(lead, &whole);
    pieces_tidy(&s->pieces);
    lead->sink.size = pieces_kept(&s->pieces, &ranges);
}

struct transfer *transfer_over(struct transfer *t, CURLcode *code) {
    struct transfer *lead = lead_of(t);
    struct segments *s = lead->segments;

    if (!s)
        return t;
    connection_ended(t, *code);
    if (!s->fatal && (lead->in_session || !pieces_whole(&s->pieces))) {
        fill(lead);
        if (count_running(lead) > 0)
            return NULL;
    }
    segments_stop(lead);
    if (lead->in_session) {
        session_remove(lead->settings->session, lead->easy);
        lead->in_session = false;
        transfer_line_drop(lead);
        rate_end(lead);
    }
    *code = CURLE_OK;
    if (s->fatal || !pieces_whole(&s->pieces)) {
        failure_clear(&lead->task->failure);
        lead->task->failure = s->failure;
        s->failure = (struct failure){0};
    }
    return lead;
}

/* ---- the whole ---- */

void segments_verify(struct transfer *t) {
    struct task *task = t->task;

    if (task->integrity.kinds == 0)
        return;
    task->parcel.unread = &task->integrity;
    task->parcel.failure = &task->failure;
    if (t->offset == 0 && t->segments->front > 0) {
        task->parcel.begun = t->digest;
        task->parcel.begun_bytes = t->segments->front;
        t->digest = (struct digest){.kinds = 0};
    }
}

uint64_t segments_kept(struct transfer *t, struct ranges *ret) {
    look_at_progress(t->segments);
    return pieces_kept(&t->segments->pieces, ret);
}

uint64_t segments_total(const struct transfer *t) {
    return t->segments->total;
}

bool segments_vouch(const struct transfer *t) {
    return t->segments && t->segments->vouched;
}

/* ---- life ---- */

void segments_want(struct transfer *t, int64_t total) {
    const struct wire_config *config = t->settings->config;
    const struct task *task = t->task;
    unsigned n = task->job.connections > 0 ? task->job.connections : config->connections;
    const char *accepts = answer_field(t->easy, "Accept-Ranges");
    uint64_t rest;

    if (n <= 1 || total < 0 || (uint64_t)total < config->segment_min || t->aside ||
        task->job.compressed || task->alone || !t->versioned || t->head.is_chunked ||
        (!*task->version.etag && !*task->version.modified) || !is_plain(t->easy))
        return;
    if (transfer_status(t) != 206 && !(accepts && strcasecmp(accepts, "bytes") == 0))
        return;
    rest = (uint64_t)total - t->offset - t->had;
    n = (unsigned)MIN((uint64_t)MIN(n, OTHERS_MAX), rest / PIECE_MIN);
    if (n > 1)
        t->settings->widen(t->settings->userdata, t->task, n - 1);
}

static int segments_make(struct transfer *t, uint64_t total, const char *ranges) {
    struct segments *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    t->segments = s;
    s->total = total;
    s->limit = 1;
    r = sink_settle(&t->sink);
    if (r == 0)
        r = sink_reserve(&t->sink, total);
    if (r == 0 && !pieces_begin(&s->pieces, t->sink.size, total, ranges))
        r = -EINVAL;
    if (r < 0) {
        segments_free(t);
        return r;
    }
    s->pieces.list[0].owner = t;
    s->pieces.list[0].reach = total;
    s->pieces.list[0].begun = true;
    start_clock(t, t->sink.size);
    return 0;
}

int segments_resume(struct transfer *t, uint64_t total) {
    return segments_make(t, total, t->task->kept.ranges);
}

void transfer_widen(struct transfer *t, unsigned n) {
    int64_t total = atomic_load_explicit(&t->row->total, memory_order_relaxed);
    struct segments *s;

    /* Without memory for it, or room, it goes on as it is. */
    if (n == 0 || !t->wanted || !t->versioned || total < 0 || (!t->segments && !t->in_session) ||
        (!t->segments && segments_make(t, (uint64_t)total, NULL) < 0))
        return;
    s = t->segments;
    s->limit = 1 + MIN(n, OTHERS_MAX - 1);
    look_at_progress(s);
    if (s->pieces.n == 1)
        pieces_spread(&s->pieces, &s->pieces.list[0], s->limit);
    fill(t);
}

void segments_free(struct transfer *t) {
    struct segments *s = TAKE_PTR(t->segments);

    for (unsigned i = 0; s && i < s->n; i++) {
        transfer_free(s->others[i]->t);
        failure_clear(&s->others[i]->task.failure);
        free(s->others[i]);
    }
    if (s)
        failure_clear(&s->failure);
    free(s);
}
