/*
 * dispatch_live.h - the jobs that the dispatcher holds in memory. Private to dispatch*.c.
 *
 *     QUEUED (in the scheduler's window) -> ACTIVE (with a worker) -> SETTLING (its state is being
 * written) -> gone ^                                |                       |
 *                    +--------------------------------+-----------------------+   (given back, or
 * crashed)
 */
#ifndef DLD_DISPATCH_LIVE_H
#define DLD_DISPATCH_LIVE_H

#define HASH_NONFATAL_OOM 1
#include <stddef.h>
#include <uthash.h>

#include "daemon/dispatch.h"

enum live_stage {
    LIVE_QUEUED,   /* in the scheduler's window */
    LIVE_ACTIVE,   /* with a worker */
    LIVE_SETTLING, /* its state is being written, or waits to be */
};

struct live_job {
    int64_t id;
    struct job *row; /* owned */
    enum live_stage stage;
    bool in_sched;        /* queued there, or active */
    uint32_t host_bucket; /* ACTIVE, in_sched: of its host's rate limit, 0: none */
    bool maybe_published; /* an attempt was lost sight of: it may have published the file */
    bool moved;           /* ACTIVE: its place in its lane is another by now */
    enum dispatch_wish wish;
    enum dispatch_wish stored; /* what the store has made of it while a worker had it */
    uint64_t fetched; /* ACTIVE: bytes that came, when its slot was free again; 0: it isn't */
    uint64_t kept_before;      /* ACTIVE: job_kept_bytes() when the attempt began */
    struct sched_job sched;
    struct pool_job pool;
    struct live_job *next_unsaved;
    bool awaited; /* in the list of that name */
    struct live_job *prev_awaited, *next_awaited;
    struct dispatch *dispatch;
    UT_hash_handle hh;
};

/* A job of which an attempt was lost sight of in this life, until it ends. */
struct suspect {
    int64_t id;
    UT_hash_handle hh;
};

struct dispatch {
    sd_event *event;
    struct dispatch_settings settings;
    struct store *store;
    struct pool *pool;
    struct sched *sched;
    struct live_job *live;    /* by id */
    struct suspect *suspects; /* by id; jobs come and go, this stays known of them */
    struct live_job *unsaved; /* SETTLING ones that the store refused */
    struct live_job *awaited; /* ACTIVE ones whose first bytes tell something of their hosts */
    unsigned n_active;        /* ACTIVE or SETTLING */
    uint64_t started;         /* CLOCK_REALTIME usec */
    bool running, draining;
    sd_event_source *turn;  /* defer source: give out jobs once in a turn of the loop */
    sd_event_source *wake;  /* timer: a job may start because time went by */
    sd_event_source *look;  /* timer: have those awaited come? */
    sd_event_source *retry; /* timer: ask the store again */
    bool unwritten;       /* the store refused to write something, and has written nothing since */
    char *spec_body;      /* of the job that was started last, "": none; NULL: there was none */
    struct job_spec spec; /* what that says */
    struct discard *discards; /* by id: part files that workers were told to remove */
    bool discards_asked;      /* the store is listing more of them */
    bool discards_due;        /* it is to be asked again when these are done */
};

#define live_of(ptr, member) ((struct live_job *)((char *)(ptr)-offsetof(struct live_job, member)))

/* NULL: it isn't here. */
struct live_job *live_find(const struct dispatch *d, int64_t id);

/* Takes over the row on success; NULL when out of memory. */
struct live_job *live_new(struct dispatch *d, struct job *row);
void live_free(struct live_job *l);
/* The same when the store is closed. */
void live_drop(struct live_job *l);

/* It leaves the window, or its host's connection is free again, of which the attempt says that,
 * with an error for people. */
struct live_says {
    enum sched_says says;
    uint64_t retry_after; /* usec */
    unsigned error;       /* enum dld_error */
};
void live_leave_sched(struct live_job *l, const struct live_says *says);

/* Of an attempt at it nothing more will be heard: it may have published the file, or left a part. */
void live_suspect(struct live_job *l);

/* It has ended: it is none any more, if it was. */
void suspect_drop(struct dispatch *d, int64_t id);

/* The lane has a job in the store that the scheduler may not know of. */
void lane_again(struct dispatch *d, uid_t uid, const struct job *row);

/* Back into the window, as if it had never been given out; or, if it was moved, into the store,
 * which gives it again at its new place. */
void live_requeue(struct live_job *l);

/* Gives the job, which sched_next() has chosen, to a worker. False: none has room; it stays in the
 * window. */
bool live_start(struct live_job *l);

/* Its host is down: the attempt fails without being made. */
void live_refuse(struct live_job *l);

/* Something has changed: jobs are given out when this turn of the loop has come to its end. */
void dispatch_turn(struct dispatch *d);

/* dispatch_settle.c: writes where the job stands, as its row says, as often as it takes. */
void settle(struct live_job *l);
void settle_as(struct live_job *l, enum job_state state);
/* Its attempt has failed as row->result says: sets what becomes of it; settle() is to follow. */
void attempt_ended(struct live_job *l, bool transient, uint64_t retry_after);
void settle_error(struct live_job *l, enum dld_error error, const char *message);

/* The store has failed, or there was no memory to ask it: it is asked again in a while
 * (on_store_retry()). */
void store_let_rest(struct dispatch *d);
/* It is not to be asked for jobs now. */
bool store_rests(const struct dispatch *d);
int on_store_retry(sd_event_source *source, uint64_t usec, void *userdata);

/* Where the job's file goes. 0 or a negative errno. */
int job_output(const struct job *row, char **ret);

/* ---- dispatch_discard.c: part files of jobs that have ended, and that nobody will go on with, are
 * removed by whichever worker has time; a few at a time. ---- */

#define DISCARDS_MAX 256

/* There may be some in the store. */
void discards_look(struct dispatch *d);

/* A worker may have room again. */
void discards_go_on(struct dispatch *d);

/* Is the part file of this job, which someone wants to be done after all, just being removed? Then
 * the row is taken over, and the scheduler is told of it when that is over. */
bool discards_hold(struct dispatch *d, struct job *row, uid_t uid);

void discards_free(struct dispatch *d);

/* dispatch_answer.c: while a host opens again, the scheduler is told when jobs of it are being sent
 * something; until live_leave_sched(). */
void answer_await(struct live_job *l);
void answer_forget(struct live_job *l);
int on_look(sd_event_source *source, uint64_t usec, void *userdata);

/* dispatch_fill.c: keeps the scheduler's window filled, and not too full. */
void ask_store(struct dispatch *d);
void evict_lanes(struct dispatch *d, uint64_t now);
/* Before the end: what hosts have asked for, and how long they are away, outlives it. */
void evict_away(struct dispatch *d);

#endif
