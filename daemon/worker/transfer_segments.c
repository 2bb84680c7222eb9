#include "daemon/worker/transfer_segments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/worker/segments_part.h"
#include "daemon/worker/transfer_line.h"

static unsigned count_running(const struct transfer *lead) {
    unsigned n = 0;

    for (unsigned i = 0; i < PLACES_MAX; i++)
        n += segments_running_at(lead, i);
    return n;
}

static unsigned place_of(const struct transfer *t) {
    const struct segments *s = t->lead ? t->lead->segments : t->segments;

    for (unsigned i = 0; i < s->n; i++)
        if (s->others[i]->t == t)
            return s->others[i]->place;
    return 0;
}

bool segments_begin(struct transfer *t) {
    struct segments *s = t->lead->segments;
    struct piece *x = pieces_of(&s->pieces, t);
    curl_off_t length = -1;
    const char *why;

    t->body_begun = true;
    if (!x)
        return false;
    if (answer_has_file(transfer_status(t)) && transfer_status(t) != 206) {
        failure_set(&t->task->failure, ERR_PROTOCOL,
                    "%.200s sends the whole file where a part of it was asked for",
                    transfer_where(t));
        return false;
    }
    if (transfer_status(t) != 206)
        return true;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    why = resume_part_misfit(t->easy, &t->task->kept, x->reach);
    if (!why && length >= 0 && (uint64_t)length != x->reach - t->sink.size)
        why = "its length is not that of the range";
    if (!why && !answer_is_plain(t->easy))
        why = "it is coded";
    if (!why && rest_source(t) != rest_source(t->lead) && !t->task->job.checksum)
        why = "it is of another server, and no checksum tells if they fit";
    if (why) {
        rest_refuse(t, why);
        return false;
    }
    t->wanted = x->begun = true;
    s->vouched |= place_of(t) == 0;
    return true;
}

/* ---- bytes ---- */

size_t segments_take(struct transfer *t, const char *p, size_t n) {
    struct transfer *lead = lead_of(t);
    struct segments *s = lead->segments;
    struct piece *x = pieces_of(&s->pieces, t);
    uint64_t at = t->sink.size + t->sink.used;
    void *ousted;
    int r;

    while (x && x->end - at <= n && pieces_extend(&s->pieces, x, &ousted))
        ;
    if (!x || s->fatal)
        return 0;
    n = (size_t)MIN((uint64_t)n, x->end - at);
    r = sink_write(&t->sink, p, n);
    if (r == 0 && t == lead)
        r = digest_add(&t->digest, p, n);
    if (r < 0) {
        segments_fail_output(lead, r);
        return 0;
    }
    lead->task->bytes += n;
    t->heard_usec = now_usec(CLOCK_MONOTONIC);
    transfer_show(lead);
    if (at + n < x->end || x->end == x->reach) /* where its request ends it ends by itself */
        return n;
    /* What is on its way is for nobody, and would lie before other answers of HTTP/2. */
    curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
    return 0;
}

