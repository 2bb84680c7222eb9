/*
 * pool.h - the worker processes: started before they are needed, given jobs, replaced when they
 * die, hang, grow too large or have served enough.
 *
 * One that is replaced while it lives goes when its successor is ready, one after another: it gets
 * no more jobs, gives back those that it has not begun, and has drain_usec to finish the others;
 * then it gives them back too, with what it has of their files.
 *
 * A worker is distrusted. What it says counts only for jobs that it holds; a message that can't be
 * understood, or comes before HELLO, gets it killed. A job given to a worker comes back exactly
 * once: in result(), or in lost() if the worker dies first.
 */
#ifndef DLD_POOL_H
#define DLD_POOL_H

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/scoreboard.h"
#include "common/wire.h"

struct pool;
struct pool_worker;

/* Embedded in the owner's struct of a job. */
struct pool_job {
    int64_t id;
    struct pool_worker *worker; /* NULL: with none */
    unsigned last_worker; /* number of the one that has it or had it last, from 1; 0: none had */
    unsigned affinity;    /* the pool's */
    bool fetched;         /* its slot is free again; the result is to come */
    struct pool_job *prev, *next; /* the pool's: all jobs of a worker */
};

/* About jobs. */
struct pool_job_handlers {
    void (*room)(void *userdata);                         /* pool_has_room() may have become true */
    struct pool_job *(*find)(void *userdata, int64_t id); /* NULL: no such job */
    void (*fetched)(void *userdata, struct pool_job *job, const struct wire_fetched *fetched);
    /* Its file is large and would have so many more connections; pool_widened() may follow. */
    void (*widen)(void *userdata, struct pool_job *job, unsigned wanted);
    void (*checkpoint)(void *userdata, struct pool_job *job, const struct wire_kept *kept);
    void (*result)(void *userdata, struct pool_job *job, const struct wire_result *result);
    /* The job keeps its worker from going on: for usec now; at hang_usec the worker is killed. */
    void (*stuck)(void *userdata, struct pool_job *job, uint64_t usec);
    /* The worker died (or was killed) holding the job. to_blame: by a fault of its own while it ran
     * this job. */
    void (*lost)(void *userdata, struct pool_job *job, bool to_blame);
    void (*discarded)(void *userdata, int64_t id);
    /* A worker died; what it was told to discard it may not have. After lost() of its jobs. */
    void (*gone)(void *userdata, unsigned worker);
    void *userdata;
};

/* About workers. */
struct pool_handlers {
    void (*ready)(void *userdata);   /* every worker has said HELLO; once */
    void (*stopped)(void *userdata); /* after pool_stop(): all workers are gone */
    void (*failed)(void *userdata);  /* workers can't be started at all; logged */
    void *userdata;
    struct pool_job_handlers jobs;
};

#define POOL_WORKERS_MAX 256

struct pool_settings {
    unsigned n_workers; /* at most POOL_WORKERS_MAX */
    struct wire_config config; /* store_id is copied */
    int root_fd, lock_fd;      /* the caller's, open as long as the pool is */
    int rates_fd;              /* likewise: the shared memory of ratelimit.h */
    uint64_t hang_usec;  /* a worker with something to do and no life for so long is killed */
    uint64_t max_rss;    /* bytes of memory, 0: any; a larger worker is replaced, */
    unsigned max_jobs;   /* and one that has served as many, 0: any */
    uint64_t drain_usec; /* see above */
    unsigned
        start_failures; /* of one worker in a row before the first HELLO of any: then failed() */
};

/* Starts the workers. 0 or a negative errno (-ENOENT: the program dld-worker was not found). */
int pool_new(struct pool **ret, sd_event *event, const struct pool_settings *settings,
             const struct pool_handlers *handlers);

/* Kills what is left. Jobs don't come back from this. Takes NULL, returns NULL. */
struct pool *pool_free(struct pool *p);

/* Would pool_start() find a worker with a free slot, or one that goes through jobs so fast that it
 * may be given some ahead? */
bool pool_has_room(struct pool *p);

/* Gives the job to the worker that has an idle connection to the host and room, else to the one
 * with the fewest jobs. host is "host:port". 0; -EAGAIN: no room; -EMSGSIZE: the job can't be
 * encoded; -ENOMEM. */
int pool_start(struct pool *p, struct pool_job *job, const char *host,
               const struct wire_job *message);

/* Asks the worker to drop the job; its result tells what came of it. */
void pool_cancel(struct pool *p, struct pool_job *job);

/* Has a worker remove the part file of a job that none has; discarded() follows, or gone() of the
 * worker whose number is *ret_worker. 0; -EAGAIN: none is ready; -EMSGSIZE; -ENOMEM. */
int pool_discard(struct pool *p, const struct wire_discard *message, unsigned *ret_worker);

/* Has its worker give the job back, with what it has of the file. */
void pool_release(struct pool *p, struct pool_job *job);

/* Tells the worker which connections more the job's file may have. -EMSGSIZE or -ENOMEM: it goes on
 * as it is. */
int pool_widened(struct pool *p, struct pool_job *job, const struct wire_widened *message);

/* Tells the worker the job's own rate limit, bytes a second, 0: none. 0 or -ENOMEM. */
int pool_set_rate(struct pool *p, struct pool_job *job, uint64_t rate);

/* Starts no more; workers give back what they have not begun (results RELEASED), have grace_usec to
 * finish the rest, then give it up (likewise) and exit; what does not exit soon after that is
 * killed. stopped() follows. */
void pool_stop(struct pool *p, uint64_t grace_usec);

/* The rest of the grace of pool_stop() is waived. */
void pool_hurry(struct pool *p);

/* Kills all workers at once; their jobs come back as lost. */
void pool_kill(struct pool *p);

/* Other settings from now on; the descriptors and start_failures stay. Where workers were told
 * another configuration these end as in pool_stop(), and others take their place; there will be as
 * many as wanted. */
void pool_configure(struct pool *p, const struct pool_settings *settings);

/* ---- for showing ---- */

struct pool_worker_info {
    unsigned number;
    pid_t pid;         /* 0: none now */
    const char *state; /* "starting", "ready", "backoff", "stopping" */
    unsigned jobs;     /* with it */
    unsigned active;   /* transfers running */
    uint64_t speed;    /* bytes a second */
    uint64_t done;     /* results it gave, all its lives */
    unsigned restarts;
};
unsigned pool_n_workers(const struct pool *p); /* processes: also those being replaced */
void pool_worker_info(const struct pool *p, unsigned i, struct pool_worker_info *ret);

/* The scoreboard's row for a job: what its transfer has now. -ENOENT: none runs it yet. */
struct pool_progress {
    uint64_t bytes, speed;
    int64_t total; /* -1 unknown */
};
int pool_progress(const struct pool_job *job, struct pool_progress *ret);

#endif
