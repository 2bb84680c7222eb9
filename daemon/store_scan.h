/*
 * store_scan.h - which jobs a filter means, found in bounded steps.
 *
 * Private to the store.
 */
#ifndef DLD_STORE_SCAN_H
#define DLD_STORE_SCAN_H

#include "daemon/store_sqlite.h"

#define STATE_BIT(state) (1u << (state))
#define STATES_ALL (STATE_BIT(JOB_STATE_MAX_) - 1)
#define STATES_ENDED (STATE_BIT(JOB_DONE) | STATE_BIT(JOB_FAILED) | STATE_BIT(JOB_CANCELLED))

/* A copy of a filter that lives as long as its request: ids and except are sorted. */
struct scan_filter {
    struct store_filter f;
    int64_t *ids, *except; /* owned; what f points to */
    char *tag, *host;      /* likewise */
};

/* The copy's limit is within 1..STORE_STEP. 0 or -ENOMEM; scan_filter_done() frees it. */
int scan_filter_copy(struct scan_filter *ret, const struct store_filter *f);
void scan_filter_done(struct scan_filter *f);

/* A row that is meant. */
struct scan_found {
    int64_t id, batch;
    int64_t lane;         /* 0: it has ended */
    enum job_state state; /* as in the row */
};

struct scan {
    struct scan_found *found; /* in order of id */
    size_t n;
    struct store_cursor next; /* its id is 0: no more */
};

/* Looks at up to STORE_STEP rows for those that the filter means and whose state is in `states`
 * (STATE_BIT()s; QUEUED takes in STAGED, where the batch is complete). The rows to look at are
 * found by ids, batch, tag or host, the first of these that the filter has. All but those of a host
 * are looked at in order of id. A host's jobs that have
 * ended are found only when `states` has no others, for that takes looking at all. *ret is zeroed
 * before and scan_done() frees it, also on failure. 0 or a negative errno. */
int scan_run(struct db *db, const struct scan_filter *filter, unsigned states, struct scan *ret);
void scan_done(struct scan *s);

#endif
