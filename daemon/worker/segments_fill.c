#include "daemon/worker/segments_part.h"

#include <limits.h>
#include <stdlib.h>

/* How fast one is can't be told before. */
#define YOUNG_USEC (1 * USEC_PER_SEC)
#define SPEED_ASSUMED (1 * MIB) /* bytes a second */

unsigned segments_running_at(const struct transfer *lead, unsigned place) {
    const struct segments *s = lead->segments;
    unsigned n = place == 0 && lead->in_session;

    for (unsigned i = 0; i < s->n; i++)
        n += s->others[i]->place == place && s->others[i]->t->in_session;
    return n;
}

unsigned segments_place(const struct transfer *lead) {
    unsigned best = PLACES_MAX, least = UINT_MAX;

    for (unsigned i = 0; i < PLACES_MAX; i++) {
        unsigned n = segments_running_at(lead, i);

        if (n < lead->segments->places[i].limit && n < least) {
            best = i;
            least = n;
        }
    }
    return best;
}

/* One that has just begun is taken to be as fast as the fastest. */
void segments_look(struct segments *s) {
    uint64_t now = now_usec(CLOCK_MONOTONIC), fastest = 0;

    for (unsigned i = 0; i < s->pieces.n; i++) {
        struct piece *x = &s->pieces.list[i];
        const struct transfer *t = x->owner;

        if (!t)
            continue;
        x->at = t->sink.size;
        x->speed = now - t->heard_usec > STALL_USEC / 2
                       ? 0
                       : (x->at - t->from) * USEC_PER_SEC / MAX(now - t->from_usec, USEC_PER_MSEC);
        fastest = MAX(fastest, x->speed);
    }
    for (unsigned i = 0; i < s->pieces.n; i++) {
        struct piece *x = &s->pieces.list[i];
        const struct transfer *t = x->owner;

        if (t && now - t->from_usec < YOUNG_USEC)
            x->speed = MAX(x->speed, MAX(fastest, SPEED_ASSUMED));
    }
}

void segments_start_clock(struct transfer *t, uint64_t from) {
    t->from = from;
    t->from_usec = t->heard_usec = now_usec(CLOCK_MONOTONIC);
}

uint64_t segments_time_left(const struct transfer *lead) {
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

/* How another server names its version of the file is not known. */
static bool segment_start(struct transfer *lead, struct piece *x, unsigned place) {
    struct segment *g = segment_get(lead);
    const char *url = lead->segments->places[place].url;
    const struct task *task = lead->task;
    const struct version *v = &task->version;

    if (!g)
        return false;
    g->place = place;
    g->task = (struct task){
        .job = task->job,
        .started_usec = now_usec(CLOCK_REALTIME),
        .slot = TASK_NO_SLOT,
        .parcel.fd = -1,
        .kept = {.offset = x->at,
                 .total = (int64_t)lead->segments->total,
                 .etag = *v->etag && !url ? v->etag : NULL,
                 .last_modified = *v->modified && !url ? v->modified : NULL},
    };
    if (url) {
        g->task.job.url = url;
        g->task.job.host_bucket = 0;
    }
    g->task.job.timeout_usec = segments_time_left(lead);
    g->task.job.if_modified = false;
    x->owner = g->t;
    x->reach = x->end;
    segments_start_clock(g->t, x->at);
    if (transfer_start(g->t, &g->task))
        return true;
    x->owner = NULL;
    return false;
}

void segments_fail_output(struct transfer *lead, int error) {
    struct segments *s = lead->segments;

    s->fatal = true;
    failure_clear(&s->failure);
    failure_set_output(&s->failure, error, lead->task->job.output);
}

/* Nobody may be told to stop before what he has already. */
static bool settle_all(struct transfer *lead) {
    struct pieces *p = &lead->segments->pieces;
    int r = 0;

    for (unsigned i = 0; i < p->n && r == 0; i++) {
        struct transfer *t = p->list[i].owner;

        if (t)
            r = sink_settle(&t->sink);
    }
    if (r < 0)
        segments_fail_output(lead, r);
    return r == 0;
}

void segments_fill(struct transfer *lead) {
    struct segments *s = lead->segments;

    while (!s->fatal && s->failures < FAILURES_MAX) {
        unsigned place = segments_place(lead);
        struct piece *x;

        if (place == PLACES_MAX || !settle_all(lead))
            break;
        segments_look(s);
        x = pieces_pick(&s->pieces);
        if (!x)
            break;
        if (segment_start(lead, x, place))
            continue;
        s->places[place].limit = segments_running_at(lead, place);
        if (place == 0) {
            s->failures++;
            failure_set(&s->failure, ERR_INTERNAL, "another connection can't be begun");
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