bool segments_stalled(struct transfer *t) {
    struct transfer *lead = lead_of(t);
    uint64_t patience = t->wanted ? STALL_USEC : ANSWER_USEC;

    if (!lead->segments || t->throttled.held ||
        now_usec(CLOCK_MONOTONIC) - t->heard_usec < patience || segments_place(lead) == PLACES_MAX)
        return false;
    failure_set(&t->task->failure, ERR_STALLED, "%.200s has sent nothing for %llu seconds",
                transfer_where(t), (unsigned long long)(patience / USEC_PER_SEC));
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
        segments_fail_output(lead, r);
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

/* One has broken off. What it says is the attempt's failure, if no other brings the rest and it was
 * the job's own server. */
static void note_failure(struct transfer *t, CURLcode code) {
    struct transfer *lead = lead_of(t);
    struct segments *s = lead->segments;
    unsigned place = place_of(t), running = segments_running_at(lead, place);
    struct failure *f = &t->task->failure;
    struct attempt a = transfer_attempt(t, code);

    a.received = t->sink.size - t->from;
    a.resumed = t->wanted;
    s->fatal |= code == CURLE_OPERATION_TIMEDOUT && lead->task->job.timeout_usec > 0 &&
                segments_time_left(lead) <= USEC_PER_MSEC;
    if (place > 0 && !s->fatal) {
        failure_clear(f);
        if (a.received < PROGRESS_MIN)
            s->places[place].limit = MIN(s->places[place].limit, running);
        return;
    }
    if (code != CURLE_OK)
        passage_judge(&t->passage, t->address.url.host_key, f);
    if (f->error == ERR_NONE)
        answer_judge(&a, f);
    if (f->error == ERR_NONE)
        failure_set(f, ERR_PARTIAL, "%.200s did not send all of the part that was asked for",
                    transfer_where(t));
    failure_clear(&s->failure);
    s->failure = *f;
    *f = (struct failure){0};
    s->failure.transient = true;
    if (a.received >= PROGRESS_MIN) {
        s->failures = 0;
        return;
    }
    s->failures++;
    s->places[0].limit = MAX(MIN(s->places[0].limit, running), 1u);
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

    if (*code == CURLE_ABORTED_BY_CALLBACK && !t->aside && transfer_has_all(t))
        *code = CURLE_OK;
    if (!s)
        return t;
    connection_ended(t, *code);
    if (!s->fatal && (lead->in_session || !pieces_whole(&s->pieces))) {
        segments_fill(lead);
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
    segments_look(t->segments);
    return pieces_kept(&t->segments->pieces, ret);
}

uint64_t segments_total(const struct transfer *t) {
    return t->segments->total;
}

bool segments_vouch(const struct transfer *t) {
    return t->segments && t->segments->vouched;
}

/* ---- life ---- */

/* How many connections may it have in all? Its answer's header is complete. */
static unsigned most_connections(struct transfer *t, int64_t total) {
    const struct wire_config *config = t->settings->config;
    const struct task *task = t->task;
    unsigned n = task->job.connections > 0 ? task->job.connections : config->connections;
    const char *accepts;
    uint64_t rest;

    if (n <= 1 || total < 0 || (uint64_t)total < config->segment_min || t->aside ||
        task->job.compressed || task->alone || !t->wanted || !t->versioned || t->head.is_chunked ||
        (!*task->version.etag && !*task->version.modified) || !answer_is_plain(t->easy))
        return 1;
    accepts = answer_field(t->easy, "Accept-Ranges");
    if (transfer_status(t) != 206 && !(accepts && strcasecmp(accepts, "bytes") == 0))
        return 1;
    rest = (uint64_t)total - t->offset - t->had - task->bytes;
    return (unsigned)MIN((uint64_t)MIN(n, OTHERS_MAX), MAX(rest / PIECE_MIN, UINT64_C(1)));
}

void segments_want(struct transfer *t, int64_t total) {
    unsigned n = most_connections(t, total);

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
    s->places[0].limit = 1;
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
    segments_start_clock(t, t->sink.size);
    return 0;
}

int segments_resume(struct transfer *t, uint64_t total) {
    return segments_make(t, total, t->task->kept.ranges);
}

/* How many connections are allowed in all. */
static unsigned places_set(struct segments *s, const struct wire_widened *w, unsigned most) {
    unsigned sum = 1, n = MIN(w->n, most);

    s->places[0].limit = 1 + n;
    sum += n;
    for (unsigned i = 0; i < w->n_mirrors; i++) {
        struct place *p = &s->places[1 + i];

        n = MIN(w->mirrors[i].n, most + 1 - sum);
        if (n > 0 && !p->url)
            p->url = strdup(w->mirrors[i].url); /* without memory for it, it is none */
        p->limit = p->url ? n : 0;
        sum += p->limit;
    }
    return sum;
}

void transfer_widen(struct transfer *t, const struct wire_widened *widened, unsigned most) {
    int64_t total = atomic_load_explicit(&t->row->total, memory_order_relaxed);
    struct segments *s;
    unsigned sum;

    most = MIN(most, most_connections(t, total) - 1);
    /* Without memory for it, or room, it goes on as it is. */
    if (most == 0 || (!t->segments && !t->in_session) ||
        (!t->segments && segments_make(t, (uint64_t)total, NULL) < 0))
        return;
    s = t->segments;
    sum = places_set(s, widened, most);
    segments_look(s);
    if (s->pieces.n == 1)
        pieces_spread(&s->pieces, &s->pieces.list[0], sum);
    segments_fill(t);
}

void segments_free(struct transfer *t) {
    struct segments *s = TAKE_PTR(t->segments);

    for (unsigned i = 0; s && i < s->n; i++) {
        transfer_free(s->others[i]->t);
        free(s->others[i]);
    }
    for (unsigned i = 0; s && i < PLACES_MAX; i++)
        free(s->places[i].url);
    free(s);
}
