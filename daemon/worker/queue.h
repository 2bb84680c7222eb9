/*
 * queue.h - jobs that wait for a slot, first come, first served, and not for long.
 *
 * The master sends a few jobs more than there are slots, so that none idles; one that waited
 * QUEUE_PATIENCE is better off with another worker.
 */
#ifndef DLD_WORKER_QUEUE_H
#define DLD_WORKER_QUEUE_H

#include <systemd/sd-event.h>

#include "daemon/worker/task.h"

#define QUEUE_PATIENCE (200 * USEC_PER_MSEC)

struct queue;

/* The task has waited too long and is no longer in the queue. */
typedef void queue_expired_fn(void *userdata, struct task *t);

/* 0 or a negative errno. */
int queue_new(struct queue **ret, sd_event *event, queue_expired_fn *on_expired, void *userdata);

/* The queue must be empty. Takes NULL, returns NULL. */
struct queue *queue_free(struct queue *q);

void queue_push(struct queue *q, struct task *t);

/* The one that waits longest; NULL when there is none. */
struct task *queue_pop(struct queue *q);

void queue_remove(struct queue *q, struct task *t);

#endif
