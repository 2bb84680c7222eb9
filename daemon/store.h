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
 * on from. Rows are found by an index, but for lists and changes of all jobs, and of those of a
 * host that have ended, which go through the table step by step.
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

/*
 * A lane is the jobs of one user (uid) for one host ("host:port") that have not ended; it has a row
 * while there are any. Lanes with queued jobs stand in their user's line: in order of `turn`, which
 * is the rank of a new lane's first job, of one that gets another priority if that is less, and
 * what store_move() makes of it later. A lane that is parked stands in no line until it is due.
 */
struct store_lane {
    int64_t id; /* never given twice */
    uid_t uid;
    char *host;
    int64_t turn;
    uint64_t queued;   /* jobs, the active ones among them */
    uint64_t waiting;  /* jobs */
    uint64_t paused;   /* jobs */
    uint64_t due;      /* usec since the epoch, parked until then; 0: it isn't */
    unsigned failures; /* as store_move() was told */
    /* store_lanes(): the first of its queued jobs; more: it has others behind these. */
    struct job **jobs;
    size_t n_jobs;
    bool more;
};

/* A lane that isn't parked got queued jobs that it did not have before, the first of them at rank,
 * or they got other ranks; or it is due and has some. At most one for each lane and transaction. */
struct store_ready {
    int64_t lane;
    uid_t uid;
    int64_t turn;
    int64_t first_rank, last_rank; /* of the jobs that became ready */
};

struct store_settings {
    void (*ready)(void *userdata, const struct store_ready *ready);
    /* store_leftovers() has some that it had not before: jobs wait for it to be forgotten. */
    void (*leftover)(void *userdata);
    void *userdata;
    /* Ended jobs that are older (usec, 0: any age), or more than so many (0: any number), are
     * purged by and by. */
    uint64_t keep_age, keep_count;
};

/* Opens or makes state_dir/queue.db and starts the thread. Blocks; for start-up only. The directory
 * exists and is locked by the caller. On failure returns a negative errno (-ENOTSUP: written by a
 * newer dld) and in *ret_why a new string for the log. */
int store_open(struct store **ret, sd_event *event, const char *state_dir,
               const struct store_settings *settings, char **ret_why);

/* keep_age and keep_count from now on. */
void store_set_keep(struct store *s, uint64_t age, uint64_t count);

/* No worker is at work any more, and all that they said is in the queue: store_close() then leaves
 * no doubt about jobs, as a crash does. */
void store_settled(struct store *s);

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
    uint64_t max_unended; /* jobs of the user that have not ended, with these; 0: any number */
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
 * an incomplete overlap). -EDQUOT: the user would have more than max_unended jobs; a batch that is not
 * complete is given up, as by store_abandon(). A chunk that the batch has already changes nothing. */
typedef void store_submit_fn(void *userdata, int error, const struct store_batch *batch,
                             const int64_t *ids, size_t n_ids);

/* Takes ownership of the chunk. A batch of one chunk is visible at once; the jobs of one of several
 * are STAGED until the last is in, and are then made QUEUED in steps by the thread itself. Without
 * a submit_key offset must be 0 and last true. */
int store_submit(struct store *s, struct store_chunk *chunk, store_submit_fn *fn, void *userdata);

/* Gives up the user's batch of this key if it is not complete: its jobs are deleted by and by, and
 * the key is free. 0 or -ENOMEM. */
int store_abandon(struct store *s, uid_t uid, const char *submit_key);

/* ---- running ---- */

typedef void store_done_fn(void *userdata, int error);

/* Records where the job stands: DONE, FAILED, CANCELLED (its end), WAITING (the attempt in result
 * failed, next at due, of what url and host say then: another host is another lane), QUEUED (with
 * its attempts and crashes), or PAUSED (with these and what is kept; where due is still to come
 * when it is resumed it waits for that). The job must stay as it is until the callback. -EALREADY:
 * the row has ended (cancelled meanwhile); or it was paused meanwhile and stays so, with what is
 * new of it, as this is no end. */
int store_put(struct store *s, const struct job *job, store_done_fn *fn, void *userdata);

/* Records what of the file is on disk while its transfer goes on; takes over *kept's strings.
 * Nothing is reported: should it fail, the next one says more. 0 or -ENOMEM. */
int store_checkpoint(struct store *s, int64_t id, struct job_kept *kept);

/* The jobs, at most limit, are the callee's to keep (job_free_many). */
typedef void store_leftovers_fn(void *userdata, int error, struct job **jobs, size_t n);

/* Jobs that have ended and of which a part file may be there that nobody will go on with. */
int store_leftovers(struct store *s, size_t limit, store_leftovers_fn *fn, void *userdata);

/* Records that there is no such file; a job that was to be forgotten is deleted then. 0 or -ENOMEM. */
int store_leftover_gone(struct store *s, int64_t id);

/* The jobs of store_fetch() and store_lanes() are given out: until this is called for one a part
 * file may be there that the store was not told of, and be left if the job is cancelled. */
void store_job_back(struct store *s, int64_t id);

/* The jobs are the callee's to keep (job_free_many). more: the host has further queued ones behind
 * these. */
typedef void store_fetch_fn(void *userdata, int error, struct job **jobs, size_t n, bool more);

/* The queued jobs of a lane in order of (rank, id) from just behind the one given (INT64_MIN, 0:
 * from the first). */
int store_fetch(struct store *s, int64_t lane, int64_t after_rank, int64_t after_id, size_t limit,
                store_fetch_fn *fn, void *userdata);

