/*
 * desk_part.h - what the files of the desk share: desk.c, its life and what the master says, and
 * desk_stages.c, the way of a task from the queue to its end. Private to them.
 */
#ifndef DLD_WORKER_DESK_PART_H
#define DLD_WORKER_DESK_PART_H

#include "common/ranges.h"
#include "daemon/worker/beat.h"
#include "daemon/worker/desk.h"
#include "daemon/worker/dirs.h"
#include "daemon/worker/publish.h"
#include "daemon/worker/queue.h"
#include "daemon/worker/session.h"
#include "daemon/worker/task.h"
#include "daemon/worker/throttle.h"
#include "daemon/worker/transfer.h"

/* Bytes of a transfer under way that are being made durable. */
struct saving {
    struct parcel parcel;
    int64_t job;
    uint64_t serial; /* of the task */
    struct wire_kept kept; /* its strings are the task's, */
    char ranges[RANGES_TEXT_MAX]; /* but for these */
    struct saving *prev, *next;
};

struct desk {
    sd_event *event;
    struct link *link;
    struct scoreboard *board;
    struct beat *beat;
    const struct ratelimit *rates;
    struct wire_config config;

    struct dirs *dirs;
    struct session *session;
    struct asides *asides;
    struct publisher *publisher;
    struct throttle *throttle;
    struct room room;
    struct sink_settings sink;
    struct gate gate;
    struct transfer_settings transfer;

    struct transfer **slots; /* a transfer is made when its slot is first used */
    unsigned *free_slots;    /* the one used last on top: what it needs is still in the caches */
    unsigned n_free;

    struct task *tasks; /* by id */
    struct queue *queue;
    struct task *blocked; /* complete, without room in the publishing stage */
    struct saving *savings;
    uint64_t serial;      /* of the last task */
    bool stopping;
};

/* The job's last word. Slot and file must be given up already. */
void task_report(struct desk *d, struct task *t, enum wire_outcome outcome);

/* A job that is not taken in hand at all. */
void report_untried(struct desk *d, const struct wire_job *job);

/* Removes the part file of a job that is not here. */
void part_remove(struct desk *d, int64_t job, const char *output);

/* Takes the job out of wherever it is; false: it is being published, and what comes of that counts;
 * or what came of it is being kept, and it is reported as RELEASED then. */
bool task_withdraw(struct desk *d, struct task *t, bool keep);

/* Starts what is queued, as long as slots are free. */
void desk_fill(struct desk *d);

/* Ends the loop when the worker is to stop and no task is left. */
void desk_end_if_idle(struct desk *d);

/* For those whom the desk has work for it; userdata is the struct desk. */
void on_transfer_ended(void *userdata, CURL *easy, CURLcode code);
void on_verdict(void *userdata, struct line_item *item, enum line_verdict verdict);
void on_published(void *userdata, struct parcel *p);
void on_stage_room(void *userdata);
void on_expired(void *userdata, struct task *t);
void on_restarted(void *userdata, struct task *t);
void on_save(void *userdata, struct task *t);
void on_widen(void *userdata, struct task *t, unsigned n);

#endif
