/* Part files of no use, of jobs that have ended: which there are, and that they are gone. */

#include <errno.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_history.h"
#include "daemon/store_request.h"
#include "daemon/store_row.h"

/* ---- list ---- */

struct leftovers {
    struct request request;
    size_t limit;
    store_leftovers_fn *fn;
    void *userdata;
    struct job **jobs;
    size_t n;
};

static int leftovers_run(struct db *db, struct request *r) {
    struct leftovers *q = (struct leftovers *)r;
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LEFTOVERS);
    int k;

    q->jobs = calloc(q->limit, sizeof(*q->jobs));
    if (!q->jobs)
        return -ENOMEM;
    sqlite3_bind_int64(st, 1, (int64_t)q->limit);
    while ((k = db_step(db, st)) > 0 && q->n < q->limit) {
        k = row_job_read(st, NULL, &q->jobs[q->n]);
        if (k < 0)
            return k;
        q->n++;
    }
    return MIN(k, 0);
}

static void leftovers_clear(struct request *r) {
    struct leftovers *q = (struct leftovers *)r;

    job_free_many(TAKE_PTR(q->jobs), q->n);
    q->n = 0;
}

static void leftovers_deliver(struct request *r) {
    struct leftovers *q = (struct leftovers *)r;

    q->fn(q->userdata, r->error, TAKE_PTR(q->jobs), q->n);
    q->n = 0;
}

static void leftovers_free(struct request *r) {
    free(r);
}

static const struct request_kind leftovers_kind = {
    .name = "leftovers",
    .run = leftovers_run,
    .clear = leftovers_clear,
    .deliver = leftovers_deliver,
    .free = leftovers_free,
};

int store_leftovers(struct store *s, size_t limit, store_leftovers_fn *fn, void *userdata) {
    struct leftovers *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct leftovers){{.kind = &leftovers_kind}, limit, fn, userdata, NULL, 0};
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- gone ---- */

struct leftover_gone {
    struct request request;
    int64_t id;
};

static int leftover_gone_run(struct db *db, struct request *r) {
    const struct leftover_gone *q = (struct leftover_gone *)r;
    sqlite3_stmt *st = db_statement(db, ST_LEFTOVER_GONE);

    sqlite3_bind_int64(st, 1, q->id);
    int k = db_exec(db, st);
    fault_point(leftover_gone);
    if (k < 0 || sqlite3_changes(db->sqlite) > 0)
        return k;
    return history_delete_forgotten(db, q->id);
}

static void leftover_gone_free(struct request *r) {
    free(r);
}

static const struct request_kind leftover_gone_kind = {
    .name = "leftover", .patient = true, .run = leftover_gone_run, .free = leftover_gone_free};

int store_leftover_gone(struct store *s, int64_t id) {
    struct leftover_gone *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct leftover_gone){{.kind = &leftover_gone_kind}, id};
    store_enqueue(s, &q->request);
    return 0;
}
