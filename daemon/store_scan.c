#include "daemon/store_scan.h"

#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "daemon/store_batch.h"
#include "daemon/store_lane.h"
#include "daemon/store_row.h"

/* ---- filters ---- */

static int id_compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* NULL with n > 0: out of memory. */
static int64_t *ids_sorted(const int64_t *ids, size_t n) {
    int64_t *copy = reallocarray(NULL, MAX(n, 1u), sizeof(*ids));

    if (!copy || n == 0)
        return copy;
    memcpy(copy, ids, n * sizeof(*ids));
    qsort(copy, n, sizeof(*copy), id_compare);
    return copy;
}

int scan_filter_copy(struct scan_filter *ret, const struct store_filter *f) {
    struct scan_filter c = {.f = *f};

    if (f->ids)
        c.ids = ids_sorted(f->ids, f->n_ids);
    if (f->except)
        c.except = ids_sorted(f->except, f->n_except);
    if (f->tag)
        c.tag = strdup(f->tag);
    if (f->host)
        c.host = strdup(f->host);
    if ((f->ids && !c.ids) || (f->except && !c.except) || (f->tag && !c.tag) ||
        (f->host && !c.host)) {
        scan_filter_done(&c);
        return -ENOMEM;
    }
    c.f.ids = c.ids;
    c.f.except = c.except;
    c.f.tag = c.tag;
    c.f.host = c.host;
    if (c.f.limit == 0 || c.f.limit > STORE_STEP)
        c.f.limit = STORE_STEP;
    *ret = c;
    return 0;
}

void scan_filter_done(struct scan_filter *f) {
    free(f->ids);
    free(f->except);
    free(f->tag);
    free(f->host);
    *f = (struct scan_filter){0};
}

/* ---- scanning ---- */

struct walk {
    struct db *db;
    const struct store_filter *f;
    unsigned states;
    struct scan *out;
    size_t room;      /* in out */
    size_t looked;    /* at rows, or ids that have none */
    bool only_staged; /* rows are meant */
    /* The lanes of the filter's host, in order. */
    int64_t *lanes;
    size_t n_lanes;
    /* Whether the batch of the last STAGED row is complete: they come in long runs. */
    int64_t staged_batch;
    bool staged_shown;
};

static int lanes_of_host(struct walk *w, sqlite3_stmt *st) {
    int r;

    sqlite3_bind_int64(st, 1, 0);
    sqlite3_bind_int64(st, 2, STORE_STEP);
    sqlite3_bind_int(st, 3, lane_hash(w->db, w->f->host));
    db_bind_text(st, 4, w->f->host);
    while ((r = db_step(w->db, st)) > 0)
        w->lanes[w->n_lanes++] = sqlite3_column_int64(st, 0);
    return r;
}

static int walk_init(struct walk *w, struct db *db, const struct store_filter *f, unsigned states,
                     struct scan *out) {
    *w = (struct walk){.db = db, .f = f, .states = states, .out = out};
    if (f->state >= 0)
        w->states &= STATE_BIT(f->state);
    if (!f->host)
        return 0;
    w->lanes = reallocarray(NULL, STORE_STEP, sizeof(*w->lanes));
    if (!w->lanes)
        return -ENOMEM;
    if (w->states & ~STATES_ENDED)
        w->states &= ~STATES_ENDED;
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LANES_OF_HOST);
    return lanes_of_host(w, st);
}

/* 1: yes, 0: no. */
static int staged_shown(struct walk *w, int64_t batch) {
    struct batch b;

    if (w->staged_batch != batch) {
        int r = batch_by_id(w->db, batch, &b);
        if (r < 0)
            return r;
        w->staged_batch = batch;
        w->staged_shown = r > 0 && b.seen.complete;
    }
    return w->staged_shown;
}

/* 1: the host is that of the filter, 0: it isn't. One that has ended has no lane but a URL. */
static int host_matches(const struct walk *w, const struct scan_found *row, sqlite3_stmt *st) {
    _cleanup_free_ char *host = NULL;

    if (row->lane != 0)
        return bsearch(&row->lane, w->lanes, w->n_lanes, sizeof(row->lane), id_compare) != NULL;
    int r = row_url_host((const char *)sqlite3_column_text(st, 5), &host);
    return r < 0 ? r : streq(host, w->f->host);
}

