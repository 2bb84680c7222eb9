/*
 * sched.h - which job starts next. Pure: no I/O, no clock, no threads. `now` is any clock that only
 * goes forward, in usec.
 *
 * The queue is made of lanes: the queued jobs of one user (uid) for one host ("host:port"). The
 * scheduler sees a window of it: some users, some of their lanes, and of each lane its first jobs
 * by rank. The owner keeps the window filled from the store (sched_wants), asks for jobs to start
 * (sched_next) and says how they ended (sched_ended).
 *
 * Fair: users take turns, one job each. Within a user's turn his lanes take theirs, weighted by the
 * priority of their first job: 25 steps of priority double a lane's share, so that none starves. A
 * lane that has to wait for the store, not for its host, makes up for the turns that it misses, but
 * not for many: so lanes of jobs that came together stay side by side, as their rows do.
 * Within a lane the smaller rank goes first. A lane that may not start now (its host is busy, paced
 * or in trouble) is passed over and costs nothing.
 *
 * Polite: a host has at most `connections` jobs active, starts are `delay` apart, and its health is
 * kept:
 *
 *     OPEN --- trouble ---> OPEN with half the connections, at 1 ---> BACKOFF
 *     OPEN --- slow ------> OPEN with half the connections, 1 at least
 *     OPEN --- busy ------> BACKOFF for Retry-After, or exponentially: base, 2 base, ... max
 *     BACKOFF -- over ----> PROBE: one job
 *     PROBE -- fine ------> OPEN with 2 connections, and 1 more with each job that goes well: that
 *                           ends so, or is being sent its file
 *     PROBE -- not fine --> BACKOFF, longer
 *
 * A host that was not even reached `patience` times in a row is DOWN while it is in BACKOFF: its
 * jobs are then given out as refused, so that they fail as they would if they were tried, and
 * ten thousand jobs of a dead host don't have to be tried one by one.
 *
 * Bounded: when a user has lanes outside a full window, lanes in it that have had their share, or
 * whose host can't be asked for a while, are evicted: the owner writes them back to the store, from
 * where they come again in their turn.
 *
 * Jobs are struct sched_job, embedded in the owner's own struct: the scheduler links them and frees
 * nothing. Lanes are known by the store's numbers.
 */
#ifndef DLD_SCHED_H
#define DLD_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sched;
struct sched_host;
struct sched_lane;

struct sched_job {
    int64_t id;
    int64_t rank;
    int priority;            /* -100..100 */
    struct sched_host *host; /* the scheduler's, as the links are */
    struct sched_lane *lane; /* the scheduler's too */
    struct sched_job *prev, *next;
    uid_t uid;        /* whose lane it came from */
    uint64_t started; /* when sched_next() gave it, */
    bool refused;     /* and how */
    bool answered;    /* sched_answered() was told of it */
    unsigned wide;    /* connections that it has besides the first, to whichever hosts */
};

/* What a host is allowed. */
struct sched_policy {
    unsigned connections; /* jobs at once, at least 1 */
    uint64_t delay;       /* usec between two starts, 0: none */
    uint64_t base, max;   /* usec, of the back-off */
    unsigned patience;    /* failures to reach it, in a row, that make it DOWN */
};

struct sched_settings {
    size_t max_lanes, max_jobs, max_users; /* in the window */
    void (*policy)(void *userdata, const char *host, struct sched_policy *ret);
    void *userdata;
};

/* NULL when out of memory. */
struct sched *sched_new(const struct sched_settings *settings);
struct sched *sched_free(struct sched *s); /* takes NULL, returns NULL */

/* The policies have changed: asks for those of all hosts again. */
void sched_policies_changed(struct sched *s);

/* ---- what the store has ---- */

/* A user's lane got queued jobs that it did not have before, all of them from first_rank to
 * last_rank; `turn` is where the lane stands in his line (the smaller the earlier; INT64_MIN: not
 * known). 0 or -ENOMEM; nothing is lost then, it is listed later. */
int sched_ready(struct sched *s, uid_t uid, int64_t lane, int64_t turn, int64_t first_rank,
                int64_t last_rank);

enum sched_want {
    SCHED_WANT_NOTHING,
    SCHED_WANT_JOBS,  /* fetch `limit` jobs of `lane` behind (after, after_id), by rank and id;
                         sched_add() each that is not held already; sched_filled() */
    SCHED_WANT_LANES, /* list `limit` lanes of `uid` behind (after, after_id), by turn and lane, each
                         with its first `jobs_each` jobs; sched_lane_add(), sched_add() and
                         sched_filled() for each; sched_lanes_listed() */
    SCHED_WANT_USERS, /* list `limit` users that have lanes with queued jobs, behind after_id;
                         sched_user_add() each; sched_users_listed() */
};
struct sched_request {
    enum sched_want want;
    uid_t uid;
    int64_t lane;
    int64_t after, after_id;
    size_t limit, jobs_each;
};

/* What to ask the store next. Call until it wants nothing: a request is given once and stays open
 * until it is answered. */
void sched_wants(struct sched *s, struct sched_request *ret);

/* He has lanes with queued jobs. 0 or -ENOMEM (he is listed again). */
int sched_user_add(struct sched *s, uid_t uid);
void sched_users_listed(struct sched *s, bool more, int64_t last_uid);

/* Takes a lane into the window, which stands at `turn` in its line. failures and wait (usec from
 * now on) are its host's, as they were when it was evicted: they count where the scheduler knows
 * nothing newer. 0, -EEXIST (it is there already: skip it, jobs and all), or -ENOMEM (it is listed
 * again). Also for a lane that sched_add() doesn't find: with sched_filled(true, INT64_MIN, 0)
 * afterwards it is asked for its jobs from the first. */
