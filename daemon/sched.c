#include "daemon/sched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/util.h"

#define HOST_JOBS_MIN 16
#define HOST_JOBS_MAX 2048
/* Jobs fetched, beyond the active ones, when something has become ready at the front of the queue.
 */
#define REWIND_JOBS 32

struct sched_host {
    char *name;
    struct sched_job *jobs; /* the window, by rank */
    size_t n_jobs;
    unsigned n_active;

    /* What the store has: further jobs behind the cursor, or something new before it. */
    int64_t cursor_rank, cursor_id;
    bool more, rewind;
    bool fetching;
    int64_t ready_rank; /* the smallest that became ready while fetching; INT64_MAX: nothing did */
    bool ready_seen;

    bool runnable, hungry; /* in the lists of those names */
    struct sched_host *run_prev, *run_next;
    struct sched_host *hungry_prev, *hungry_next;
    UT_hash_handle hh;
};

struct sched {
    struct sched_limits limits;
    struct sched_host *hosts;    /* by name */
    struct sched_host *runnable; /* those with a job that may start, in order of their turn */
    struct sched_host *hungry;   /* those that want a fetch */
    struct sched_host *swollen;  /* the one that sched_trim is to look at */
    size_t n_queued;

    bool list_hosts; /* the store may have hosts that the window has not */
    bool listing;
    bool missed; /* a host found no room since the listing began */
    char *list_after;
};

struct sched *sched_new(const struct sched_limits *limits) {
    struct sched *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->limits = *limits;
    s->list_hosts = true;
    s->list_after = strdup("");
    if (!s->list_after)
        return sched_free(s);
    return s;
}

static void host_free(struct sched *s, struct sched_host *h) {
    HASH_DEL(s->hosts, h);
    if (h->runnable)
        DL_DELETE2(s->runnable, h, run_prev, run_next);
    if (h->hungry)
        DL_DELETE2(s->hungry, h, hungry_prev, hungry_next);
    if (s->swollen == h)
        s->swollen = NULL;
    free(h->name);
    free(h);
}

struct sched *sched_free(struct sched *s) {
    struct sched_host *h, *tmp;

    if (!s)
        return NULL;
    HASH_ITER(hh, s->hosts, h, tmp)
    host_free(s, h);
    free(s->list_after);
    free(s);
    return NULL;
}

static struct sched_host *host_find(struct sched *s, const char *name) {
    struct sched_host *h;

    HASH_FIND_STR(s->hosts, name, h);
    return h;
}

static size_t host_room(const struct sched *s) {
    size_t share = s->limits.max_jobs / MAX(HASH_COUNT(s->hosts), 1u);

    return MIN(MAX(share, (size_t)HOST_JOBS_MIN), (size_t)HOST_JOBS_MAX);
}

static bool host_wants_fetch(const struct sched *s, const struct sched_host *h) {
    return !h->fetching && (h->rewind || (h->more && h->n_jobs <= host_room(s) / 2));
}

/* Puts the host where its state says: in or out of each list, or out of the window. To be called
 * after every change; h may be gone afterwards. */
static void host_update(struct sched *s, struct sched_host *h) {
    bool runnable = h->jobs && h->n_active < s->limits.max_active;
    bool hungry = host_wants_fetch(s, h);

    if (runnable != h->runnable) {
        if (runnable)
            DL_APPEND2(s->runnable, h, run_prev, run_next);
        else
            DL_DELETE2(s->runnable, h, run_prev, run_next);
        h->runnable = runnable;
    }
    if (hungry != h->hungry) {
        if (hungry)
            DL_APPEND2(s->hungry, h, hungry_prev, hungry_next);
        else
            DL_DELETE2(s->hungry, h, hungry_prev, hungry_next);
        h->hungry = hungry;
    }
    if (!h->jobs && h->n_active == 0 && !h->fetching && !hungry)
        host_free(s, h);
}

static struct sched_host *host_new(struct sched *s, const char *name) {
    struct sched_host *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->name = strdup(name);
    if (h->name)
        HASH_ADD_KEYPTR(hh, s->hosts, h->name, strlen(h->name), h);
    if (!h->name || !h->hh.tbl) {
        free(h->name);
        free(h);
        return NULL;
    }
    h->cursor_rank = INT64_MIN;
    h->ready_rank = INT64_MAX;
    return h;
}

/* Jobs at this rank are in the store and maybe not in the window. */
static void host_ready(struct sched_host *h, int64_t rank) {
    if (h->fetching) {
        h->ready_seen = true;
        h->ready_rank = MIN(h->ready_rank, rank);
    } else if (rank <= h->cursor_rank) {
        h->rewind = true;
    } else {
        h->more = true;
    }
}

int sched_ready(struct sched *s, const char *host, int64_t rank) {
    struct sched_host *h = host_find(s, host);

    if (!h && HASH_COUNT(s->hosts) >= s->limits.max_hosts) {
        s->list_hosts = s->missed = true;
        return 0;
    }
    if (!h) {
        h = host_new(s, host);
        if (!h) {
            s->list_hosts = s->missed = true;
            return -ENOMEM;
        }
    }
    host_ready(h, rank);
    host_update(s, h);
    return 0;
}

