/* Submitting: chunks of jobs into batches. */

#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_batch.h"
#include "daemon/store_chores.h"
#include "daemon/store_lane.h"
#include "daemon/store_request.h"
#include "daemon/store_sqlite.h"

#define IDS_MAX 1000 /* a batch of more doesn't list them */

struct submit {
    struct request request;
    struct store_chunk *chunk;
    store_submit_fn *fn;
    void *userdata;
    struct store_batch batch;
    int64_t *ids;
};

/* Whether the chunk goes with what the batch has; new ones have nothing. */
static bool chunk_fits(const struct store_chunk *c, const struct store_batch *b) {
    uint64_t end;

    if (!c->submit_key && (c->offset != 0 || !c->last))
        return false;
    if (__builtin_add_overflow(c->offset, c->n_jobs, &end))
        return false;
    if (end > b->count)
        return c->offset == b->count && !b->complete;
    return !c->last || end == b->count;
}

/* ---- lanes ---- */

/* A job of a chunk on its way to its lane. */
struct seat {
    int32_t hash; /* of its host */
    const struct job_new *job;
    int64_t *lane; /* where to put its number */
};

static int seat_compare(const void *a, const void *b) {
    const struct seat *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    int order = strcmp(x->job->host, y->job->host);
    return order != 0 ? order : (x->lane > y->lane) - (x->lane < y->lane);
}

static bool starts_later(const struct store_chunk *c, const struct job_new *j) {
    return j->not_before > c->created;
}

/* One that may start later waits for it from the first; a STAGED one when it is released. */
static enum job_state state_first(const struct store_chunk *c, const struct job_new *j,
                                  enum job_state state) {
    return state == JOB_QUEUED && starts_later(c, j) ? JOB_WAITING : state;
}

static int64_t rank_new(const struct store_chunk *c, const struct job_new *j) {
    return (int64_t)c->created - j->priority * (int64_t)JOB_PRIORITY_STEP;
}

/* Seats n jobs, all of one host. */
static int lane_seat(struct db *db, const struct store_chunk *c, uid_t uid, struct seat *seats,
                     size_t n, enum job_state state) {
    int64_t turn = INT64_MAX, first_rank = INT64_MAX, last_rank = INT64_MIN, lane = 0;
    uint64_t added[LANE_NUMBER_MAX_] = {0};

    for (size_t i = 0; i < n; i++) {
        const struct job_new *j = seats[i].job;
        enum job_state first = state_first(c, j, state);

        added[lane_number(first)]++;
        turn = MIN(turn, rank_new(c, j));
        if (first == JOB_QUEUED) {
            first_rank = MIN(first_rank, rank_new(c, j));
            last_rank = MAX(last_rank, rank_new(c, j));
        }
    }
    int r = lane_add(db, uid, seats[0].hash, seats[0].job->host, turn, added, first_rank, last_rank,
                     &lane);
    for (size_t i = 0; i < n; i++)
        *seats[i].lane = lane;
    /* One that was there may stand far back, for what it had before. */
    return r < 0 || turn >= (int64_t)c->created ? r : lane_hurry(db, lane, turn);
}

/* The lanes of all jobs. Each host is looked up once, and in order of the hash: with many hosts the
 * index is then read and written in one pass. */
static int lanes_find(struct db *db, const struct store_chunk *c, uid_t uid, enum job_state state,
                      int64_t *lanes) {
    _cleanup_free_ struct seat *seats = reallocarray(NULL, c->n_jobs, sizeof(*seats));
    size_t n = 0;
    int r = 0;

    if (!seats)
        return -ENOMEM;
    for (size_t i = 0; i < c->n_jobs; i++)
        seats[i] = (struct seat){lane_hash(db, c->jobs[i].host), &c->jobs[i], &lanes[i]};
    qsort(seats, c->n_jobs, sizeof(*seats), seat_compare);
    for (size_t i = 0; i < c->n_jobs && r >= 0; i += n) {
        for (n = 1; i + n < c->n_jobs && seats[i].hash == seats[i + n].hash &&
                    streq(seats[i].job->host, seats[i + n].job->host);)
            n++;
        r = lane_seat(db, c, uid, seats + i, n, state);
    }
    return r;
}

/* ---- rows ---- */

/* Where a chunk's jobs go. */
struct insertion {
    const struct store_chunk *chunk;
    const int64_t *lanes; /* of each job */
    int64_t batch, first_id;
    enum job_state state;
};

