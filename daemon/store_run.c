/* Running jobs: which come next, and where they stand. */

#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_chores.h"
#include "daemon/store_request.h"
#include "daemon/store_row.h"

/* ---- put ---- */

struct put {
    struct request request;
    const struct job *job;
    store_done_fn *fn;
    void *userdata;
};

/* 1: the row was in that state and is changed, 0: it wasn't. */
static int row_put(struct db *db, const struct job *j, enum job_state from) {
    sqlite3_stmt *st = db_statement(db, j->state == JOB_QUEUED ? ST_JOB_REQUEUE : ST_JOB_PUT);

    sqlite3_bind_int64(st, 1, j->id);
    sqlite3_bind_int(st, 2, from);
    if (j->state == JOB_QUEUED) {
        db_bind_number(st, 3, j->attempts);
        db_bind_number(st, 4, j->crashes);
    } else {
        sqlite3_bind_int(st, 3, j->state);
        db_bind_number(st, 4, j->state == JOB_WAITING ? (int64_t)j->due : 0);
        db_bind_number(st, 5, j->attempts);
        db_bind_number(st, 6, j->crashes);
        row_result_bind(st, &j->result);
        row_kept_bind(st, 21, &j->kept);
        row_patience_bind(st, 27, j);
    }
    int r = db_exec(db, st);
    return r < 0 ? r : sqlite3_changes(db->sqlite) > 0;
}

/* In the store QUEUED stands for ACTIVE too. */
static bool put_may(enum job_state from, enum job_state to) {
    if (from == JOB_QUEUED)
        return to == JOB_QUEUED || job_state_may(JOB_ACTIVE, to) || job_state_may(from, to);
    return job_state_may(from, to);
}

/* Nearly all rows are QUEUED: one statement does it. Else look, and say why not. */
static int put_row(struct db *db, struct request *r, const struct job *j,
                   enum job_state *ret_from) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_BRIEF);
    enum job_state from = JOB_QUEUED;
    int k = put_may(from, j->state) ? row_put(db, j, from) : 0;

    if (k == 0) {
        sqlite3_bind_int64(st, 1, j->id);
        k = db_step(db, st);
        from = (enum job_state)sqlite3_column_int(st, 1);
        sqlite3_reset(st);
        if (k == 0)
            r->error = -ENOENT;
        else if (k > 0 && job_state_ended(from))
            r->error = -EALREADY;
        else if (k > 0 && !put_may(from, j->state))
            r->error = -EINVAL;
        if (k <= 0 || r->error < 0)
            return MIN(k, 0);
        k = row_put(db, j, from);
    }
    *ret_from = from;
    return k;
}

static int attempt_put(struct db *db, const struct job *j) {
    sqlite3_stmt *st = db_statement(db, ST_ATTEMPT_PUT);

    sqlite3_bind_int64(st, 1, j->id);
    row_result_bind(st, &j->result);
    return row_attempt_keep(db, st, j->id);
}

/* Its next attempt is at another mirror. */
static int move_row(struct db *db, const struct job *j) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_MOVE);

    sqlite3_bind_int64(st, 1, j->id);
    db_bind_text(st, 2, j->host);
    db_bind_text(st, 3, j->url);
    return db_exec(db, st);
}

static int put_run(struct db *db, struct request *r) {
    const struct job *j = ((struct put *)r)->job;
    enum job_state from;
    int k = put_row(db, r, j, &from);

    if (k <= 0)
        return k;
    if (j->state == JOB_WAITING) {
        chores_note_due(db, j->due);
        k = attempt_put(db, j);
        if (k >= 0)
            k = move_row(db, j);
    } else if (j->state == JOB_QUEUED && from != JOB_QUEUED)
        k = db_note_ready(db, j->host, j->rank);
    return k < 0 ? k : db_note_move(db, j->batch, from, j->state, j->result.bytes);
}

static void put_deliver(struct request *r) {
    struct put *q = (struct put *)r;

    q->fn(q->userdata, r->error);
}

static void put_free(struct request *r) {
    free(r);
}

static const struct request_kind put_kind = {"put", put_run, NULL, put_deliver, put_free};

int store_put(struct store *s, const struct job *job, store_done_fn *fn, void *userdata) {
    struct put *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct put){{.kind = &put_kind}, .job = job, .fn = fn, .userdata = userdata};
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- checkpoint ---- */

struct checkpoint {
    struct request request;
    int64_t id;
    struct job_kept kept;
};

static int checkpoint_run(struct db *db, struct request *r) {
    const struct checkpoint *q = (struct checkpoint *)r;
    sqlite3_stmt *st = db_statement(db, ST_JOB_CHECKPOINT);

    sqlite3_bind_int64(st, 1, q->id);
    row_kept_bind(st, 2, &q->kept);
    return db_exec(db, st);
}

static void checkpoint_free(struct request *r) {
    job_kept_done(&((struct checkpoint *)r)->kept);
    free(r);
}

