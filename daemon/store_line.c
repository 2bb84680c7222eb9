/* What to run next: users, their lanes, and the jobs in them. */

#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_chores.h"
#include "daemon/store_lane.h"
#include "daemon/store_request.h"
#include "daemon/store_row.h"

/* ---- jobs of a lane ---- */

/* A place in a lane, and what is found behind it. */
struct behind {
    int64_t lane;
    const char *host;
    int64_t rank, id;
    size_t limit;
    struct job **jobs; /* room for limit */
    size_t n;
    bool more;
};

/* Adds the statement's jobs; its limit is one more than are wanted. */
static int behind_rows(struct db *db, struct behind *b, enum statement n) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, n);
    int r;

    sqlite3_bind_int64(st, 1, b->lane);
    sqlite3_bind_int64(st, 2, b->rank);
    if (n == ST_FETCH_SAME_RANK)
        sqlite3_bind_int64(st, 3, b->id);
    sqlite3_bind_int64(st, 4, (int64_t)(b->limit - b->n) + 1);
    while ((r = db_step(db, st)) > 0) {
        if (b->n == b->limit) {
            b->more = true;
            return 0;
        }
        r = row_queued_read(db, st, b->host, &b->jobs[b->n]);
        if (r < 0)
            return r;
        struct job *j = b->jobs[b->n++];
        if (j->id < db->doubted && j->kept.offset == 0)
            j->kept.leftover = true;
        r = given_add(&db->given, j->id);
        if (r < 0)
            return r;
    }
    return r;
}

static int behind_read(struct db *db, struct behind *b) {
    int r = 0;

    if (b->rank > INT64_MIN)
        r = behind_rows(db, b, ST_FETCH_SAME_RANK);
    if (r >= 0 && !b->more)
        r = behind_rows(db, b, ST_FETCH_HIGHER_RANK);
    return r;
}

struct fetch {
    struct request request;
    int64_t lane, after_rank, after_id;
    size_t limit;
    store_fetch_fn *fn;
    void *userdata;
    struct job **jobs;
    size_t n;
    bool more;
};

static int fetch_run(struct db *db, struct request *r) {
    struct fetch *q = (struct fetch *)r;
    struct store_lane lane;
    int k;

    q->jobs = calloc(q->limit + 1, sizeof(*q->jobs));
    if (!q->jobs)
        return -ENOMEM;
    k = lane_by_id(db, q->lane, &lane);
    if (k <= 0)
        return k;
    struct behind b = {q->lane, lane.host, q->after_rank, q->after_id, q->limit, q->jobs, 0, false};
    k = behind_read(db, &b);
    q->n = b.n;
    q->more = b.more;
    free(lane.host);
    return k;
}

static void fetch_clear(struct request *r) {
    struct fetch *q = (struct fetch *)r;

    job_free_many(TAKE_PTR(q->jobs), q->n);
    q->n = 0;
    q->more = false;
}

static void fetch_deliver(struct request *r) {
    struct fetch *q = (struct fetch *)r;

    q->fn(q->userdata, r->error, TAKE_PTR(q->jobs), q->n, q->more);
    q->n = 0;
}

static void request_free(struct request *r) {
    free(r);
}

static const struct request_kind fetch_kind = {
    .name = "fetch",
    .overtakes = true,
    .run = fetch_run,
    .clear = fetch_clear,
    .deliver = fetch_deliver,
    .free = request_free,
};

int store_fetch(struct store *s, int64_t lane, int64_t after_rank, int64_t after_id, size_t limit,
                store_fetch_fn *fn, void *userdata) {
    struct fetch *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct fetch){{.kind = &fetch_kind}, .lane = lane, .after_rank = after_rank,
                        .after_id = after_id,  .fn = fn,     .userdata = userdata};
    q->limit = MIN(limit, STORE_STEP);
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- lanes ---- */

struct lanes {
    struct request request;
    char *host; /* of the host's lanes, NULL: of any */
    uid_t uid;  /* of the user's line */
    int64_t after_turn, after_lane;
    size_t limit, jobs_each;
    store_lanes_fn *fn;
    void *userdata;
    struct store_lane *lanes;
    size_t n;
    bool more;
};

static int lane_jobs(struct db *db, const struct lanes *q, struct store_lane *l) {
    l->jobs = calloc(q->jobs_each + 1, sizeof(*l->jobs));
    if (!l->jobs)
        return -ENOMEM;
    struct behind b = {l->id, l->host, INT64_MIN, 0, q->jobs_each, l->jobs, 0, false};
    int r = behind_read(db, &b);
    l->n_jobs = b.n;
    l->more = b.more;
    return r;
}