/* Binds the row of the chunk's job i to the parameters from at on. */
static void row_bind(sqlite3_stmt *st, int at, const struct insertion *in, size_t i) {
    const struct store_chunk *c = in->chunk;
    const struct job_new *j = &c->jobs[i];

    sqlite3_bind_int64(st, at++, in->first_id + (int64_t)i);
    sqlite3_bind_int(st, at++, state_first(c, j, in->state));
    sqlite3_bind_int64(st, at++, in->batch);
    sqlite3_bind_int64(st, at++, (int64_t)(c->offset + i));
    sqlite3_bind_int64(st, at++, rank_new(c, j));
    sqlite3_bind_int64(st, at++, (int64_t)c->created);
    sqlite3_bind_int64(st, at++, in->lanes[i]);
    db_bind_text(st, at++, j->url);
    db_bind_text(st, at++, j->body);
    db_bind_number(st, at++, starts_later(c, j) ? (int64_t)j->not_before : 0);
    db_bind_text(st, at++, j->tag);
    db_bind_number(st, at++, (int64_t)j->rate_limit);
}

/* batch_complete() counts all jobs as QUEUED. */
static void job_waits(struct db *db, const struct job_new *j) {
    db->now.counts[JOB_QUEUED]--;
    db->now.counts[JOB_WAITING]++;
    chores_note_due(db, j->not_before);
}

static int rows_insert(struct db *db, const struct insertion *in) {
    size_t n = in->chunk->n_jobs, step;
    int r = 0;

    for (size_t i = 0; i < n && r >= 0; i += step) {
        step = n - i >= JOBS_AT_ONCE ? JOBS_AT_ONCE : 1;
        sqlite3_stmt *st = db_statement(db, step > 1 ? ST_JOBS_INSERT : ST_JOB_INSERT);

        for (size_t k = 0; k < step; k++)
            row_bind(st, 1 + (int)k * JOB_INSERT_COLUMNS, in, i + k);
        r = db_exec(db, st);
    }
    return r;
}

static int jobs_insert(struct db *db, const struct store_chunk *c, const struct batch *b,
                       enum job_state state) {
    _cleanup_free_ int64_t *lanes = reallocarray(NULL, c->n_jobs, sizeof(*lanes));
    struct insertion in = {c, lanes, b->seen.id, db->now.next_job, state};
    int r = lanes ? lanes_find(db, c, b->uid, state, lanes) : -ENOMEM;

    if (r >= 0)
        r = rows_insert(db, &in);
    for (size_t i = 0; i < c->n_jobs && r >= 0; i++)
        if (state_first(c, &c->jobs[i], state) == JOB_WAITING)
            job_waits(db, &c->jobs[i]);
    return r;
}

static int chunk_insert(struct db *db, const struct store_chunk *c, struct batch *b,
                        enum job_state state) {
    int64_t first = db->now.next_job;
    int r;

    if (c->n_jobs == 0)
        return 0;
    r = jobs_insert(db, c, b, state);
    if (r < 0)
        return r;
    db->now.next_job += (int64_t)c->n_jobs;
    return batch_extend(db, b, first, db->now.next_job - 1);
}

static void batch_complete(struct db *db, struct batch *b, bool at_once) {
    b->seen.complete = true;
    b->phase = at_once ? BATCH_VISIBLE : BATCH_RELEASING;
    if (b->seen.count == 0)
        b->seen.finished = b->seen.created;
    db->now.counts[JOB_QUEUED] += b->seen.count;
    if (!at_once)
        db->chores_at = 0;
}

/* Adds the chunk, which fits, to the batch, which may be new. */
static int chunk_take(struct db *db, const struct store_chunk *c, struct batch *b) {
    bool is_new = b->seen.id == 0, at_once = is_new && c->last;
    int r;

    if (is_new) {
        b->seen.id = db->now.next_batch++;
        b->seen.created = c->created;
        b->uid = c->uid;
        b->phase = BATCH_OPEN;
    }
    if (c->offset == b->seen.count) {
        r = chunk_insert(db, c, b, at_once ? JOB_QUEUED : JOB_STAGED);
        if (r < 0)
            return r;
    }
    b->touched = c->created;
    if (c->last)
        batch_complete(db, b, at_once);
    else
        chores_note_open(db, b->touched);
    return batch_put(db, b, c->submit_key);
}

