#include "tests/fuzz/played_master.h"

#include <errno.h>

#include <utlist.h>

#include "daemon/dispatch.h"
#include "daemon/pool.h"
#include "daemon/store.h"
#include "tests/fuzz/fuzz.h"

#define BATCH 17
#define DONE_JOB 41
#define QUEUED_JOB 42

/* A request of which the callback is still to run. */
struct pending {
    enum { SUBMIT, LIST, CHANGE, HOSTS, GET_BATCH, BACKUP } kind;
    void *fn, *userdata;
    int error;
    int64_t id;     /* GET_BATCH */
    int64_t ids[2]; /* of the jobs that it is about */
    size_t n_ids;
    struct store_batch batch;
    struct pending *prev, *next;
};

static struct pending *requests;
static struct job_new submitted; /* the last job, url NULL: none */
static bool draining;

static struct pending *pend(int kind, void *fn, void *userdata) {
    struct pending *p = calloc(1, sizeof(*p));

    fuzz_check(p);
    p->kind = kind;
    p->fn = fn;
    p->userdata = userdata;
    DL_APPEND(requests, p);
    return p;
}

static struct job *make_job(int64_t id) {
    struct job *j = calloc(1, sizeof(*j));

    fuzz_check(j);
    *j = (struct job){.id = id,
                      .batch = BATCH,
                      .state = id == DONE_JOB ? JOB_DONE : JOB_QUEUED,
                      .created = 1700000000000000,
                      .result.size = -1};
    j->url = strdup(submitted.url ? submitted.url : "http://h/a");
    j->host = strdup(submitted.url ? submitted.host : "h:80");
    j->body = submitted.body ? strdup(submitted.body) : NULL;
    if (id == DONE_JOB)
        j->result.output = strdup("a");
    fuzz_check(j->url && j->host);
    return j;
}

/* ---- the store ---- */

int store_submit(struct store *s, struct store_chunk *chunk, store_submit_fn *fn, void *userdata) {
    struct pending *p = pend(SUBMIT, (void *)fn, userdata);

    (void)s;
    fuzz_check(chunk->submit_key || (chunk->offset == 0 && chunk->last));
    fuzz_check(chunk->n_jobs > 0 || (chunk->last && chunk->offset > 0));
    if (chunk->n_jobs > 0) {
        job_new_done(&submitted);
        submitted = chunk->jobs[--chunk->n_jobs];
    }
    p->error = chunk->offset > 1000 ? -EINVAL : 0;
    p->batch = (struct store_batch){.id = BATCH, .count = 2, .complete = chunk->last, .done = 1};
    p->ids[0] = DONE_JOB;
    p->ids[1] = QUEUED_JOB;
    p->n_ids = 2;
    store_chunk_free(chunk);
    return 0;
}

int store_abandon(struct store *s, uid_t uid, const char *submit_key) {
    (void)s;
    (void)uid;
    fuzz_check(*submit_key);
    return 0;
}

static bool is_chosen(const struct store_filter *f, int64_t id) {
    bool in_ids = !f->ids, excepted = false;

    for (size_t i = 0; f->ids && i < f->n_ids; i++)
        in_ids |= f->ids[i] == id;
    for (size_t i = 0; i < f->n_except; i++)
        excepted |= f->except[i] == id;
    return in_ids && !excepted && id > f->after.id && (f->batch == 0 || f->batch == BATCH);
}

static void choose(struct pending *p, const struct store_filter *f) {
    fuzz_check(f->n_ids <= STORE_STEP && f->state >= -1 && f->state < JOB_STATE_MAX_);
    fuzz_check(f->after.id >= 0 && f->batch >= 0);
    for (size_t i = 1; f->ids && i < f->n_ids; i++)
        fuzz_check(f->ids[i - 1] < f->ids[i]);
    for (int64_t id = DONE_JOB; id <= QUEUED_JOB; id++)
        if (is_chosen(f, id))
            p->ids[p->n_ids++] = id;
}

int store_list(struct store *s, const struct store_filter *filter, store_list_fn *fn,
               void *userdata) {
    (void)s;
    choose(pend(LIST, (void *)fn, userdata), filter);
    return 0;
}

int store_change(struct store *s, const struct store_filter *filter, enum store_change what,
                 int64_t value, store_change_fn *fn, void *userdata) {
    (void)s;
    fuzz_check(what != STORE_PRIORITY || (value >= -100 && value <= 100));
    fuzz_check(what != STORE_RATE || value >= 0);
    choose(pend(CHANGE, (void *)fn, userdata), filter);
    return 0;
}

int store_purge(struct store *s, const struct store_filter *filter, store_change_fn *fn,
                void *userdata) {
    (void)s;
    choose(pend(CHANGE, (void *)fn, userdata), filter);
    return 0;
}

int store_hosts(struct store *s, const char *host, int64_t after_lane, size_t limit,
                store_lanes_fn *fn, void *userdata) {
    (void)s;
    (void)host;
    fuzz_check(after_lane >= -1 && limit <= STORE_STEP);
    pend(HOSTS, (void *)fn, userdata);
    return 0;
}

