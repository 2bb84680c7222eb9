#define HASH_NONFATAL_OOM 1
#include "daemon/store_batch.h"

#include <errno.h>

#include "common/util.h"

struct batch_delta {
    UT_hash_handle hh;
    int64_t batch;
    int64_t ended[JOB_STATE_MAX_]; /* only DONE, FAILED and CANCELLED are used */
    int64_t bytes, purged;
};

/* ---- numbers ---- */

static struct batch_delta *delta_get(struct db *db, int64_t batch) {
    struct batch_delta *d = db->delta_last;

    if (!d || d->batch != batch)
        HASH_FIND(hh, db->deltas, &batch, sizeof(batch), d);
    if (!d) {
        d = calloc(1, sizeof(*d));
        if (!d)
            return NULL;
        d->batch = batch;
        HASH_ADD(hh, db->deltas, batch, sizeof(d->batch), d);
        if (!d->hh.tbl) {
            free(d);
            return NULL;
        }
    }
    return db->delta_last = d;
}

int batch_note_end(struct db *db, int64_t batch, enum job_state from, enum job_state to,
                   uint64_t bytes) {
    struct batch_delta *d = delta_get(db, batch);

    if (!d)
        return -ENOMEM;
    d->ended[from]--;
    d->ended[to]++;
    if (to == JOB_DONE)
        d->bytes += (int64_t)bytes;
    return 0;
}

int batch_note_purged(struct db *db, int64_t batch) {
    struct batch_delta *d = delta_get(db, batch);

    if (!d)
        return -ENOMEM;
    d->purged++;
    return 0;
}

int batch_deltas_write(struct db *db) {
    sqlite3_stmt *st = db_statement(db, ST_BATCH_ADD);
    uint64_t now = db->deltas ? now_usec(CLOCK_REALTIME) : 0;
    struct batch_delta *d, *next;
    int r = 0;

    HASH_ITER(hh, db->deltas, d, next) {
        sqlite3_bind_int64(st, 1, d->batch);
        sqlite3_bind_int64(st, 2, d->ended[JOB_DONE]);
        sqlite3_bind_int64(st, 3, d->ended[JOB_FAILED]);
        sqlite3_bind_int64(st, 4, d->ended[JOB_CANCELLED]);
        sqlite3_bind_int64(st, 5, d->bytes);
        sqlite3_bind_int64(st, 6, (int64_t)now);
        sqlite3_bind_int64(st, 7, d->purged);
        r = db_exec(db, st);
        if (r < 0)
            break;
    }
    batch_deltas_drop(db);
    return r;
}

void batch_deltas_drop(struct db *db) {
    struct batch_delta *d, *next;

    HASH_ITER(hh, db->deltas, d, next) {
        HASH_DELETE(hh, db->deltas, d);
        free(d);
    }
    db->delta_last = NULL;
}

/* ---- rows ---- */

static void batch_read(sqlite3_stmt *st, struct batch *ret) {
    *ret = (struct batch){
        .seen.id = sqlite3_column_int64(st, 0),
        .uid = (uid_t)sqlite3_column_int64(st, 1),
        .phase = (enum batch_phase)sqlite3_column_int(st, 2),
        .seen.created = (uint64_t)sqlite3_column_int64(st, 3),
        .touched = (uint64_t)sqlite3_column_int64(st, 4),
        .seen.finished = (uint64_t)sqlite3_column_int64(st, 5),
        .seen.count = (uint64_t)sqlite3_column_int64(st, 6),
        .seen.done = (uint64_t)sqlite3_column_int64(st, 7),
        .seen.failed = (uint64_t)sqlite3_column_int64(st, 8),
        .seen.cancelled = (uint64_t)sqlite3_column_int64(st, 9),
        .seen.bytes = (uint64_t)sqlite3_column_int64(st, 10),
        .first_id = sqlite3_column_int64(st, 11),
        .last_id = sqlite3_column_int64(st, 12),
        .cursor = sqlite3_column_int64(st, 13),
    };
    ret->seen.complete = ret->phase == BATCH_RELEASING || ret->phase == BATCH_VISIBLE;
}

static int batch_find(struct db *db, sqlite3_stmt *st, struct batch *ret) {
    int r = db_step(db, st);

    if (r > 0)
        batch_read(st, ret);
    sqlite3_reset(st);
    return r;
}

int batch_by_id(struct db *db, int64_t id, struct batch *ret) {
    sqlite3_stmt *st = db_statement(db, ST_BATCH_BY_ID);
    int r = batch_deltas_write(db);

    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, id);
    return batch_find(db, st, ret);
}

int batch_by_key(struct db *db, uid_t uid, const char *submit_key, struct batch *ret) {
    sqlite3_stmt *st = db_statement(db, ST_BATCH_BY_KEY);
    int r = batch_deltas_write(db);

    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, uid);
    db_bind_text(st, 2, submit_key);
    return batch_find(db, st, ret);
}

