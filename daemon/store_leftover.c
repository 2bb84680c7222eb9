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

/* ---- put ---- */

struct leftover_put {
    struct request request;
    int64_t id;
    bool there;
};

static int leftover_put_run(struct db *db, struct request *r) {
    const struct leftover_put *q = (struct leftover_put *)r;
    sqlite3_stmt *st = db_statement(db, ST_LEFTOVER_PUT);

    sqlite3_bind_int64(st, 1, q->id);
    db_bind_number(st, 2, q->there ? 0 : -1);
    db_bind_number(st, 3, q->there ? -1 : 0);
    int k = db_exec(db, st);
    fault_point(leftover_put);
    if (k < 0 || q->there || sqlite3_changes(db->sqlite) > 0)
        return k;
    return history_delete_forgotten(db, q->id);
}

static void leftover_put_free(struct request *r) {
    free(r);
}

static const struct request_kind leftover_put_kind = {
    .name = "leftover", .patient = true, .run = leftover_put_run, .free = leftover_put_free};

int store_leftover_put(struct store *s, int64_t id, bool there) {
    struct leftover_put *q = malloc(sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct leftover_put){{.kind = &leftover_put_kind}, id, there};
    store_enqueue(s, &q->request);
    return 0;
}
