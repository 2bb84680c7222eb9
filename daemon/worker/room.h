/*
 * room.h - whether the file system that a file goes to has room for it, and some to spare.
 *
 * The kernel is asked what is free at most once a second (again when another file system's turn
 * comes), and in between what was taken is subtracted, so that every piece of every body can be
 * checked.
 */
#ifndef DLD_WORKER_ROOM_H
#define DLD_WORKER_ROOM_H

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

/* One for a worker. All 0 but min_free: nothing was asked yet. */
struct room {
    uint64_t min_free;   /* bytes to leave free */
    uint64_t asked_usec; /* CLOCK_MONOTONIC; 0: not yet */
    dev_t dev;           /* of which file system */
    uint64_t free;       /* bytes there, UINT64_MAX: it doesn't say */
};

/* What room_check() says: no error of files, so that it can be told from a disk that is full. */
#define EROOM ENOSR

/* Whether `need` more bytes fit on the file system dev, in which fd (not O_PATH) is something, and
 * min_free is left: 0, or -EROOM. now is CLOCK_MONOTONIC usec. */
int room_check(struct room *r, int fd, dev_t dev, uint64_t need, uint64_t now);

/* n bytes of that have been, or are about to be, written. */
void room_take(struct room *r, uint64_t n);

#endif
