/*
 * round.h - making a group of finished files durable and giving them their names.
 *
 * Files whose digests are not made yet are read first. Then, in this order, which is what makes
 * "done" true after a power cut: the data of all files, with one syncfs() where they are many;
 * their names; each directory once; and, for a directory that this process has not yet seen to the
 * disk, the directories above it up to the root, for it may be new, whoever made it.
 */
#ifndef DLD_WORKER_ROUND_H
#define DLD_WORKER_ROUND_H

#include "daemon/worker/dirs.h"
#include "daemon/worker/parcel.h"

/* Works through the list; the outcome is in each parcel. number is a different one for each round,
 * or 0 where nothing is to be synced. Blocks on the disk; one thread at a time. */
void round_publish(struct parcel *list, const struct dirs *dirs, unsigned number);

#endif
