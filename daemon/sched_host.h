/*
 * sched_host.h - the health of a host: whether a job may start there, and what the ends of jobs
 * teach. Pure: the states are those of sched.h, times are usec of any clock that goes forward.
 */
#ifndef DLD_SCHED_HOST_H
#define DLD_SCHED_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/sched.h"

struct sched_health {
    /* OPEN, BACKOFF or PROBE: of the host; PROBE: the one job is out. A BACKOFF that is over stays
     * one until a job starts. */
    enum sched_host_state state;
    unsigned limit;     /* jobs at once, while OPEN */
    unsigned failures;  /* in a row, */
    unsigned unreached; /* those of them that did not reach it, in a row, */
    unsigned backoffs;  /* and back-offs in a row */
    unsigned error;     /* of the last failure */
    bool ever_fine;
    bool troubled;    /* `trouble` is a time */
    uint64_t trouble; /* the last one: what began before says nothing new */
    uint64_t until;   /* of BACKOFF */
    uint64_t unreached_since;
    bool paced;          /* last_start is a time */
    uint64_t last_start, start_before;
    bool paced_before;
};

void sched_health_init(struct sched_health *h, const struct sched_policy *policy);

/* The policy was `old` and is `policy` now. */
void sched_health_adapt(struct sched_health *h, const struct sched_policy *old,
                        const struct sched_policy *policy);

/* What was known of it earlier: failures to reach it in a row, and for how long from now on it is
 * to be left alone. Nothing happens if something is known already. */
void sched_health_restore(struct sched_health *h, unsigned failures, uint64_t wait, uint64_t now);

/* When a job may start with n_active going on: maybe long ago; USEC_INFINITY: not before one ends. */
uint64_t sched_health_wake(const struct sched_health *h, const struct sched_policy *policy,
                           unsigned n_active);

/* It is DOWN: jobs are refused. */
bool sched_health_down(const struct sched_health *h, const struct sched_policy *policy,
                       uint64_t now);

/* A job starts. True: it is the probe. */
bool sched_health_start(struct sched_health *h, uint64_t now);

/* The job that started last has not started after all. */
void sched_health_unstart(struct sched_health *h, bool probe, uint64_t started);

struct sched_end {
    enum sched_says says;
    uint64_t started;
    uint64_t retry_after; /* usec, 0: none */
    unsigned error;
    bool probe;
};
void sched_health_end(struct sched_health *h, const struct sched_policy *policy,
                      const struct sched_end *end, uint64_t now);

/* It is as good as a host that was never seen. */
bool sched_health_blank(const struct sched_health *h, const struct sched_policy *policy,
                        uint64_t now);

#endif