static int ids_find(struct db *db, const struct batch *b, int64_t **ret) {
    _cleanup_free_ int64_t *ids = NULL;
    int64_t first, last = 0;
    size_t n = 0;
    int r;

    if (!b->seen.complete || b->seen.count > IDS_MAX)
        return 0;
    ids = calloc(b->seen.count + 1, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    while ((r = batch_run_next(db, b, last, &first, &last)) > 0)
        for (int64_t id = first; id <= last && n < b->seen.count; id++)
            ids[n++] = id;
    if (r >= 0)
        *ret = TAKE_PTR(ids);
    return r;
}

/* 1: the user may have the chunk's jobs too, which are new; 0: they would be too many. */
static int quota_allows(struct db *db, const struct store_chunk *c) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_USER_JOBS);
    uint64_t have = 0;
    int r;

    if (c->max_unended == 0)
        return 1;
    r = lanes_write(db);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, c->uid);
    r = db_step(db, st);
    if (r > 0)
        have = (uint64_t)sqlite3_column_int64(st, 0);
    return r < 0 ? r : have + c->n_jobs <= c->max_unended;
}

/* One that is to get no more chunks; where it isn't open it stays. */
static int batch_abandon(struct db *db, struct batch *b) {
    if (b->seen.id == 0 || b->phase != BATCH_OPEN)
        return 0;
    b->phase = BATCH_EXPIRED;
    db->chores_at = 0;
    return batch_put_phase(db, b);
}

static int submit_run(struct db *db, struct request *r) {
    struct submit *q = (struct submit *)r;
    const struct store_chunk *c = q->chunk;
    struct batch b = {0};
    int k = 0;

    if (c->submit_key)
        k = batch_by_key(db, c->uid, c->submit_key, &b);
    if (k < 0)
        return k;
    if (!chunk_fits(c, &b.seen)) {
        r->error = -EINVAL;
        return 0;
    }
    if (c->offset + c->n_jobs > b.seen.count) {
        k = quota_allows(db, c);
        if (k < 0)
            return k;
        if (k == 0) {
            r->error = -EDQUOT;
            return batch_abandon(db, &b);
        }
    }
    if (b.seen.id == 0 || c->offset + c->n_jobs > b.seen.count || (c->last && !b.seen.complete)) {
        k = chunk_take(db, c, &b);
        if (k < 0)
            return k;
    }
    fault_point(submit_inserted);
    q->batch = b.seen;
    return ids_find(db, &b, &q->ids);
}

static void submit_clear(struct request *r) {
    struct submit *q = (struct submit *)r;

    free(q->ids);
    q->ids = NULL;
    q->batch = (struct store_batch){0};
}

static void submit_deliver(struct request *r) {
    struct submit *q = (struct submit *)r;

    q->fn(q->userdata, r->error, &q->batch, q->ids, q->ids ? q->batch.count : 0);
}

static void submit_free(struct request *r) {
    struct submit *q = (struct submit *)r;

    store_chunk_free(q->chunk);
    free(q);
}

static const struct request_kind submit_kind = {
    .name = "submit",
    .run = submit_run,
    .clear = submit_clear,
    .deliver = submit_deliver,
    .free = submit_free,
};

int store_submit(struct store *s, struct store_chunk *chunk, store_submit_fn *fn, void *userdata) {
    struct submit *q = calloc(1, sizeof(*q));

    if (!q) {
        store_chunk_free(chunk);
        return -ENOMEM;
    }
    *q = (struct submit){{.kind = &submit_kind}, .chunk = chunk, .fn = fn, .userdata = userdata};
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- giving up ---- */

struct abandon {
    struct request request;
    uid_t uid;
    char *submit_key;
};

static int abandon_run(struct db *db, struct request *r) {
    const struct abandon *q = (struct abandon *)r;
    struct batch b;
    int k = batch_by_key(db, q->uid, q->submit_key, &b);

    return k > 0 ? batch_abandon(db, &b) : k;
}

static void abandon_free(struct request *r) {
    struct abandon *q = (struct abandon *)r;

    free(q->submit_key);
    free(q);
}

static const struct request_kind abandon_kind = {
    .name = "abandon", .run = abandon_run, .free = abandon_free};

int store_abandon(struct store *s, uid_t uid, const char *submit_key) {
    struct abandon *q = calloc(1, sizeof(*q));
    char *key = strdup(submit_key);

    if (!q || !key) {
        free(q);
        free(key);
        return -ENOMEM;
    }
    *q = (struct abandon){{.kind = &abandon_kind}, uid, key};
    store_enqueue(s, &q->request);
    return 0;
}