int batch_first(struct db *db, enum batch_phase phase, struct batch *ret) {
    sqlite3_stmt *st = db_statement(db, ST_BATCH_FIRST);

    sqlite3_bind_int(st, 1, phase);
    return batch_find(db, st, ret);
}

int batch_put(struct db *db, const struct batch *b, const char *submit_key) {
    sqlite3_stmt *st = db_statement(db, ST_BATCH_PUT);

    sqlite3_bind_int64(st, 1, b->seen.id);
    sqlite3_bind_int64(st, 2, b->uid);
    db_bind_text(st, 3, submit_key);
    sqlite3_bind_int(st, 4, b->phase);
    sqlite3_bind_int64(st, 5, (int64_t)b->seen.created);
    sqlite3_bind_int64(st, 6, (int64_t)b->touched);
    db_bind_number(st, 7, (int64_t)b->seen.finished);
    sqlite3_bind_int64(st, 8, (int64_t)b->seen.count);
    db_bind_number(st, 9, b->first_id);
    db_bind_number(st, 10, b->last_id);
    db_bind_number(st, 11, b->cursor);
    return db_exec(db, st);
}

int batch_put_phase(struct db *db, const struct batch *b) {
    sqlite3_stmt *st = db_statement(db, ST_BATCH_PUT_PHASE);

    sqlite3_bind_int64(st, 1, b->seen.id);
    sqlite3_bind_int(st, 2, b->phase);
    sqlite3_bind_int64(st, 3, b->cursor);
    sqlite3_bind_int64(st, 4, (int64_t)b->touched);
    return db_exec(db, st);
}

int batch_uid(struct db *db, int64_t id, uid_t *ret) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_BATCH_UID);

    sqlite3_bind_int64(st, 1, id);
    int r = db_step(db, st);
    if (r > 0)
        *ret = (uid_t)sqlite3_column_int64(st, 0);
    return r > 0 ? 0 : r < 0 ? r : -EUCLEAN;
}

int batch_delete(struct db *db, int64_t id) {
    sqlite3_stmt *st = db_statement(db, ST_RUNS_DELETE);

    sqlite3_bind_int64(st, 1, id);
    int r = db_exec(db, st);
    if (r < 0)
        return r;
    st = db_statement(db, ST_BATCH_DELETE);
    sqlite3_bind_int64(st, 1, id);
    return db_exec(db, st);
}

/* ---- ids ---- */

static bool batch_has_gaps(const struct batch *b) {
    return b->seen.count > 0 && (uint64_t)(b->last_id - b->first_id) + 1 != b->seen.count;
}

static int run_put(struct db *db, enum statement n, int64_t batch, int64_t a, int64_t b) {
    sqlite3_stmt *st = db_statement(db, n);

    sqlite3_bind_int64(st, 1, batch);
    sqlite3_bind_int64(st, 2, a);
    sqlite3_bind_int64(st, 3, b);
    return db_exec(db, st);
}

int batch_extend(struct db *db, struct batch *b, int64_t first, int64_t last) {
    bool gaps = batch_has_gaps(b), adjoins = b->seen.count == 0 || first == b->last_id + 1;
    int r = 0;

    if (!adjoins && !gaps)
        r = run_put(db, ST_RUN_INSERT, b->seen.id, b->first_id, b->last_id);
    if (r >= 0 && !adjoins)
        r = run_put(db, ST_RUN_INSERT, b->seen.id, first, last);
    else if (r >= 0 && gaps)
        r = run_put(db, ST_RUN_EXTEND, b->seen.id, b->last_id, last);
    if (r < 0)
        return r;
    if (b->seen.count == 0)
        b->first_id = first;
    b->last_id = last;
    b->seen.count += (uint64_t)(last - first) + 1;
    return 0;
}

int batch_run_next(struct db *db, const struct batch *b, int64_t after, int64_t *ret_first,
                   int64_t *ret_last) {
    sqlite3_stmt *st = db_statement(db, ST_RUN_NEXT);
    int64_t first = b->first_id, last = b->last_id;

    if (b->seen.count == 0 || b->last_id <= after)
        return 0;
    if (batch_has_gaps(b)) {
        sqlite3_bind_int64(st, 1, b->seen.id);
        sqlite3_bind_int64(st, 2, after);
        int r = db_step(db, st);
        if (r > 0) {
            first = sqlite3_column_int64(st, 0);
            last = sqlite3_column_int64(st, 1);
        }
        sqlite3_reset(st);
        if (r <= 0)
            return r;
    }
    *ret_first = MAX(first, after + 1);
    *ret_last = last;
    return 1;
}