static const struct request_kind checkpoint_kind = {
    .name = "checkpoint", .run = checkpoint_run, .free = checkpoint_free};

int store_checkpoint(struct store *s, int64_t id, struct job_kept *kept) {
    struct checkpoint *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct checkpoint){{.kind = &checkpoint_kind}, .id = id, .kept = *kept};
    *kept = (struct job_kept){.total = -1};
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- fetch ---- */

struct fetch {
    struct request request;
    char *host;
    int64_t after_rank, after_id;
    size_t limit;
    store_fetch_fn *fn;
    void *userdata;
    struct job **jobs;
    size_t n;
    bool more;
};

/* Adds the statement's jobs; its limit is one more than are wanted. */
static int fetch_rows(struct db *db, struct fetch *q, enum statement n) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, n);
    int r;

    db_bind_text(st, 1, q->host);
    sqlite3_bind_int64(st, 2, q->after_rank);
    if (n == ST_FETCH_SAME_RANK)
        sqlite3_bind_int64(st, 3, q->after_id);
    sqlite3_bind_int64(st, 4, (int64_t)(q->limit - q->n) + 1);
    while ((r = db_step(db, st)) > 0) {
        if (q->n == q->limit) {
            q->more = true;
            return 0;
        }
        r = row_job_read(st, &q->jobs[q->n]);
        if (r < 0)
            return r;
        q->n++;
    }
    return r;
}

static int fetch_run(struct db *db, struct request *r) {
    struct fetch *q = (struct fetch *)r;
    int k = 0;

    q->jobs = calloc(q->limit + 1, sizeof(*q->jobs));
    if (!q->jobs)
        return -ENOMEM;
    if (q->after_rank > INT64_MIN)
        k = fetch_rows(db, q, ST_FETCH_SAME_RANK);
    if (k >= 0 && !q->more)
        k = fetch_rows(db, q, ST_FETCH_HIGHER_RANK);
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

static void fetch_free(struct request *r) {
    struct fetch *q = (struct fetch *)r;

    free(q->host);
    free(q);
}

static const struct request_kind fetch_kind = {
    "fetch", fetch_run, fetch_clear, fetch_deliver, fetch_free,
};

int store_fetch(struct store *s, const char *host, int64_t after_rank, int64_t after_id,
                size_t limit, store_fetch_fn *fn, void *userdata) {
    struct fetch *q = calloc(1, sizeof(*q));

    if (!q || !(q->host = strdup(host))) {
        free(q);
        return -ENOMEM;
    }
    q->request.kind = &fetch_kind;
    q->after_rank = after_rank;
    q->after_id = after_id;
    q->limit = MIN(limit, STORE_STEP);
    q->fn = fn;
    q->userdata = userdata;
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- hosts ---- */

struct hosts {
    struct request request;
    char *after;
    size_t limit;
    store_hosts_fn *fn;
    void *userdata;
    char **hosts;
    size_t n;
    bool more;
};

/* One seek for each host, whatever number of jobs it has. */
static int hosts_run(struct db *db, struct request *r) {
    struct hosts *q = (struct hosts *)r;
    const char *last = q->after;

    q->hosts = calloc(q->limit + 1, sizeof(*q->hosts));
    if (!q->hosts)
        return -ENOMEM;
    for (;;) {
        _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_HOST_NEXT);

        db_bind_text(st, 1, last);
        int k = db_step(db, st);
        if (k <= 0)
            return k;
        if (q->n == q->limit) {
            q->more = true;
            return 0;
        }
        q->hosts[q->n] = strdup((const char *)sqlite3_column_text(st, 0));
        if (!q->hosts[q->n])
            return -ENOMEM;
        last = q->hosts[q->n++];
    }
}

static void hosts_clear(struct request *r) {
    struct hosts *q = (struct hosts *)r;

    for (size_t i = 0; i < q->n; i++)
        free(q->hosts[i]);
    free(q->hosts);
    q->hosts = NULL;
    q->n = 0;
    q->more = false;
}

static void hosts_deliver(struct request *r) {
    struct hosts *q = (struct hosts *)r;

    q->fn(q->userdata, r->error, q->hosts, q->n, q->more);
}

static void hosts_free(struct request *r) {
    struct hosts *q = (struct hosts *)r;

    free(q->after);
    free(q);
}

static const struct request_kind hosts_kind = {
    "hosts", hosts_run, hosts_clear, hosts_deliver, hosts_free,
};

int store_hosts(struct store *s, const char *after, size_t limit, store_hosts_fn *fn,
                void *userdata) {
    struct hosts *q = calloc(1, sizeof(*q));

    if (!q || !(q->after = strdup(after))) {
        free(q);
        return -ENOMEM;
    }
    q->request.kind = &hosts_kind;
    q->limit = MIN(limit, STORE_STEP);
    q->fn = fn;
    q->userdata = userdata;
    store_enqueue(s, &q->request);
    return 0;
}