/* The lanes are the store's, but for jobs, which is the callee's to take (else it is freed). */
typedef void store_lanes_fn(void *userdata, int error, struct store_lane *lanes, size_t n,
                            bool more);

/* The lanes of a user that have queued jobs and are not parked, in order of (turn, id) from just
 * behind the one given (INT64_MIN, 0: from the first), each with its first jobs. limit x jobs_each
 * is at most STORE_STEP. */
int store_lanes(struct store *s, uid_t uid, int64_t after_turn, int64_t after_lane, size_t limit,
                size_t jobs_each, store_lanes_fn *fn, void *userdata);

typedef void store_users_fn(void *userdata, int error, const uid_t *uids, size_t n, bool more);

/* The users that have such lanes, in order, above the one given (-1: all). */
int store_users(struct store *s, int64_t after_uid, size_t limit, store_users_fn *fn,
                void *userdata);

/* Where a lane stands from now on. A lane that is gone stays gone. */
struct store_move {
    int64_t lane;
    uid_t uid;
    int64_t from;      /* its turn so far */
    int64_t turn;      /* its turn now, */
    uint64_t due;      /* for which it is parked until then, usec since the epoch; 0: it isn't */
    unsigned failures; /* kept for the caller */
};
typedef void store_move_fn(void *userdata, int error, const struct store_move *m);
/* fn may be NULL. 0 or -ENOMEM. */
int store_move(struct store *s, const struct store_move *m, store_move_fn *fn, void *userdata);

/* Parks all lanes of a host until due (usec since the epoch); failures as in struct store_move. 0 or
 * -ENOMEM. */
int store_park(struct store *s, const char *host, uint64_t due, unsigned failures);

/* All lanes of a host (NULL: of any) in order of id above the one given, without jobs. One whose
 * jobs are all STAGED has none in its numbers. */
int store_hosts(struct store *s, const char *host, int64_t after_lane, size_t limit,
                store_lanes_fn *fn, void *userdata);

/* ---- asking and changing ---- */

/* Where an answer ended, for the next request to go on from: zero is the beginning. */
struct store_cursor {
    int64_t id; /* of the last job looked at */
    /* On the way through a host's jobs, which is not in order of id: */
    int64_t lane, rank;
    unsigned stage;
};

struct store_filter {
    int64_t batch; /* 0: any */
    int state; /* enum job_state, -1: any; QUEUED includes the STAGED ones of complete batches */
    const char *tag; /* NULL: any; copied */
    /* NULL: any; "host:port"; copied; not for lists. Those that have not ended, unless only ended ones are asked
     * for, by state or because the change is for no others: they are found by looking at all. */
    const char *host;
    const int64_t *ids; /* NULL: any; else only these; copied */
    size_t n_ids;       /* at most STORE_STEP */
    /* Only jobs behind this; but for those of a host that have not ended only its id counts. */
    struct store_cursor after;
    size_t limit;          /* most jobs in one answer; 0, or more than that: STORE_STEP */
    size_t bytes;          /* an answer of so much is cut, for lists; 0: none is */
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
    struct store_cursor next; /* for the next request; its id is 0: that was all */
    bool cut;                 /* there was more that the filter's limit would have allowed */
};
typedef void store_list_fn(void *userdata, int error, const struct store_list *list);

/* Jobs of incomplete batches are not there. */
int store_list(struct store *s, const struct store_filter *filter, store_list_fn *fn,
               void *userdata);

typedef void store_change_fn(void *userdata, int error, const int64_t *ids, size_t n,
                             const struct store_cursor *next);

enum store_change {
    STORE_CANCEL, /* those not ended */
    /* Those failed or cancelled: queued, or waiting where they were never tried and their time is
     * still to come, with their attempts counted from 0 again. */
    STORE_RETRY,
    STORE_PAUSE,  /* those queued or waiting */
    STORE_RESUME, /* those paused: queued, or waiting where their due time is still to come */
    STORE_PRIORITY, /* those not ended get this priority (value), as if they were submitted with it */
    STORE_RATE,     /* those not ended get this rate_limit (value, bytes a second; 0: none) */
};

/* Changes the jobs of the filter that the change is for. ids, in order, are those that were
 * changed; of a filter's ids also those that were so already. */
int store_change(struct store *s, const struct store_filter *filter, enum store_change what,
                 int64_t value, store_change_fn *fn, void *userdata);

/* Deletes the ended jobs of the filter, with their attempts; what a batch says of itself stays. */
int store_purge(struct store *s, const struct store_filter *filter, store_change_fn *fn,
                void *userdata);

/* A piece of the queue's file, as base64; next: where the one behind it begins. */
#define STORE_PIECE (768 * 1024)
struct store_piece {
    int64_t number; /* of the backup */
    uint64_t size, next;
    const char *base64; /* the store's; no NUL */
    size_t length;
};
typedef void store_backup_fn(void *userdata, int error, const struct store_piece *piece);

/* The piece of a backup that begins at offset; number 0 and offset 0 begin a new one. All pieces of
 * a backup together are the queue as it was then. -EBUSY: another one is under way; -ESTALE: this
 * one was given up, for its reader took too long; -EINVAL: it is shorter. */
int store_backup(struct store *s, int64_t number, uint64_t offset, store_backup_fn *fn,
                 void *userdata);

typedef void store_batch_fn(void *userdata, int error, const struct store_batch *batch);

/* -ENOENT: no such batch. */
int store_batch_get(struct store *s, int64_t id, store_batch_fn *fn, void *userdata);

#endif