/* 1: meant, 0: not. */
static int row_matches(struct walk *w, const struct scan_found *row, sqlite3_stmt *st) {
    enum job_state shown = row->state == JOB_STAGED ? JOB_QUEUED : row->state;

    if (!(w->states & STATE_BIT(shown)) || (w->f->batch != 0 && row->batch != w->f->batch) ||
        (w->only_staged && row->state != JOB_STAGED))
        return 0;
    if (w->f->except &&
        bsearch(&row->id, w->f->except, w->f->n_except, sizeof(row->id), id_compare))
        return 0;
    if (w->f->tag) {
        const char *tag = (const char *)sqlite3_column_text(st, 4);

        if (!tag || !streq(tag, w->f->tag))
            return 0;
    }
    int r = w->f->host ? host_matches(w, row, st) : 1;
    return r > 0 && row->state == JOB_STAGED ? staged_shown(w, row->batch) : r;
}

static int found_add(struct walk *w, const struct scan_found *row) {
    struct scan *out = w->out;

    if (out->n == w->room) {
        size_t room = MAX(w->room * 2, 16u);
        void *p = reallocarray(out->found, room, sizeof(*out->found));

        if (!p)
            return -ENOMEM;
        out->found = p;
        w->room = room;
    }
    out->found[out->n++] = *row;
    return 0;
}

/* Looks at the statement's row. 1: go on, 0: enough, and the cursor is set. */
static int row_look(struct walk *w, sqlite3_stmt *st) {
    struct scan_found row = {
        .id = sqlite3_column_int64(st, 0),
        .state = (enum job_state)(sqlite3_column_int(st, 1) & (JOB_STATE_MAX_ - 1)),
        .batch = sqlite3_column_int64(st, 2),
        .lane = sqlite3_column_int64(st, 3),
    };
    int r = row_matches(w, &row, st);

    if (r > 0)
        r = found_add(w, &row);
    if (r < 0)
        return r;
    if (++w->looked < STORE_STEP && w->out->n < w->f->limit)
        return 1;
    w->out->next.id = row.id;
    return 0;
}

/* The rows of ids first..last. 1: go on, 0: enough. */
static int range_walk(struct walk *w, int64_t first, int64_t last) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(w->db, ST_JOB_SCAN);
    int r;

    sqlite3_bind_int64(st, 1, first);
    sqlite3_bind_int64(st, 2, last);
    while ((r = db_step(w->db, st)) > 0) {
        r = row_look(w, st);
        if (r <= 0)
            return r;
    }
    return r < 0 ? r : 1;
}

static int batch_walk(struct walk *w) {
    int64_t first, last = w->f->after.id;
    struct batch b;
    int r = batch_by_id(w->db, w->f->batch, &b);

    if (r <= 0 || !b.seen.complete)
        return MIN(r, 0);
    while ((r = batch_run_next(w->db, &b, last, &first, &last)) > 0) {
        r = range_walk(w, first, last);
        if (r <= 0)
            return r;
    }
    return r;
}

