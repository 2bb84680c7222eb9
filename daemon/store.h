/*
 * store.h - the durable queue: batches of requests in, callbacks after the commit.
 *
 * A thread owns the database, so that the event loop never waits for a disk. Each call here only
 * queues a request; the thread takes all that have come in while it wrote the last group, runs them
 * in order in one transaction, commits, and the callbacks then run on the event loop, in that same
 * order. A request that fails does so alone: the others in its group are done again without it.
 * Callbacks get error 0 or a negative errno (-ENOSPC: disk full, -EIO, -EROFS, -ENOMEM, ...); the
 * calls themselves return 0 or -ENOMEM, in which case the callback won't run.
 *
 * Requests scan at most STORE_STEP rows each; those that may have to scan more give a cursor to go
 * on from.
 *
 * Numbers of jobs by state and by batch are rows, kept by every change, never counted.
 */
#ifndef DLD_STORE_H
#define DLD_STORE_H

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "daemon/job.h"
#include "daemon/job_json.h"

#define STORE_STEP 10000
#define STORE_ID_LENGTH 32 /* hex digits */

struct store;

struct store_handlers {
    /* This host has queued jobs that it did not have before, the first of them at rank. */
    void (*ready)(void *userdata, const char *host, int64_t rank);
    void *userdata;
};

/* Opens or makes state_dir/queue.db and starts the thread. Blocks; for start-up only. The directory
 * exists and is locked by the caller. On failure returns a negative errno (-ENOTSUP: written by a
 * newer dld) and in *ret_why a new string for the log. */
int store_open(struct store **ret, sd_event *event, const char *state_dir,
               const struct store_handlers *handlers, char **ret_why);

/* Finishes all requests, without running their callbacks, and closes. Takes NULL, returns NULL. */
struct store *store_close(struct store *s);

/* 32 hex digits that name this queue, made when it was. */
const char *store_id(const struct store *s);

/* Jobs in each state as of the last commit whose callbacks have begun to run. STAGED ones of
 * complete batches count as QUEUED, others not at all; ACTIVE is always 0, they are among the
 * QUEUED. */
const uint64_t *store_counts(const struct store *s); /* [JOB_STATE_MAX_] */

/* ---- submitting ---- */

struct store_chunk {
    char *submit_key; /* NULL: none; unique for a uid; owned */
    uid_t uid;
    uint64_t created; /* usec since the epoch */
    uint64_t offset;  /* index of the chunk's first job in its batch */
    bool last;        /* the batch is complete with this chunk */
    size_t n_jobs;
    struct job_new *jobs; /* owned */
};
void store_chunk_free(struct store_chunk *c);

struct store_batch {
    int64_t id;
    uint64_t count;                   /* jobs */
    bool complete;                    /* its last chunk is in */
    uint64_t created;                 /* usec since the epoch */
    uint64_t finished;                /* when the last job ended, 0: not yet */
    uint64_t done, failed, cancelled; /* count minus these are still to end */
    uint64_t bytes;                   /* of the jobs done */
};

/* batch is as after the commit; ids are the ids of its jobs in order when it is complete and has at
 * most 1,000, else NULL. -EINVAL: the chunk doesn't follow what the batch has (offset too far, or
 * an incomplete overlap). A chunk that the batch has already changes nothing. */
typedef void store_submit_fn(void *userdata, int error, const struct store_batch *batch,
                             const int64_t *ids, size_t n_ids);

/* Takes ownership of the chunk. A batch of one chunk is visible at once; the jobs of one of several
 * are STAGED until the last is in, and are then made QUEUED in steps by the thread itself. Without
 * a submit_key offset must be 0 and last true. */
int store_submit(struct store *s, struct store_chunk *chunk, store_submit_fn *fn, void *userdata);

/* ---- running ---- */

typedef void store_done_fn(void *userdata, int error);

/* Records where the job stands: DONE, FAILED, CANCELLED (its end), WAITING (the attempt in result
 * failed, next at due), or QUEUED (with its attempts and crashes). The job must stay as it is until
 * the callback. -EALREADY: the row has ended (cancelled meanwhile). */
int store_put(struct store *s, const struct job *job, store_done_fn *fn, void *userdata);

/* Records what of the file is on disk while its transfer goes on; takes over *kept's strings.
 * Nothing is reported: should it fail, the next one says more. 0 or -ENOMEM. */
int store_checkpoint(struct store *s, int64_t id, struct job_kept *kept);

/* The jobs, at most limit, are the callee's to keep (job_free_many). */
typedef void store_leftovers_fn(void *userdata, int error, struct job **jobs, size_t n);

/* Jobs that have ended and of which a part file may be there that nobody will go on with. */
int store_leftovers(struct store *s, size_t limit, store_leftovers_fn *fn, void *userdata);

/* Records whether there may be such a file of a job that has ended; others are left as they are. 0
 * or -ENOMEM. */
int store_leftover_put(struct store *s, int64_t id, bool there);

/* The jobs are the callee's to keep (job_free_many). more: the host has further queued ones behind
 * these. */
typedef void store_fetch_fn(void *userdata, int error, struct job **jobs, size_t n, bool more);

/* The queued jobs of a host in order of (rank, id) from just behind the one given (INT64_MIN, 0:
 * from the first). */
int store_fetch(struct store *s, const char *host, int64_t after_rank, int64_t after_id,
                size_t limit, store_fetch_fn *fn, void *userdata);

typedef void store_hosts_fn(void *userdata, int error, char *const *hosts, size_t n, bool more);

/* The hosts that have queued jobs, in byte order from just behind the one given ("": from the
 * first). The strings are the store's. */
int store_hosts(struct store *s, const char *after, size_t limit, store_hosts_fn *fn,
                void *userdata);

/* ---- asking and changing ---- */

struct store_filter {
    int64_t batch; /* 0: any */
    int state; /* enum job_state, -1: any; QUEUED includes the STAGED ones of complete batches */
    const int64_t *ids;    /* NULL: any; else only these; copied */
    size_t n_ids;          /* at most STORE_STEP */
    int64_t after;         /* only ids above this: the cursor */
    size_t limit;          /* most jobs in one answer; 0, or more than that: STORE_STEP */
    const int64_t *except; /* never these; copied */
    size_t n_except;
    bool history; /* with the attempts that failed */
};

struct store_attempt {
    int64_t job;
    struct job_result result;
};

struct store_list {
    struct job **jobs; /* in order of id; the callee's */
    size_t n_jobs;
    struct store_attempt *attempts; /* in order of job and time; the store's */
    size_t n_attempts;
    int64_t next; /* cursor for the next request, 0: that was all */
};
typedef void store_list_fn(void *userdata, int error, const struct store_list *list);

/* Jobs of incomplete batches are not there. */
int store_list(struct store *s, const struct store_filter *filter, store_list_fn *fn,
               void *userdata);

typedef void store_change_fn(void *userdata, int error, const int64_t *ids, size_t n, int64_t next);

/* Moves the jobs of the filter to a state: CANCELLED (those not ended), or QUEUED (those failed or
 * cancelled, with their attempts counted from 0 again). ids are those that moved. */
int store_change(struct store *s, const struct store_filter *filter, enum job_state to,
                 store_change_fn *fn, void *userdata);

typedef void store_batch_fn(void *userdata, int error, const struct store_batch *batch);

/* -ENOENT: no such batch. */
int store_batch_get(struct store *s, int64_t id, store_batch_fn *fn, void *userdata);

#endif
