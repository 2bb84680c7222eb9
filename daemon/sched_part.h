/*
 * sched_part.h - what the parts of the scheduler share; for daemon/sched*.c alone.
 *
 *     sched.c          running: jobs that start and end, hosts that wake up
 *     sched_request.c  what the store is asked for, and its answers
 *     sched_window.c   users, lanes and hosts that come and go
 *     sched_turn.c     whose turn it is: keeps every element in the sets where its state says
 *     sched_evict.c    which lanes make room for others
 *     sched_host.c     the health of a host
 *     sched_cursor.c   how far a line of the store has been read
 *
 * A lane stays in memory after it left the window while jobs of it are active, its user and host
 * with it, so that such a job can always be taken back; and while the store is asked for its jobs.
 */
#ifndef DLD_SCHED_PART_H
#define DLD_SCHED_PART_H

#include "common/heap.h"
#include "daemon/sched.h"
#include "daemon/sched_cursor.h"
#include "daemon/sched_host.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

/* Jobs of a lane in the window. */
#define LANE_JOBS_MIN 16
#define LANE_JOBS_MAX 2048
/* Read again at once, when something has become ready before the cursor. */
#define AGAIN_JOBS 32
#define AGAIN_LANES 16
/* Jobs that a lane (a user) starts before it makes room for others. */
#define LANE_QUANTUM 64
#define USER_QUANTUM 1024
/* A lane whose host can't be asked for longer than this makes room; and is away for so long if it
 * is not known how long it will be. */
#define AWAY_USEC (1 * USEC_PER_SEC)

/* While users wait outside, it is looked so often for one who has nothing to start. */
#define USERS_USEC (100 * USEC_PER_MSEC)

/* Why a lane with jobs doesn't have a turn. */
enum lane_waits {
    LANE_WAITS_NOT,
    LANE_WAITS_SHORT,
    LANE_WAITS_LONG,
    LANE_WAITS_MAX_,
};

/* Lanes by number of jobs: one for each power of 2 above LANE_JOBS_MIN. */
#define SIZE_CLASSES 8

struct sched_user {
    uid_t uid;
    bool in_window;
    size_t n_structs; /* lanes in memory */
    size_t n_lanes;   /* lanes in the window */
    uint64_t turn;    /* of all users with an eligible lane, the one with the smallest goes first */
    unsigned n_started; /* since he came in, */
    uint64_t entered;   /* at this time */

    uint64_t vtime;       /* virtual time: the key of the lane that was last */
    bool filling;         /* his lanes are listed for the first time since he came in, */
    uint64_t filled_from; /* at this vtime */
    struct heap eligible; /* his lanes that may start a job now, by key */
    struct heap by_turn;  /* his lanes in the window, the last in the line first */
    struct sched_lane *waiting[LANE_WAITS_MAX_];
    struct sched_lane *had; /* those that had their share */
    struct sched_cursor line;
    size_t asked; /* lanes, in the request that is open */

    size_t turns_place;   /* in sched.turns */
    bool hungry, pressed; /* in the lists of those names */
    struct sched_user *hungry_prev, *hungry_next;
    struct sched_user *pressed_prev, *pressed_next;
    UT_hash_handle hh;
};

struct sched_lane {
    int64_t id, turn;
    struct sched_user *user;
    struct sched_host *host;
    bool in_window, evicted;
    struct sched_job *jobs; /* the window's, by rank */
    size_t n_jobs, n_active;
    unsigned n_started; /* since it came in */
    struct sched_cursor queue;
    bool asked; /* a request for its jobs is open, */
    bool stale; /* from before it left the window */
    bool fresh; /* it came from a list, and what the list has of its jobs is still to come, */
    bool missed; /* perhaps not all of them: more became ready while it was made */

    /* Its turn among its user's: key is start plus a stride that its priority makes longer or
     * shorter, but not before floor, the virtual time when it became eligible. */
    bool had_start;
    bool behind; /* it came in while the first ones had turns, and makes up for some */
    uint64_t start, floor, key;
    uint64_t seq; /* among equals: who had his turn longer ago */

    size_t eligible_place, by_turn_place;
    enum lane_waits waits;
    struct sched_lane *wait_prev, *wait_next;
    bool had, hungry; /* in the lists of those names */
    struct sched_lane *had_prev, *had_next;
    struct sched_lane *hungry_prev, *hungry_next;
    int size_class; /* -1: none */
    struct sched_lane *size_prev, *size_next;
    struct sched_lane *host_prev, *host_next;
    UT_hash_handle hh;
};

