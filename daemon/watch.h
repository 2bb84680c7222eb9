/*
 * watch.h - clients that wait for jobs to end.
 */
#ifndef DLD_WATCH_H
#define DLD_WATCH_H

#include "daemon/control.h"
#include "daemon/params.h"
#include "daemon/store.h"

struct watches;

struct watches *watches_new(struct store *store); /* NULL when out of memory */
struct watches *watches_free(struct watches *w);  /* takes NULL, returns NULL */

/* Answers the request when all chosen jobs have ended: {"batch", "done", "failed", "cancelled",
 * "bytes", "seconds"}; with events the client also gets a notification "job" for each that ends
 * from now on, with brief of job_to_json_brief(). Takes over *choice. */
void watches_wait(struct watches *w, struct request *request, struct params_choice *choice,
                  bool events, bool brief);

/* A client that has just submitted the batch gets a notification "job" as each of its jobs ends,
 * and "end" with the sums. 0 or -ENOMEM. */
int watches_follow(struct watches *w, struct client *client, const struct store_batch *batch,
                   bool brief);

/* A job's end is durable. */
void watches_job_ended(struct watches *w, const struct job *job);

/* The store has cancelled these jobs, at most STORE_STEP; it is asked for what is to be told. */
void watches_cancelled(struct watches *w, const int64_t *ids, size_t n);

void watches_client_gone(struct watches *w, struct client *client);

/* Answers all requests that wait: the daemon is stopping. */
void watches_stop(struct watches *w);

#endif
