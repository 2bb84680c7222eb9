/*
 * target.h - what is at a job's target before anything is fetched.
 */
#ifndef DLD_WORKER_TARGET_H
#define DLD_WORKER_TARGET_H

#include "daemon/worker/dirs.h"
#include "daemon/worker/task.h"

/* True when the job needs no transfer any more, and the task tells why: its file is there already
 * (found_own, skipped; parcel.placed has its name) or it has failed. One found_own whose
 * digest is wanted is open in the parcel, to be checked. The disk is looked at only
 * where on_conflict or maybe_published call for it. */
bool target_settled(struct dirs *dirs, const char *store_id, struct task *t);

/* Opens the file that is there in the task's parcel, to be checked. Whether it can be. */
bool target_open(struct dirs *dirs, struct task *t);

/* Writes the path beneath the root of what parcel.placed names into ret, which holds
 * OUTPUT_MAX_BYTES + 1. */
void target_path(const struct task *t, char *ret);

#endif