struct sched_host {
    char *name;
    struct sched_policy policy;
    struct sched_health health;
    const struct sched_job *probe;
    unsigned n_active, n_refused;
    unsigned n_wide; /* on loan */
    size_t n_queued;
    size_t n_structs;         /* lanes in memory */
    struct sched_lane *lanes; /* in the window */
    bool open, away;
    uint64_t wake; /* when its state changes by time, USEC_INFINITY: never */
    size_t wakes_place;
    bool idle; /* in the list of that name */
    struct sched_host *idle_prev, *idle_next;
    UT_hash_handle hh;
};

/* Connections that an active job has besides its first. */
struct sched_loan {
    const struct sched_job *job;
    struct sched_host *host;
    unsigned n;
    struct sched_loan *prev, *next;
};

struct sched {
    struct sched_settings settings;
    uint64_t now;   /* the latest that it was told */
    uint64_t clock; /* turns given, ever */

    struct sched_user *users;          /* by uid, */
    struct sched_lane *lanes;          /* id, */
    struct sched_host *hosts;          /* and name */
    size_t n_users, n_lanes, n_queued; /* in the window */

    struct heap turns;       /* users with an eligible lane */
    struct heap wakes;       /* hosts with queued jobs whose state changes by time */
    struct sched_host *idle; /* remembered only, the longest idle first */
    struct sched_loan *loans;
    struct sched_lane *sizes[SIZE_CLASSES];

    struct sched_lane *hungry;        /* that want a fetch */
    struct sched_user *hungry_users;  /* whose line is to be read */
    struct sched_user *pressed_users; /* with lanes to evict */
    struct sched_user *crowded;       /* has more than his share of a window that is too full */
    struct sched_user *leaving;       /* makes room for another user */
    size_t lanes_asked;               /* in all open requests */
    bool users_more, users_asked, users_missed;
    int64_t users_after;
    uint64_t users_seen; /* when it was last looked for one to leave */
};

/* ---- sched_turn.c ---- */

/* Each puts things where their state says; to be called after every change of one. What nobody
 * needs any more is freed: lane, user or host may be gone afterwards. */
void sched_lane_changed(struct sched *s, struct sched_lane *lane);
void sched_user_changed(struct sched *s, struct sched_user *u);
void sched_host_changed(struct sched *s, struct sched_host *h);

void sched_job_insert(struct sched *s, struct sched_lane *lane, struct sched_job *job);
void sched_job_take(struct sched *s, struct sched_job *job);

/* The lane at the head of the line starts a job: the next turns are others'. */
void sched_lane_served(struct sched *s, struct sched_lane *lane);
/* The last turn doesn't count. */
void sched_lane_unserved(struct sched *s, struct sched_lane *lane);

/* Forgets idle hosts that are too many, or that there is nothing to remember of: two at a time, so
 * that more are forgotten than come. */
void sched_hosts_forget(struct sched *s);

/* Time has gone by. */
void sched_refresh(struct sched *s, uint64_t now);

/* Shares of the window: of a lane in jobs, of a user in lanes. */
size_t sched_lane_room(const struct sched *s);

/* So far a lane is read ahead: few jobs while more lanes are on their way, for else the first ones would
 * be through with many before the last ones come. */
size_t sched_lane_ahead(const struct sched *s);

size_t sched_user_room(const struct sched *s);

/* There are, or may be, users in the store for whom the window has no room. */
bool sched_users_wait(const struct sched *s);

/* ---- sched_window.c ---- */

struct sched_user *sched_user_find(struct sched *s, uid_t uid);
struct sched_lane *sched_lane_find(struct sched *s, int64_t id); /* in the window or not */

/* NULL: out of memory. */
struct sched_user *sched_user_get(struct sched *s, uid_t uid);

void sched_user_enter(struct sched *s, struct sched_user *u);
void sched_user_leave(struct sched *s, struct sched_user *u);
void sched_lane_enter(struct sched *s, struct sched_lane *lane);
void sched_lane_leave(struct sched *s, struct sched_lane *lane); /* with no jobs in it */
void sched_lane_new(struct sched *s, struct sched_lane **ret, struct sched_user *u, int64_t id,
                    const char *host);

/* Frees it if nothing refers to it. */
void sched_lane_release(struct sched *s, struct sched_lane *lane);
void sched_user_release(struct sched *s, struct sched_user *u);
void sched_host_free(struct sched *s, struct sched_host *h);

/* Makes it if it isn't there; sched_host_changed() must follow. NULL when out of memory. */
struct sched_host *sched_host_get(struct sched *s, const char *name);

#endif
