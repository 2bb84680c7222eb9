#include "common/fault.h"
#include "daemon/dispatch_live.h"

#include <errno.h>

/* The row waits in the store with its mark until its part file is gone, so that a crash here, of a
 * worker or of the machine only makes that happen later, and perhaps twice. */
struct discard {
    int64_t id;
    unsigned worker; /* that was told to do it */
    /* The job was to be started again in the meantime. */
    uid_t uid;
    struct job *row; /* owned, NULL unless missed */
    UT_hash_handle hh;
};

static void discard_end(struct dispatch *d, struct discard *x) {
    HASH_DEL(d->discards, x);
    if (x->row)
        lane_again(d, x->uid, x->row);
    job_free(x->row);
    free(x);
}

/* Whether it is under way, or needs no more doing. */
static bool discard_begin(struct dispatch *d, const struct job *row) {
    struct discard *x = calloc(1, sizeof(*x));
    struct wire_discard message = {.id = row->id};
    _cleanup_free_ char *output = NULL;
    int r = x ? job_output(row, &output) : -ENOMEM;

    message.output = output;
    if (r == 0)
        r = pool_discard(d->pool, &message, &x->worker);
    if (r == 0) {
        x->id = row->id;
        HASH_ADD(hh, d->discards, id, sizeof(x->id), x);
        if (x->hh.tbl)
            return true;
        r = -ENOMEM;
    }
    free(x);
    if (r == -ENOMEM || r == -EAGAIN)
        return false;
    store_leftover_gone(d->store, row->id); /* it can't be told any more where it would be */
    return true;
}

/* A job that a worker still has, or whose end is being written, is looked for again after that. */
static void on_leftovers(void *userdata, int error, struct job **jobs, size_t n) {
    struct dispatch *d = userdata;
    bool again = d->discards_due, failed = error < 0;

    d->discards_asked = false;
    for (size_t i = 0; i < n; i++)
        if (!live_find(d, jobs[i]->id) && !discard_begin(d, jobs[i]))
            failed = true;
    job_free_many(jobs, n);
    d->discards_due = again || failed || n == DISCARDS_MAX;
    if (error < 0)
        store_let_rest(d);
    if (again && !failed)
        discards_go_on(d);
}

void discards_look(struct dispatch *d) {
    if (!d->running)
        return;
    d->discards_due = true;
    if (d->discards_asked || d->discards)
        return; /* afterwards */
    if (store_leftovers(d->store, DISCARDS_MAX, on_leftovers, d) < 0) {
        store_let_rest(d);
        return;
    }
    d->discards_asked = true;
    d->discards_due = false;
}

void discards_go_on(struct dispatch *d) {
    if (d->discards_due && !d->discards)
        discards_look(d);
}

void dispatch_on_leftover(void *userdata) {
    discards_look(userdata);
}

void dispatch_on_discarded(void *userdata, int64_t id) {
    struct dispatch *d = userdata;
    struct discard *x;

    HASH_FIND(hh, d->discards, &id, sizeof(id), x);
    if (!x)
        return;
    fault_point(discarded_received);
    if (store_leftover_gone(d->store, id) < 0)
        d->discards_due = true;
    discard_end(d, x);
    discards_go_on(d);
}

void dispatch_on_gone(void *userdata, unsigned worker) {
    struct dispatch *d = userdata;
    struct discard *x, *next;

    HASH_ITER(hh, d->discards, x, next) {
        if (x->worker != worker)
            continue;
        d->discards_due = true;
        discard_end(d, x);
    }
}

bool discards_hold(struct dispatch *d, struct job *row, uid_t uid) {
    struct discard *x;

    HASH_FIND(hh, d->discards, &row->id, sizeof(row->id), x);
    if (!x)
        return false;
    job_free(x->row);
    x->row = row;
    x->uid = uid;
    return true;
}

void discards_free(struct dispatch *d) {
    struct discard *x, *next;

    HASH_ITER(hh, d->discards, x, next) {
        HASH_DEL(d->discards, x);
        job_free(x->row);
        free(x);
    }
}