static int ids_walk(struct walk *w) {
    for (size_t i = 0; i < w->f->n_ids; i++) {
        _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(w->db, ST_JOB_BRIEF);
        int64_t id = w->f->ids[i];

        if (id <= w->f->after.id || (i > 0 && id == w->f->ids[i - 1]))
            continue;
        sqlite3_bind_int64(st, 1, id);
        int r = db_step(w->db, st);
        if (r > 0 && row_look(w, st) == 0)
            return 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int tag_walk(struct walk *w) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(w->db, ST_JOB_SCAN_TAG);
    int r;

    db_bind_text(st, 1, w->f->tag);
    sqlite3_bind_int64(st, 2, w->f->after.id);
    while ((r = db_step(w->db, st)) > 0 && (r = row_look(w, st)) > 0)
        ;
    return r;
}

static int found_compare(const void *a, const void *b) {
    const struct scan_found *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* In order of id, each once. */
static void found_sort(struct scan *s) {
    size_t n = 0;

    if (s->n > 1)
        qsort(s->found, s->n, sizeof(*s->found), found_compare);
    for (size_t i = 0; i < s->n; i++)
        if (n == 0 || s->found[n - 1].id != s->found[i].id)
            s->found[n++] = s->found[i];
    s->n = n;
}

/* In this order a lane's jobs are looked at, so that one that goes on by itself while the way is
 * under way (it is due, or is to be tried again) is still to come. */
static const enum job_state stages[] = {
    JOB_PAUSED, JOB_QUEUED, JOB_WAITING, JOB_QUEUED,
};

/* The jobs of a lane and state behind (c->rank, c->id). 1: go on, 0: enough, and the cursor is set. */
static int rank_walk(struct walk *w, const struct store_cursor *c, enum statement n) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(w->db, n);
    int r;

    sqlite3_bind_int64(st, 1, c->lane);
    sqlite3_bind_int(st, 2, stages[c->stage]);
    sqlite3_bind_int64(st, 3, c->rank);
    if (n == ST_JOB_SCAN_SAME_RANK)
        sqlite3_bind_int64(st, 4, c->id);
    while ((r = db_step(w->db, st)) > 0) {
        r = row_look(w, st);
        if (r < 0)
            return r;
        if (r == 0) {
            w->out->next.lane = c->lane;
            w->out->next.rank = sqlite3_column_int64(st, 6);
            w->out->next.stage = c->stage;
            return 0;
        }
    }
    return r < 0 ? r : 1;
}

/* From the cursor to the end of its lane. */
static int lane_walk(struct walk *w, struct store_cursor c) {
    int r = 1;

    for (; c.stage < ELEMENTSOF(stages) && r > 0; c.stage++) {
        if (w->states & STATE_BIT(stages[c.stage])) {
            if (c.id > 0)
                r = rank_walk(w, &c, ST_JOB_SCAN_SAME_RANK);
            if (r > 0)
                r = rank_walk(w, &c, ST_JOB_SCAN_HIGHER_RANK);
        }
        c.id = 0;
        c.rank = INT64_MIN;
    }
    return r;
}

/* The STAGED jobs of complete batches, by their ids: no index has them. 1: go on, 0: enough. */
static int staged_walk(struct walk *w) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(w->db, ST_BATCHES_RELEASING);
    int r = db_step(w->db, st);

    if (r <= 0 || sqlite3_column_type(st, 0) == SQLITE_NULL)
        return r < 0 ? r : 1;
    w->only_staged = true;
    r = range_walk(w, MAX(w->f->after.id, sqlite3_column_int64(st, 0)) + 1,
                   sqlite3_column_int64(st, 1));
    w->only_staged = false;
    return r;
}

/* Each user who has jobs of the host has a lane of his own: one after the other, behind what is
 * about to come into them. */
static int host_walk(struct walk *w) {
    const struct store_cursor *after = &w->f->after;
    struct scan *out = w->out;
    int r = 1;

    if (after->lane == 0 && (w->states & STATE_BIT(JOB_QUEUED)))
        r = staged_walk(w);
    for (size_t i = 0; i < w->n_lanes && r > 0; i++) {
        if (w->lanes[i] == after->lane)
            r = lane_walk(w, *after);
        else if (w->lanes[i] > after->lane)
            r = lane_walk(w, (struct store_cursor){.lane = w->lanes[i], .rank = INT64_MIN});
    }
    found_sort(out);
    return r;
}

int scan_run(struct db *db, const struct scan_filter *filter, unsigned states, struct scan *ret) {
    const struct store_filter *f = &filter->f;
    struct walk w;
    int r = walk_init(&w, db, f, states, ret);

    if (r < 0)
        ;
    else if (f->ids)
        r = ids_walk(&w);
    else if (f->batch != 0)
        r = batch_walk(&w);
    else if (f->tag)
        r = tag_walk(&w);
    else if (f->host && (w.states & ~STATES_ENDED))
        r = host_walk(&w);
    else
        r = f->after.id < INT64_MAX ? range_walk(&w, MAX(f->after.id, 0) + 1, INT64_MAX) : 0;
    free(w.lanes);
    return MIN(r, 0);
}

void scan_done(struct scan *s) {
    free(s->found);
    *s = (struct scan){0};
}
