/*
 * sched.h - which job starts next. Pure: no I/O, no clock, no threads.
 *
 * It sees a window of the queue: some hosts, and for each of them its first jobs by rank. The owner
 * keeps the window filled from the store (sched_wants) and asks for jobs to start (sched_next);
 * hosts take turns, one job each, and no host has more than max_active jobs with the workers. A
 * host is "host:port".
 *
 * Jobs are struct sched_job, embedded in the owner's own struct: the scheduler links them and frees
 * nothing.
 */
#ifndef DLD_SCHED_H
#define DLD_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sched;
struct sched_host;

struct sched_job {
    int64_t id;
    int64_t rank;
    struct sched_host *host; /* the scheduler's, as the links are */
    struct sched_job *prev, *next;
    bool queued; /* in its host's window, not started */
};

struct sched_limits {
    unsigned max_active; /* jobs of one host with the workers at once */
    size_t max_hosts;    /* in the window */
    size_t max_jobs;     /* in the window, shared by its hosts */
};

/* NULL when out of memory. */
struct sched *sched_new(const struct sched_limits *limits);
struct sched *sched_free(struct sched *s); /* takes NULL, returns NULL */

/* ---- what the store has ---- */

/* The host has queued jobs in the store, the first of them at this rank. 0 or -ENOMEM. Where the
 * window has no room for another host, that is remembered and listed later (SCHED_WANT_HOSTS). */
int sched_ready(struct sched *s, const char *host, int64_t rank);

enum sched_want {
    SCHED_WANT_NOTHING,
    SCHED_WANT_JOBS, /* fetch `limit` jobs of `host` behind (after_rank, after_id); sched_add() each
                        that is not held already; sched_filled() */
    SCHED_WANT_HOSTS, /* list `limit` hosts behind `host`; sched_ready() each at INT64_MAX;
                         sched_hosts_listed() */
};
struct sched_request {
    enum sched_want want;
    const char *host; /* valid until the scheduler is called again */
    int64_t after_rank, after_id;
    size_t limit;
};

/* What to ask the store next. Call until it wants nothing: a request is given once and stays open
 * until it is answered. */
void sched_wants(struct sched *s, struct sched_request *ret);

/* Puts a job into its host's window, by rank: one of an answer, or one that comes back after it had
 * ended for the scheduler. 0 or -ENOMEM (a host that it doesn't know, then, is listed again). */
int sched_add(struct sched *s, const char *host, struct sched_job *job);

/* Ends an answer, or the attempt at one. more: the store has further jobs of this host behind
 * (last_rank, last_id). */
void sched_filled(struct sched *s, const char *host, bool more, int64_t last_rank, int64_t last_id);

/* A job that the window has no room for any more (a better one came): taken out, the caller's again
 * and wanted from the store later. NULL: there is none. */
struct sched_job *sched_trim(struct sched *s);

/* Ends a listing of hosts, or the attempt at one; last_host is where to go on. */
void sched_hosts_listed(struct sched *s, bool more, const char *last_host);

/* ---- running ---- */

/* The next job to start, which from now on counts as active; NULL: none may start. */
struct sched_job *sched_next(struct sched *s);

/* Takes back a job that sched_next gave but could not be started: first in line again. */
void sched_unstart(struct sched *s, struct sched_job *job);

/* The job no longer occupies its host. Its struct is the owner's again; the host may go. */
void sched_ended(struct sched *s, struct sched_job *job);

/* Takes a queued (not active) job out of the window. */
void sched_remove(struct sched *s, struct sched_job *job);

/* Jobs and hosts in the window, for tests and status. */
size_t sched_n_queued(const struct sched *s);
size_t sched_n_hosts(const struct sched *s);

#endif
