/* Asking for jobs and batches. */

#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_batch.h"
#include "daemon/store_request.h"
#include "daemon/store_row.h"
#include "daemon/store_scan.h"

/* ---- list ---- */

struct list {
    struct request request;
    struct scan_filter filter;
    store_list_fn *fn;
    void *userdata;
    struct store_list answer;
    size_t attempts_room;
};

static int attempts_read(struct db *db, struct list *q, int64_t job) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_ATTEMPTS_GET);
    struct store_list *a = &q->answer;
    int r;

    sqlite3_bind_int64(st, 1, job);
    while ((r = db_step(db, st)) > 0) {
        if (a->n_attempts == q->attempts_room) {
            size_t room = MAX(q->attempts_room * 2, 8u);
            void *p = reallocarray(a->attempts, room, sizeof(*a->attempts));

            if (!p)
                return -ENOMEM;
            a->attempts = p;
            q->attempts_room = room;
        }
        r = row_result_read(st, &a->attempts[a->n_attempts].result);
        if (r < 0)
            return r;
        a->attempts[a->n_attempts++].job = job;
    }
    return r;
}

static int list_add(struct db *db, struct list *q, int64_t id) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_JOB_GET);
    struct store_list *a = &q->answer;

    sqlite3_bind_int64(st, 1, id);
    int r = db_step(db, st);
    if (r <= 0)
        return r < 0 ? r : -EUCLEAN; /* it was found a moment ago */
    r = row_job_read(st, NULL, &a->jobs[a->n_jobs]);
    if (r < 0)
        return r;
    a->n_jobs++;
    return q->filter.f.history ? attempts_read(db, q, id) : 0;
}

/* Of what may be long in it. */
static size_t job_bytes(const struct job *j) {
    return strlen(j->url) + (j->body ? strlen(j->body) : 0);
}

static int list_run(struct db *db, struct request *r) {
    struct list *q = (struct list *)r;
    _cleanup_(scan_done) struct scan found = {0};
    int k = scan_run(db, &q->filter, STATES_ALL, &found);
    size_t bytes = 0;

    if (k < 0)
        return k;
    q->answer.jobs = calloc(found.n + 1, sizeof(*q->answer.jobs));
    if (!q->answer.jobs)
        return -ENOMEM;
    q->answer.next = found.next;
    for (size_t i = 0; i < found.n && k >= 0; i++) {
        if (i > 0 && q->filter.f.bytes > 0 && bytes >= q->filter.f.bytes) {
            q->answer.next = (struct store_cursor){.id = found.found[i - 1].id};
            q->answer.cut = true;
            break;
        }
        k = list_add(db, q, found.found[i].id);
        if (k >= 0)
            bytes += job_bytes(q->answer.jobs[i]);
    }
    return k;
}

static void list_clear(struct request *r) {
    struct list *q = (struct list *)r;
    struct store_list *a = &q->answer;

    job_free_many(a->jobs, a->n_jobs);
    for (size_t i = 0; i < a->n_attempts; i++)
        job_result_done(&a->attempts[i].result);
    free(a->attempts);
    *a = (struct store_list){0};
    q->attempts_room = 0;
}

static void list_deliver(struct request *r) {
    struct list *q = (struct list *)r;

    q->fn(q->userdata, r->error, &q->answer);
    q->answer.jobs = NULL; /* the callee's */
    q->answer.n_jobs = 0;
}

static void list_free(struct request *r) {
    struct list *q = (struct list *)r;

    scan_filter_done(&q->filter);
    free(q);
}

static const struct request_kind list_kind = {
    .name = "list",
    .run = list_run,
    .clear = list_clear,
    .deliver = list_deliver,
    .free = list_free,
};

int store_list(struct store *s, const struct store_filter *filter, store_list_fn *fn,
               void *userdata) {
    struct list *q = calloc(1, sizeof(*q));

    if (!q || scan_filter_copy(&q->filter, filter) < 0) {
        free(q);
        return -ENOMEM;
    }
    q->request.kind = &list_kind;
    q->fn = fn;
    q->userdata = userdata;
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- batch ---- */

struct batch_get {
    struct request request;
    int64_t id;
    store_batch_fn *fn;
    void *userdata;
    struct store_batch batch;
};

static int batch_get_run(struct db *db, struct request *r) {
    struct batch_get *q = (struct batch_get *)r;
    struct batch b;
    int k = batch_by_id(db, q->id, &b);

    if (k == 0 || (k > 0 && b.phase == BATCH_EXPIRED))
        r->error = -ENOENT;
    else if (k > 0)
        q->batch = b.seen;
    return MIN(k, 0);
}

static void batch_get_deliver(struct request *r) {
    struct batch_get *q = (struct batch_get *)r;

    q->fn(q->userdata, r->error, &q->batch);
}

static void batch_get_free(struct request *r) {
    free(r);
}

static const struct request_kind batch_get_kind = {
    .name = "batch",
    .run = batch_get_run,
    .deliver = batch_get_deliver,
    .free = batch_get_free,
};

int store_batch_get(struct store *s, int64_t id, store_batch_fn *fn, void *userdata) {
    struct batch_get *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct batch_get){{.kind = &batch_get_kind}, .id = id, .fn = fn, .userdata = userdata};
    store_enqueue(s, &q->request);
    return 0;
}
