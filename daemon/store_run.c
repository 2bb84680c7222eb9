/* Running jobs: where they stand. */

#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_chores.h"
#include "daemon/store_lane.h"
#include "daemon/store_request.h"
#include "daemon/store_row.h"

/* ---- put ---- */

struct put {
    struct request request;
    const struct job *job;
    int64_t lane; /* the job's */
    store_done_fn *fn;
    void *userdata;
};

/* An attempt's outcome is recorded with the job's end, and when another is to follow. */
static sqlite3_stmt *put_bind_result(struct db *db, const struct job *j) {
    bool ended = job_state_ended(j->state), done = j->state == JOB_DONE;
    sqlite3_stmt *st = db_statement(db, done ? ST_JOB_DONE : ended ? ST_JOB_END : ST_JOB_WAIT);

    db_bind_number(st, 5, j->attempts);
    db_bind_number(st, 6, j->crashes);
    row_result_bind(st, &j->result);
    if (ended && j->result.finished == 0) /* by this it is found */
        sqlite3_bind_int64(st, BIND_FINISHED, (int64_t)now_usec(CLOCK_REALTIME));
    if (!ended)
        db_bind_number(st, 4, (int64_t)j->due);
    if (!done) { /* of what is done nothing is to be gone on with */
        row_kept_bind(st, 21, &j->kept);
        row_patience_bind(st, 27, j);
    }
    return st;
}

static sqlite3_stmt *put_bind_hold(struct db *db, const struct job *j) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_HOLD);

    db_bind_number(st, 4, (int64_t)j->due);
    db_bind_number(st, 5, j->attempts);
    db_bind_number(st, 6, j->crashes);
    row_kept_bind(st, 7, &j->kept);
    row_patience_bind(st, 13, j);
    return st;
}

static sqlite3_stmt *put_bind_requeue(struct db *db, const struct job *j) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_REQUEUE);

    db_bind_number(st, 3, j->attempts);
    db_bind_number(st, 4, j->crashes);
    return st;
}

/* 1: the row was as m says and is changed, 0: it wasn't. */
static int row_put(struct db *db, const struct job *j, const struct db_move *m) {
    sqlite3_stmt *st = m->to == JOB_QUEUED   ? put_bind_requeue(db, j)
                       : m->to == JOB_PAUSED ? put_bind_hold(db, j)
                                             : put_bind_result(db, j);

    sqlite3_bind_int64(st, 1, j->id);
    sqlite3_bind_int(st, 2, m->from);
    if (m->to != JOB_QUEUED)
        sqlite3_bind_int(st, 3, m->to);
    sqlite3_bind_int64(st, 31, m->lane);
    int r = db_exec(db, st);
    return r < 0 ? r : sqlite3_changes(db->sqlite) > 0;
}

/* In the store QUEUED stands for ACTIVE too, and PAUSED for one that was paused as it was started. */
static bool put_may(enum job_state from, enum job_state to) {
    if (from == JOB_QUEUED || from == JOB_PAUSED)
        return to == JOB_QUEUED || job_state_may(JOB_ACTIVE, to) || job_state_may(from, to);
    return job_state_may(from, to);
}

/* Nearly all rows are QUEUED, in the lane that they were read in: one statement does it. Else look,
 * and say why not. */
static int put_row(struct db *db, struct request *r, const struct job *j, struct db_move *m) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_BRIEF);
    int k = put_may(m->from, j->state) ? row_put(db, j, m) : 0;

    if (k == 0) {
        sqlite3_bind_int64(st, 1, j->id);
        k = db_step(db, st);
        m->from = (enum job_state)sqlite3_column_int(st, 1);
        m->lane = sqlite3_column_int64(st, 3);
        sqlite3_reset(st);
        if (k == 0)
            r->error = -ENOENT;
        else if (k > 0 && job_state_ended(m->from))
            r->error = -EALREADY;
        else if (k > 0 && !put_may(m->from, j->state))
            r->error = -EINVAL;
        if (k <= 0 || r->error < 0)
            return MIN(k, 0);
        if (m->from == JOB_PAUSED && !job_state_ended(j->state)) {
            m->to = JOB_PAUSED;
            r->error = -EALREADY;
        }
        k = row_put(db, j, m);
    }
    return k;
}

static int attempt_put(struct db *db, const struct job *j) {
    sqlite3_stmt *st = db_statement(db, ST_ATTEMPT_PUT);

    sqlite3_bind_int64(st, 1, j->id);
    row_result_bind(st, &j->result);
    return row_attempt_keep(db, st, j->id);
}

/* Its next attempt may be at another mirror, which may be in another lane. */
static int move_row(struct db *db, const struct job *j, int64_t *lane) {
    static const uint64_t added[LANE_NUMBER_MAX_] = {[LANE_WAITING] = 1};
    sqlite3_stmt *st = db_statement(db, ST_JOB_MOVE);
    struct store_lane old;
    int r = lane_by_id(db, *lane, &old);

    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    if (!streq(old.host, j->host)) {
        r = lane_note_move(db, *lane, JOB_WAITING, JOB_CANCELLED, 0);
        if (r >= 0)
            r = lane_add(db, old.uid, lane_hash(db, j->host), j->host, j->rank, added, 0, 0, lane);
    }
    free(old.host);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, j->id);
    sqlite3_bind_int64(st, 2, *lane);
    db_bind_text(st, 3, j->url);
    return db_exec(db, st);
}

static int put_run(struct db *db, struct request *r) {
    const struct job *j = ((struct put *)r)->job;
    struct db_move m = {.batch = j->batch,
                        .lane = j->lane,
                        .from = JOB_QUEUED,
                        .to = j->state,
                        .rank = j->rank,
                        .bytes = j->result.bytes};
    int k = put_row(db, r, j, &m);

    if (k <= 0)
        return k;
    k = db_note_move(db, &m);
    fault_point(end_put);
    if (k < 0 || m.to != JOB_WAITING)
        return k;
    chores_note_due(db, j->due);
    k = attempt_put(db, j);
    return k < 0 ? k : move_row(db, j, &m.lane);
}

static void put_deliver(struct request *r) {
    struct put *q = (struct put *)r;

    fault_point(end_committed);
    q->fn(q->userdata, r->error);
}

static void put_free(struct request *r) {
    free(r);
}

/* A lane's jobs lie together in the index that they leave. */
static int put_compare(const void *a, const void *b) {
    const struct put *x = *(const struct put *const *)a, *y = *(const struct put *const *)b;

    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    return (x->request.number > y->request.number) - (x->request.number < y->request.number);
}

static const struct request_kind put_kind = {
    .name = "put",
    .patient = true,
    .compare = put_compare,
    .run = put_run,
    .deliver = put_deliver,
    .free = put_free,
};

int store_put(struct store *s, const struct job *job, store_done_fn *fn, void *userdata) {
    struct put *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct put){
        {.kind = &put_kind}, .job = job, .lane = job->lane, .fn = fn, .userdata = userdata};
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
    fault_point(checkpoint_put);
    return db_exec(db, st);
}

static void checkpoint_free(struct request *r) {
    job_kept_done(&((struct checkpoint *)r)->kept);
    free(r);
}

/* Not patient: whoever reads the job again is to see it. */
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
