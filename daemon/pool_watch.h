/*
 * pool_watch.h - looks after the workers: which are hung, and which are to be replaced though they
 * live. Private to pool*.c.
 *
 * While workers have jobs, or part files to remove, it looks at them now and then; when none has,
 * nothing wakes up. What makes a worker hung is that its heartbeat does not move, by this process's
 * own count of time: one that was stopped itself, or had no turn for long, does not take it for the
 * workers' fault.
 */
#ifndef DLD_POOL_WATCH_H
#define DLD_POOL_WATCH_H

#include "daemon/pool_worker.h"

/* A worker has something to do: it is looked at until none has. */
void watch_on(struct pool *p);
void watch_done(struct pool *p);

/* A worker has served a job. */
void watch_served(struct pool_worker *w);

/* A worker is ready: the one that it replaces goes, and the next may be replaced. */
void watch_ready(struct pool_worker *w);

/* Begins to replace a worker that is due, if none is just being replaced. */
void watch_replace_next(struct pool *p);

#endif
