/*
 * job.h - a job: what was asked, where it stands, how it ended.
 */
#ifndef DLD_JOB_H
#define DLD_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/errors.h"
#include "common/naming.h"

/* Numbers are kept in the store: append, never renumber. */
enum job_state {
    JOB_QUEUED = 0,  /* may start; in the store also while it is active */
    JOB_WAITING = 1, /* for its due time, after a failed attempt */
    JOB_PAUSED = 2,  /* until someone resumes it */
    JOB_ACTIVE = 3,  /* with a worker; never in the store, so that a restart queues it by itself */
    JOB_DONE = 4,
    JOB_FAILED = 5,
    JOB_CANCELLED = 6,
    JOB_STAGED = 7, /* its batch is not complete, or is being made visible; shown as queued */
    JOB_STATE_MAX_ = 8
};

/* STAGED goes by the name of QUEUED, so that job_state_parse() never gives STAGED. NULL for a
 * number that is no state. */
const char *job_state_name(enum job_state s);
int job_state_parse(const char *s, enum job_state *ret); /* -EINVAL */

/* The one table of legal transitions. QUEUED may go to FAILED: a job that can't even be started. */
bool job_state_may(enum job_state from, enum job_state to);

/* done, failed, cancelled */
bool job_state_ended(enum job_state s);

/* How an attempt went. */
struct job_result {
    unsigned http_status; /* 0: none */
    uint64_t bytes;       /* of body received */
    int64_t size;         /* of the file, -1 unknown */
    unsigned error;       /* enum dld_error */
    unsigned worker;      /* its number, 0: none */
    bool skipped;         /* on_conflict = skip and the file was there */
    uint64_t started;     /* usec since the epoch, 0: never */
    uint64_t finished;    /* likewise */
    char *output;         /* path beneath the root; owned, as all here; NULL unless published */
    char *message;        /* of the error */
    char *effective_url;
    char *content_type;
};
void job_result_done(struct job_result *r);

/* A row of the store. */
struct job {
    int64_t id;
    int64_t batch;
    uint64_t index; /* in its batch, from 0 */
    enum job_state state;
    int64_t rank;      /* smaller starts earlier: creation usec less priority x JOB_PRIORITY_STEP */
    uint64_t due;      /* WAITING: usec since the epoch */
    unsigned attempts; /* begun, or ended if none runs */
    unsigned crashes;  /* of workers while they held it */
    uint64_t created;  /* usec since the epoch */
    char *url;         /* canonical; owned */
    char *host;        /* "host:port"; owned */
    char *body;        /* JSON object of the job's other keys, NULL: none; owned */
    struct job_result result;
};

#define JOB_PRIORITY_STEP                                                                          \
    (UINT64_C(60) * 1000000) /* one step of priority is worth a minute of age */

/* Frees the job; takes NULL, returns NULL. */
struct job *job_free(struct job *j);
static inline void job_freep(struct job **j) {
    *j = job_free(*j);
}
void job_free_many(struct job **jobs, size_t n); /* and the array */

/* What was asked for, beyond the URL. */
struct job_spec {
    char *output; /* template; NULL: the name in the URL */
    enum on_conflict on_conflict;
    char *user_agent, *referer, *tag; /* NULL: not given */
    int priority;                     /* -100..100 */
    int retries;                      /* -1: as configured */
    uint64_t timeout_usec;            /* 0: none */
    uint64_t max_size;                /* bytes, 0: no limit */
    size_t n_headers;
    char **headers; /* "Name: value" */
};
void job_spec_done(struct job_spec *s);

#endif