/* Adds the statement's lanes; its limit is one more than are wanted. */
static int lanes_rows(struct db *db, struct lanes *q, sqlite3_stmt *st) {
    int r;

    while ((r = db_step(db, st)) > 0) {
        if (q->n == q->limit) {
            q->more = true;
            return 0;
        }
        struct store_lane *l = &q->lanes[q->n];
        r = lane_read(st, l);
        if (r < 0)
            return r;
        q->n++;
        if (q->jobs_each > 0)
            r = lane_jobs(db, q, l);
        if (r < 0)
            return r;
    }
    return r;
}

static int lanes_begin(struct db *db, struct lanes *q) {
    q->lanes = calloc(q->limit + 1, sizeof(*q->lanes));
    return q->lanes ? lanes_write(db) : -ENOMEM;
}

static int line_rows(struct db *db, struct lanes *q, enum statement n) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, n);

    sqlite3_bind_int64(st, 1, q->uid);
    sqlite3_bind_int64(st, 2, q->after_turn);
    if (n == ST_LINE_SAME_TURN)
        sqlite3_bind_int64(st, 3, q->after_lane);
    sqlite3_bind_int64(st, 4, (int64_t)(q->limit - q->n) + 1);
    return lanes_rows(db, q, st);
}

static int line_run(struct db *db, struct request *r) {
    struct lanes *q = (struct lanes *)r;
    int k = lanes_begin(db, q);

    if (k >= 0 && q->after_turn > INT64_MIN)
        k = line_rows(db, q, ST_LINE_SAME_TURN);
    if (k >= 0 && !q->more)
        k = line_rows(db, q, ST_LINE_HIGHER_TURN);
    return k;
}

static int hosts_run(struct db *db, struct request *r) {
    struct lanes *q = (struct lanes *)r;
    int k = lanes_begin(db, q);
    _cleanup_(db_resetp) sqlite3_stmt *st =
        db_statement(db, q->host ? ST_LANES_OF_HOST : ST_LANES_ALL);

    if (k < 0)
        return k;
    sqlite3_bind_int64(st, 1, q->after_lane);
    sqlite3_bind_int64(st, 2, (int64_t)q->limit + 1);
    if (q->host) {
        sqlite3_bind_int(st, 3, lane_hash(db, q->host));
        db_bind_text(st, 4, q->host);
    }
    return lanes_rows(db, q, st);
}

static void lanes_clear(struct request *r) {
    struct lanes *q = (struct lanes *)r;

    for (size_t i = 0; i < q->n; i++) {
        job_free_many(q->lanes[i].jobs, q->lanes[i].n_jobs);
        free(q->lanes[i].host);
    }
    free(q->lanes);
    q->lanes = NULL;
    q->n = 0;
    q->more = false;
}

static void lanes_deliver(struct request *r) {
    struct lanes *q = (struct lanes *)r;

    q->fn(q->userdata, r->error, q->lanes, r->error < 0 ? 0 : q->n, q->more);
}

static void lanes_free(struct request *r) {
    struct lanes *q = (struct lanes *)r;

    free(q->host);
    free(q);
}

static const struct request_kind line_kind = {
    .name = "lanes",
    .overtakes = true,
    .run = line_run,
    .clear = lanes_clear,
    .deliver = lanes_deliver,
    .free = lanes_free,
};
static const struct request_kind hosts_kind = {
    .name = "hosts",
    .run = hosts_run,
    .clear = lanes_clear,
    .deliver = lanes_deliver,
    .free = lanes_free,
};

int store_lanes(struct store *s, uid_t uid, int64_t after_turn, int64_t after_lane, size_t limit,
                size_t jobs_each, store_lanes_fn *fn, void *userdata) {
    struct lanes *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct lanes){{.kind = &line_kind},     .uid = uid, .after_turn = after_turn,
                        .after_lane = after_lane, .fn = fn,   .userdata = userdata};
    q->limit = MIN(limit, STORE_STEP);
    q->jobs_each = MIN(jobs_each, STORE_STEP / MAX(q->limit, 1u));
    store_enqueue(s, &q->request);
    return 0;
}

