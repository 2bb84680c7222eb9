/*
 * rates.h - the master's hand on the limits: which one is in force for all, and which bucket of the
 * shared memory (common/ratelimit.h) is whose.
 *
 * For all, what `dlctl set` says beats the timetable ([rate "NAME"]), which beats [rate] limit. A
 * host that has a limit gets a bucket when its first job starts. It keeps it for as long as a job
 * of it is active, and then until another host needs it, so that what it has spent is not forgotten
 * between two jobs.
 */
#ifndef DLD_RATES_H
#define DLD_RATES_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "daemon/config.h"

struct rates;

/* For so many active jobs at once, at most. config outlives it. 0 or a negative errno. */
int rates_new(struct rates **ret, sd_event *event, const struct config *config, uint32_t n_jobs);
struct rates *rates_free(struct rates *r); /* takes NULL, returns NULL */

/* The content of config is another one now. 0, or -ENOMEM with all as it was, but for the strings
 * of config: they must be the old ones again then. */
int rates_configured(struct rates *r);

/* The memory, for workers to inherit. */
int rates_fd(const struct rates *r);

/* ---- for all ---- */

/* A limit of bytes a second (0: none) until rates_reset(), or the end of this process. */
void rates_set(struct rates *r, uint64_t limit);
void rates_reset(struct rates *r);

struct rates_info {
    uint64_t limit;     /* bytes a second, 0: none */
    bool set;           /* by rates_set() */
    const char *window; /* else the name of the timetable's window, NULL: it is [rate] limit */
    uint64_t until;     /* usec since the epoch when that ends; USEC_INFINITY: it is not known to */
};
void rates_now(const struct rates *r, struct rates_info *ret);

/* ---- for hosts ---- */

/* A job of the host ("name:port") starts: *ret is its host's bucket, 0 where it has no limit. 0;
 * -ENOMEM; -EBUSY: there are more jobs than were announced. */
int rates_host_take(struct rates *r, const char *host, uint32_t *ret);

/* It is over. 0 is no bucket. */
void rates_host_drop(struct rates *r, uint32_t bucket);

#endif