static void want_jobs(struct sched *s, struct sched_request *ret) {
    struct sched_host *h = s->hungry;
    size_t room = host_room(s);

    ret->want = SCHED_WANT_JOBS;
    ret->host = h->name;
    if (h->rewind) {
        h->cursor_rank = INT64_MIN;
        h->cursor_id = 0;
        h->rewind = false;
        ret->limit = h->n_active + REWIND_JOBS;
    } else {
        ret->limit = room - h->n_jobs;
    }
    ret->after_rank = h->cursor_rank;
    ret->after_id = h->cursor_id;
    h->more = false;
    h->fetching = true;
    host_update(s, h);
}

void sched_wants(struct sched *s, struct sched_request *ret) {
    size_t n_hosts = HASH_COUNT(s->hosts);

    *ret = (struct sched_request){.want = SCHED_WANT_NOTHING};
    if (s->hungry) {
        want_jobs(s, ret);
    } else if (s->list_hosts && !s->listing && n_hosts <= s->limits.max_hosts * 3 / 4) {
        s->listing = true;
        ret->want = SCHED_WANT_HOSTS;
        ret->host = s->list_after;
        ret->limit = s->limits.max_hosts - n_hosts;
    }
}

static bool before(const struct sched_job *a, const struct sched_job *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->id < b->id;
}

/* By rank; from the end, since that is where a job nearly always belongs. */
static void host_insert(struct sched_host *h, struct sched_job *job) {
    struct sched_job *at = h->jobs ? h->jobs->prev : NULL;

    while (at && before(job, at))
        at = at == h->jobs ? NULL : at->prev;
    if (at)
        DL_APPEND_ELEM(h->jobs, at, job);
    else
        DL_PREPEND(h->jobs, job);
    job->host = h;
    job->queued = true;
    h->n_jobs++;
}

static void host_take(struct sched *s, struct sched_host *h, struct sched_job *job) {
    DL_DELETE(h->jobs, job);
    job->queued = false;
    h->n_jobs--;
    s->n_queued--;
}

int sched_add(struct sched *s, const char *host, struct sched_job *job) {
    struct sched_host *h = host_find(s, host);

    if (!h) {
        h = host_new(s, host);
        if (!h) {
            s->list_hosts = s->missed = true;
            return -ENOMEM;
        }
        h->more = true; /* nobody knows what else the store has */
    }
    host_insert(h, job);
    s->n_queued++;
    host_update(s, h);
    return 0;
}

void sched_filled(struct sched *s, const char *host, bool more, int64_t last_rank,
                  int64_t last_id) {
    struct sched_host *h = host_find(s, host);

    if (!h)
        return;
    h->fetching = false;
    h->more = h->more || more;
    h->cursor_rank = last_rank;
    h->cursor_id = last_id;
    if (h->ready_seen) {
        int64_t rank = h->ready_rank;

        h->ready_seen = false;
        h->ready_rank = INT64_MAX;
        host_ready(h, rank);
    }
    if (h->n_jobs > host_room(s))
        s->swollen = h;
    host_update(s, h);
}

struct sched_job *sched_trim(struct sched *s) {
    struct sched_host *h = s->swollen;
    struct sched_job *last;

    if (!h || h->n_jobs <= host_room(s)) {
        s->swollen = NULL;
        return NULL;
    }
    last = h->jobs->prev;
    host_take(s, h, last);
    last->host = NULL;
    h->more = true;
    if (last->rank < h->cursor_rank || (last->rank == h->cursor_rank && last->id <= h->cursor_id)) {
        h->cursor_rank = h->jobs->prev->rank;
        h->cursor_id = h->jobs->prev->id;
    }
    host_update(s, h);
    return last;
}

void sched_hosts_listed(struct sched *s, bool more, const char *last_host) {
    char *after = strdup(more ? last_host : "");

    s->listing = false;
    if (!after)
        return; /* the same page is asked for again */
    free(s->list_after);
    s->list_after = after;
    if (!more) {
        s->list_hosts = s->missed;
        s->missed = false;
    }
}

struct sched_job *sched_next(struct sched *s) {
    struct sched_host *h = s->runnable;
    struct sched_job *job;

    if (!h)
        return NULL;
    job = h->jobs;
    host_take(s, h, job);
    h->n_active++;
    /* To the end of the line: each host has one turn. */
    DL_DELETE2(s->runnable, h, run_prev, run_next);
    h->runnable = false;
    host_update(s, h);
    return job;
}

void sched_unstart(struct sched *s, struct sched_job *job) {
    struct sched_host *h = job->host;

    h->n_active--;
    host_insert(h, job);
    s->n_queued++;
    host_update(s, h);
}

void sched_ended(struct sched *s, struct sched_job *job) {
    struct sched_host *h = job->host;

    job->host = NULL;
    h->n_active--;
    host_update(s, h);
}

void sched_remove(struct sched *s, struct sched_job *job) {
    struct sched_host *h = job->host;

    host_take(s, h, job);
    job->host = NULL;
    host_update(s, h);
}

size_t sched_n_queued(const struct sched *s) {
    return s->n_queued;
}

size_t sched_n_hosts(const struct sched *s) {
    return HASH_COUNT(s->hosts);
}
