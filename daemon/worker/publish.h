/*
 * publish.h - the stage after a transfer: finished files become durable and visible on a thread of
 * their own, so that no loop waits for a disk.
 *
 * FSYNC_BATCH: a round takes all files that are there. It starts at once when the last one began at
 * least the interval ago, else when that has passed, or earlier when half of the stage is filled.
 * FSYNC_ALWAYS: each file is a round by itself, and none waits. FSYNC_NEVER: none waits, and
 * nothing is synced; only files that have to be read need the stage then, for others there is
 * parcel_place().
 */
#ifndef DLD_WORKER_PUBLISH_H
#define DLD_WORKER_PUBLISH_H

#include <systemd/sd-event.h>

#include "common/wire.h"
#include "daemon/worker/dirs.h"
#include "daemon/worker/parcel.h"

struct publisher;

/* The parcel is the caller's again; what came of it is in it. On the loop. */
typedef void publisher_done_fn(void *userdata, struct parcel *p);

/* After the last parcel of a round: there is room again. May be NULL. */
typedef void publisher_room_fn(void *userdata);

struct publisher_settings {
    enum fsync_mode mode;
    uint64_t interval_usec;
    unsigned capacity;       /* parcels in the stage at most */
    const struct dirs *dirs; /* the caller's, outlives the publisher */
    publisher_done_fn *on_done;
    publisher_room_fn *on_room;
    void *userdata;
};

/* Starts the thread. 0 or a negative errno. */
int publisher_new(struct publisher **ret, sd_event *event,
                  const struct publisher_settings *settings);

/* Waits for the round in progress; parcels not yet begun stay unpublished, and none is reported any
 * more. Takes NULL, returns NULL. */
struct publisher *publisher_free(struct publisher *p);

bool publisher_has_room(const struct publisher *p);

/* Hands a parcel over. There must be room. */
void publisher_put(struct publisher *p, struct parcel *parcel);

/* From now on no round waits for the interval. */
void publisher_hurry(struct publisher *p);

#endif
