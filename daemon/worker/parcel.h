/*
 * parcel.h - a finished part file on its way to its name.
 */
#ifndef DLD_WORKER_PARCEL_H
#define DLD_WORKER_PARCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/naming.h"
#include "daemon/worker/dirs.h"
#include "daemon/worker/integrity.h"

#define PART_NAME_MAX 40

/* ".dld-QUEUE-ID.part", into PART_NAME_MAX bytes: with the first digits of the queue's id, so that
 * several daemons may write below one directory. */
void part_name(char *ret, const char *store_id, int64_t job);

/* Removes a part file that nobody will go on with, if it is there; says so where it can't. */
void part_unlink(const struct dir *dir, const char *part);

enum parcel_work {
    PARCEL_PUBLISH, /* make it durable and give it its name */
    PARCEL_KEEP,    /* make it durable as it is, for another attempt */
    PARCEL_SAVE,    /* likewise, while its transfer goes on */
    PARCEL_CHECK,   /* it has its name; it is read, and made durable with it */
};

/* fd and dir are owned by the parcel. While the publisher has it, nobody else touches it. */
struct parcel {
    int fd; /* the part file, -1 once it is closed */
    struct dir *dir;
    bool unnamed; /* it has no name yet, not even part (unnamed.h) */
    bool reserved; /* its size says nothing of what is in it: to be kept, it is always synced */
    char part[PART_NAME_MAX];
    const char *name; /* wanted, in dir; the owner's, valid as long as the parcel */
    enum on_conflict conflict;
    enum parcel_work work;
    const struct integrity *unread; /* digests still to be made of the file, NULL: none; the owner's */
    struct digest begun;            /* with unread: has the first bytes already, or is idle; owned */
    uint64_t begun_bytes;           /* so many */
    struct failure *failure;        /* says which was wrong; the owner's, needed with unread */

    bool synced; /* its data is known to be on the disk; the round's */

    /* What came of it. */
    int error;    /* 0, or the negative errno that kept it from its name */
    struct digest_sums sums; /* of the file */
    bool skipped; /* on_conflict is skip and a file was there */
    char placed[NAME_MAX_BYTES + 1];

    struct parcel *prev, *next;
};

/* Gives the file its name, or removes the part file and closes fd when that fails or the name is
 * skipped; fills in error, skipped and placed. -ESTALE: another file has the part file's name, and
 * keeps it. */
void parcel_name(struct parcel *p);

/* Likewise, and closes fd in any case. */
void parcel_place(struct parcel *p);

/* After an error behind parcel_name(): takes the name away, so that the job, done again, is in
 * nobody's way, and closes fd. A file that was overwritten is gone already: what replaced it stays.
 */
void parcel_unname(struct parcel *p);

/* Reads the file and judges it by unread: error is -EBADMSG when it is wrong. Blocks on the disk. */
void parcel_check(struct parcel *p);

/* After an error before placing: removes the part file and closes fd. */
void parcel_discard(struct parcel *p);

/* Closes what is open, frees begun and gives up the directory; the part file is left. */
void parcel_done(struct parcel *p);

#endif
