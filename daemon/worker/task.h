/*
 * task.h - one job in this worker's hands, from JOB to RESULT.
 */
#ifndef DLD_WORKER_TASK_H
#define DLD_WORKER_TASK_H

#include "common/wire.h"
#include "daemon/worker/failure.h"
#include "daemon/worker/hash.h"
#include "daemon/worker/line.h"
#include "daemon/worker/parcel.h"
#include "daemon/worker/resume.h"

enum task_stage {
    TASK_WAITING, /* in the queue, for a slot */
    TASK_RUNNING, /* a transfer has it */
    TASK_HELD,    /* it has ended, but not so that one could believe it yet */
    TASK_BLOCKED, /* its body is complete, but the publishing stage has no room: keeps its slot */
    TASK_PUBLISHING, /* the publisher has it */
};

#define TASK_NO_SLOT UINT32_MAX

/* Hangs on a connection that an answer came over, until that is known to be the right one. */
struct task_hold {
    struct line_item item; /* first */
    struct task *task;
};

struct task {
    struct wire_job job; /* as it came; its strings lie behind this struct, in the same block */
    enum task_stage stage;
    uint64_t arrived_usec; /* CLOCK_MONOTONIC */
    unsigned slot;         /* RUNNING, BLOCKED; or TASK_NO_SLOT */
    bool fetched;          /* the master knows that its slot is free */
    bool alone;            /* it gets a connection of its own, */
    bool misled;           /* for an answer was not to its request */
    uint8_t redone;        /* times that this happened */
    bool crowded;          /* libcurl chose a connection in use for it: it gets one of HTTP/1 */
    bool stale;            /* the file that is there is not what the job asks for */
    bool wanted_back;      /* it isn't begun anew any more */
    struct task_hold holds[2]; /* of a redirect's connection, and of the file's */
    struct parcel parcel;  /* the file on its way to its name */

    struct wire_kept kept;  /* of the part file as it is now; etag and last_modified are the job's or
                               those of version */
    char *ranges;           /* kept.ranges may be in it; owned */
    struct version version; /* of what this attempt received */
    uint8_t outcome;        /* enum wire_outcome, to be reported once the part file is kept */
    uint64_t serial;        /* no other task of this worker has it, nor this one when done again */

    struct integrity integrity; /* what its digests are to be */

    /* What is known of how it went; the transfer and the publisher fill it in. */
    struct failure failure;
    bool found_own; /* an earlier attempt had published it; nothing was fetched */
    bool skipped;   /* on_conflict is skip and the file was there */
    unsigned http_status;
    uint64_t bytes;        /* of body received */
    int64_t size;          /* of the file, -1 unknown */
    uint64_t started_usec; /* CLOCK_REALTIME, 0: not begun */
    char digest[DIGEST_TEXT_MAX]; /* of the file, "": none was made */
    char *effective_url;   /* owned; NULL where it is the job's */
    char *content_type;    /* owned; NULL: none */
    char *body;            /* how an error answer's began, printable; owned; NULL: none */
    char *name;            /* that the file gets instead of the target's; owned; NULL: none */
    bool not_modified;     /* the file that is there is what the server has */

    struct task *prev, *next; /* the queue's, or the list of those that are BLOCKED */
    UT_hash_handle hh;        /* by job.id */
};

/* A copy of what the master sent; NULL when out of memory. */
struct task *task_new(const struct wire_job *job);

/* Forgets what is known of how it went, and removes the file; it may be done again. */
void task_reset(struct task *t);

/* Takes NULL, returns NULL. */
struct task *task_free(struct task *t);

/* Fills in the message for the master. The strings in it are the task's or output, which is needed
 * for OUTCOME_DONE only. */
void task_result(const struct task *t, enum wire_outcome outcome, const char *output,
                 struct wire_result *ret);

#endif