int store_batch_get(struct store *s, int64_t id, store_batch_fn *fn, void *userdata) {
    struct pending *p = pend(GET_BATCH, (void *)fn, userdata);

    (void)s;
    p->error = id == BATCH ? 0 : -ENOENT;
    p->batch = (struct store_batch){.id = BATCH, .count = 2, .complete = true, .done = 1};
    return 0;
}

int store_backup(struct store *s, int64_t number, uint64_t offset, store_backup_fn *fn,
                 void *userdata) {
    struct pending *p = pend(BACKUP, (void *)fn, userdata);

    (void)s;
    fuzz_check(number > 0 || (number == 0 && offset == 0));
    p->error = number > 1 ? -ESTALE : offset > 3 ? -EINVAL : 0;
    return 0;
}

const uint64_t *store_counts(const struct store *s) {
    static const uint64_t counts[JOB_STATE_MAX_] = {[JOB_QUEUED] = 1, [JOB_DONE] = 1};

    (void)s;
    return counts;
}

static void answer_list(const struct pending *p) {
    struct store_list list = {.n_jobs = p->n_ids};

    list.jobs = calloc(p->n_ids + 1, sizeof(*list.jobs));
    fuzz_check(list.jobs);
    for (size_t i = 0; i < p->n_ids; i++)
        list.jobs[i] = make_job(p->ids[i]);
    ((store_list_fn *)p->fn)(p->userdata, 0, &list);
}

static void answer_hosts(const struct pending *p) {
    struct store_lane lane = {.id = 1, .host = (char *)"h:80", .queued = 1};

    ((store_lanes_fn *)p->fn)(p->userdata, 0, &lane, 1, false);
}

static void answer_backup(const struct pending *p) {
    struct store_piece piece = {.number = 1, .size = 3, .next = 3, .base64 = "YWJj", .length = 4};

    ((store_backup_fn *)p->fn)(p->userdata, p->error, p->error < 0 ? NULL : &piece);
}

bool played_answer(void) {
    struct pending *p = requests;

    if (!p)
        return false;
    DL_DELETE(requests, p);
    switch (p->kind) {
    case SUBMIT:
        ((store_submit_fn *)p->fn)(p->userdata, p->error, &p->batch, p->ids, p->n_ids);
        break;
    case LIST:
        answer_list(p);
        break;
    case CHANGE:
        ((store_change_fn *)p->fn)(p->userdata, 0, p->ids, p->n_ids, &(struct store_cursor){0});
        break;
    case HOSTS:
        answer_hosts(p);
        break;
    case BACKUP:
        answer_backup(p);
        break;
    case GET_BATCH:
        ((store_batch_fn *)p->fn)(p->userdata, p->error, p->error < 0 ? NULL : &p->batch);
        break;
    }
    free(p);
    return true;
}

void played_forget(void) {
    fuzz_check(!requests);
    job_new_done(&submitted);
    draining = false;
}

/* ---- the dispatcher, which has no active jobs, and no workers ---- */

static int64_t *none(size_t *ret_n) {
    *ret_n = 0;
    return calloc(1, sizeof(int64_t));
}

void dispatch_drain(struct dispatch *d, bool on) {
    (void)d;
    draining = on;
}

bool dispatch_draining(const struct dispatch *d) {
    (void)d;
    return draining;
}

int64_t *dispatch_wish(struct dispatch *d, const struct dispatch_choice *choice,
                       enum dispatch_wish wish, size_t *ret_n) {
    (void)d;
    (void)choice;
    (void)wish;
    return none(ret_n);
}

void dispatch_changed(struct dispatch *d, const int64_t *ids, size_t n, enum dispatch_wish wish) {
    (void)d;
    (void)ids;
    (void)n;
    (void)wish;
}

void dispatch_resumed(struct dispatch *d, const int64_t *ids, size_t n) {
    (void)d;
    (void)ids;
    (void)n;
}

void dispatch_set_rate(struct dispatch *d, const int64_t *ids, size_t n, uint64_t rate) {
    (void)d;
    (void)ids;
    (void)n;
    (void)rate;
}

bool dispatch_overlay(const struct dispatch *d, struct job *job, struct job_progress *ret) {
    (void)d;
    (void)job;
    (void)ret;
    return false;
}

int64_t *dispatch_active_ids(const struct dispatch *d, int64_t after, size_t *ret_n) {
    (void)d;
    (void)after;
    return none(ret_n);
}

bool dispatch_host_info(const struct dispatch *d, const char *host, struct sched_host_info *ret) {
    (void)d;
    (void)host;
    (void)ret;
    return false;
}

int64_t *dispatch_active_lanes(const struct dispatch *d, size_t *ret_n) {
    (void)d;
    return none(ret_n);
}

struct dispatch_activity dispatch_activity(const struct dispatch *d, int64_t batch) {
    (void)d;
    (void)batch;
    return (struct dispatch_activity){0};
}

unsigned pool_n_workers(const struct pool *p) {
    (void)p;
    return 0;
}

void pool_worker_info(const struct pool *p, unsigned i, struct pool_worker_info *ret) {
    (void)p;
    (void)i;
    (void)ret;
}