int sched_lane_add(struct sched *s, uid_t uid, int64_t lane, int64_t turn, const char *host,
                   unsigned failures, uint64_t wait, uint64_t now);
void sched_lanes_listed(struct sched *s, uid_t uid, bool more, int64_t last_turn,
                        int64_t last_lane);

/* Puts a job into its lane, by rank: one of an answer, or one that comes back after it had ended
 * for the scheduler. -ENOENT: the lane isn't in the window: the job stays in the store alone (if it
 * came back, sched_ready() or sched_lane_add() lets it be found there). */
int sched_add(struct sched *s, int64_t lane, struct sched_job *job);

/* Ends an answer about a lane, or the attempt at one. more: the store has further jobs of it behind
 * (last_rank, last_id). */
void sched_filled(struct sched *s, int64_t lane, bool more, int64_t last_rank, int64_t last_id);

/* A job that the window has no room for: taken out, the caller's again and wanted from the store
 * later. NULL: there is none. To be called until then after every answer. */
struct sched_job *sched_trim(struct sched *s);

/* A lane that makes room. Unless it stays where it is in its line, it is to be written back: parked
 * for `wait`, or else, as it had its share, further back in the line. The owner says where, and
 * tells it by sched_ready() (at once, or when the wait is over). */
struct sched_evicted {
    int64_t lane, turn; /* as it stood */
    uid_t uid;
    int priority;      /* of its first job */
    bool stays;        /* it must wait for its turn, which is as it was: nothing is to be written */
    uint64_t wait;     /* usec for which its host can't be asked; 0: it had its share */
    unsigned failures; /* to reach its host, in a row */
    struct sched_job *jobs; /* the queued ones, linked by next: the caller's again */
};

/* False: none needs to go. To be called until then after every answer, and in every turn. */
bool sched_evict(struct sched *s, uint64_t now, struct sched_evicted *ret);

/* Likewise, before an end: a lane whose host can't be asked for a while, so that this is known when
 * it comes back. False: there is none. */
bool sched_evict_away(struct sched *s, uint64_t now, struct sched_evicted *ret);

/* Tells of all hosts that are to be left alone for a while: for wait usec from now on, after so many
 * failures in a row. */
typedef void sched_away_fn(void *userdata, const char *host, uint64_t wait, unsigned failures);
void sched_hosts_away(const struct sched *s, uint64_t now, sched_away_fn *fn, void *userdata);

/* ---- running ---- */

/* The next job to start, which from now on counts as active; NULL: none may start. *ret_refused:
 * its host is DOWN, the attempt has failed without being made (sched_host_info() tells why); the
 * caller ends it (SCHED_SAYS_NOTHING) without starting it. */
struct sched_job *sched_next(struct sched *s, uint64_t now, bool *ret_refused);

/* When sched_next() may have one for no other reason than that time went by; USEC_INFINITY: never. */
uint64_t sched_wake(const struct sched *s);

/* Takes back a job that sched_next gave but could not be started: first in line again, as if it had
 * never been given. */
void sched_unstart(struct sched *s, struct sched_job *job);

/* What the end of a job's attempt says of its host. */
enum sched_says {
    SCHED_SAYS_NOTHING,
    SCHED_SAYS_FINE,      /* it answered */
    SCHED_SAYS_BUSY,      /* it answered that it wants to be left alone (429, 503) */
    SCHED_SAYS_SLOW,      /* it was reached, and gave no answer in time: half the connections, 1 at least */
    SCHED_SAYS_UNREACHED, /* no connection, or no name */
};

/* The job no longer occupies its host. Its struct is the owner's again. retry_after: usec that the
 * host asked to wait, 0: nothing. error: the owner's number of what happened, for
 * sched_host_info(). Failures of jobs that started before the host's last trouble count once. */
void sched_ended(struct sched *s, struct sched_job *job, enum sched_says says, uint64_t retry_after,
                 unsigned error, uint64_t now);

/* Would sched_answered() make a difference, as the host of this active job is not wholly open? */
bool sched_is_curious(const struct sched_job *job);

/* The job's host has begun to send what it was asked for. That it ends well is no news then. */
void sched_answered(struct sched *s, struct sched_job *job, uint64_t now);

/* The active job would have another connection, to its own host or to one that has its file too
 * ("host:port"). True: it gets it, which counts as active at that host until the job has ended.
 * False: the host has none to spare, is in trouble, or wants its starts to be apart. */
bool sched_widen(struct sched *s, struct sched_job *job, const char *host);

/* Takes a queued (not active) job out of the window. */
void sched_remove(struct sched *s, struct sched_job *job);

/* ---- for showing ---- */

enum sched_host_state {
    SCHED_HOST_OPEN,
    SCHED_HOST_BACKOFF,
    SCHED_HOST_PROBE,
    SCHED_HOST_DOWN,
};
struct sched_host_info {
    enum sched_host_state state;
    unsigned active, limit;   /* jobs now, and at most at the moment */
    uint64_t next_start;      /* when one may start; 0: at once */
    unsigned failures;        /* in a row */
    unsigned error;           /* of the last failure */
    uint64_t unreached_since; /* 0: it is not DOWN */
};

/* False: nothing is known of it: it is OPEN, with nothing active. */
bool sched_host_info(const struct sched *s, const char *host, uint64_t now,
                     struct sched_host_info *ret);

size_t sched_n_queued(const struct sched *s); /* jobs, */
size_t sched_n_lanes(const struct sched *s);  /* lanes, */
size_t sched_n_users(const struct sched *s);  /* users in the window, */
size_t sched_n_hosts(const struct sched *s);  /* and hosts in memory */

#endif