int store_hosts(struct store *s, const char *host, int64_t after_lane, size_t limit,
                store_lanes_fn *fn, void *userdata) {
    struct lanes *q = calloc(1, sizeof(*q));

    if (!q || (host && !(q->host = strdup(host)))) {
        free(q);
        return -ENOMEM;
    }
    q->request.kind = &hosts_kind;
    q->after_lane = after_lane;
    q->limit = MIN(limit, STORE_STEP);
    q->fn = fn;
    q->userdata = userdata;
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- where a lane stands ---- */

struct move {
    struct request request;
    struct store_move move;
    store_move_fn *fn;
    void *userdata;
};

static int move_run(struct db *db, struct request *r) {
    const struct store_move *m = &((struct move *)r)->move;
    sqlite3_stmt *st = db_statement(db, ST_LANE_PUT);

    sqlite3_bind_int64(st, 1, m->lane);
    sqlite3_bind_int64(st, 2, m->turn);
    db_bind_number(st, 3, (int64_t)m->due);
    db_bind_number(st, 4, m->failures);
    lane_note_changed(db, m->lane);
    if (m->due != 0)
        chores_note_due(db, m->due);
    return db_exec(db, st);
}

static void move_deliver(struct request *r) {
    struct move *q = (struct move *)r;

    if (q->fn)
        q->fn(q->userdata, r->error, &q->move);
}

static const struct request_kind move_kind = {
    .name = "lane",
    .overtakes = true,
    .run = move_run,
    .deliver = move_deliver,
    .free = request_free,
};

int store_move(struct store *s, const struct store_move *m, store_move_fn *fn, void *userdata) {
    struct move *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct move){{.kind = &move_kind}, .move = *m, .fn = fn, .userdata = userdata};
    store_enqueue(s, &q->request);
    return 0;
}

struct park {
    struct request request;
    char *host;
    uint64_t due;
    unsigned failures;
};

static int park_run(struct db *db, struct request *r) {
    const struct park *q = (struct park *)r;
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LANES_PARK);
    int k = lanes_write(db);

    if (k < 0)
        return k;
    sqlite3_bind_int64(st, 1, lane_hash(db, q->host));
    db_bind_text(st, 2, q->host);
    sqlite3_bind_int64(st, 3, (int64_t)q->due);
    db_bind_number(st, 4, q->failures);
    while ((k = db_step(db, st)) > 0)
        lane_note_changed(db, sqlite3_column_int64(st, 0));
    chores_note_due(db, q->due);
    return k;
}

static void park_free(struct request *r) {
    free(((struct park *)r)->host);
    free(r);
}

static const struct request_kind park_kind = {.name = "park", .run = park_run, .free = park_free};

int store_park(struct store *s, const char *host, uint64_t due, unsigned failures) {
    struct park *q = malloc(sizeof(*q));
    char *copy = strdup(host);

    if (!q || !copy) {
        free(q);
        free(copy);
        return -ENOMEM;
    }
    *q = (struct park){{.kind = &park_kind}, .host = copy, .due = due, .failures = failures};
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- users ---- */

struct users {
    struct request request;
    int64_t after;
    size_t limit;
    store_users_fn *fn;
    void *userdata;
    uid_t *uids;
    size_t n;
    bool more;
};

/* One seek for each user, whatever number of lanes he has. */
static int users_run(struct db *db, struct request *r) {
    struct users *q = (struct users *)r;
    int64_t last = q->after;
    int k = lanes_write(db);

    q->uids = calloc(q->limit + 1, sizeof(*q->uids));
    if (!q->uids)
        return -ENOMEM;
    while (k >= 0 && !q->more) {
        _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_USER_NEXT);

        sqlite3_bind_int64(st, 1, last);
        k = db_step(db, st);
        if (k <= 0)
            return k;
        last = sqlite3_column_int64(st, 0);
        if (q->n == q->limit)
            q->more = true;
        else
            q->uids[q->n++] = (uid_t)last;
    }
    return MIN(k, 0);
}

static void users_clear(struct request *r) {
    struct users *q = (struct users *)r;

    free(q->uids);
    q->uids = NULL;
    q->n = 0;
    q->more = false;
}

static void users_deliver(struct request *r) {
    struct users *q = (struct users *)r;

    q->fn(q->userdata, r->error, q->uids, r->error < 0 ? 0 : q->n, q->more);
}

static const struct request_kind users_kind = {
    .name = "users",
    .overtakes = true,
    .run = users_run,
    .clear = users_clear,
    .deliver = users_deliver,
    .free = request_free,
};

int store_users(struct store *s, int64_t after_uid, size_t limit, store_users_fn *fn,
                void *userdata) {
    struct users *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct users){{.kind = &users_kind}, .after = after_uid, .fn = fn, .userdata = userdata};
    q->limit = MIN(limit, STORE_STEP);
    store_enqueue(s, &q->request);
    return 0;
}
