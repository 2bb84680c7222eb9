/*
 * sink.h - where a body goes: a part file beside its target.
 *
 * Bytes are collected in a buffer, so that a small body is written once and a large one in large
 * pieces. The part file is made when the first bytes have to be written, so that an answer without
 * a body worth keeping leaves nothing behind. One sink serves one body at a time and is used again.
 *
 * Bytes once written into a part file never change: a body that begins anew begins in a new file.
 * For the store may say until its next commit, and after a power cut for ever, that so many bytes
 * of one version are durable in the part file, while those of another are on their way. So the
 * record says in which file: part_mark() is of the file itself, not of its name, and no other that
 * comes to have the name has it. It follows that after a power cut the name leads to the file of
 * the record, with all the bytes that were synced before the record was made, or to one that is not
 * the file of the record and is not gone on with, or to none; in which order directory entries,
 * data and the store reached the disk doesn't matter, and nothing has to be waited for when a body
 * begins anew. No extended attributes are needed, only inode numbers.
 *
 * Functions return 0 or a negative errno about the file.
 */
#ifndef DLD_WORKER_SINK_H
#define DLD_WORKER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/worker/dirs.h"
#include "daemon/worker/parcel.h"
#include "daemon/worker/room.h"

/* The same for all sinks of a worker. */
struct sink_settings {
    struct dirs *dirs;
    mode_t file_mode;     /* exactly, with umask 0 */
    const char *store_id; /* for owner_mark() and part_name() */
    size_t buffer;        /* bytes collected before they are written */
    struct room *room;    /* NULL: files may take all there is */
    bool unnamed;         /* what fits into the buffer may do without a part file (unnamed.h) */
};

struct sink {
    const struct sink_settings *settings; /* the caller's, outlives the sink */
    char *buffer;                         /* allocated when first needed */
    size_t used;                          /* bytes in it */

    int64_t job;
    const char *output; /* path beneath the root, the caller's */
    struct dir *dir;    /* NULL: not opened yet */
    int fd;             /* the part file, -1: not made yet */
    bool unnamed;       /* it has no name; only within sink_finish() */
    uint64_t size; /* bytes in the part file; the next go behind them */
    char part[PART_NAME_MAX];
    dev_t dev;         /* of the part file's file system, when it is made and there is a room */
    uint64_t expected; /* bytes known to come yet, 0: none are */
    bool reserved;     /* all that may come has its room on the disk */
    bool sparse;       /* the file's size says nothing of what is in it */
};

void sink_init(struct sink *s, const struct sink_settings *settings);

/* Frees everything; a part file is removed. */
void sink_done(struct sink *s);

/* Starts a body. Nothing is touched on disk yet. */
void sink_begin(struct sink *s, int64_t job, const char *output);

/* Opens the part file that an earlier attempt left, if it is the one of that mark and has at least
 * least bytes (offset or more), to go on after its first offset bytes; what is behind least is cut
 * off. -ENOENT or -ESTALE: it isn't there, or not what it was, and a new one will be
 * made. */
int sink_resume(struct sink *s, uint64_t offset, uint64_t least, uint64_t mark);

/* Tells an open file from all others that are, were or will be of its name: of its inode number and
 * the time when it was made. Where the file system doesn't tell the time, the number alone, which
 * is not given again while the file that had it is there: a new part file is made before the old
 * one is let go. 0: it can't be told. */
uint64_t part_mark(int fd);

/* Drops what was written: the body begins anew, in a new file. */
int sink_restart(struct sink *s);
/* So many bytes of the body are announced: the first of them is refused (-EROOM) unless all have
 * room. */
void sink_expect(struct sink *s, uint64_t bytes);

/* Writes what was collected. */
int sink_settle(struct sink *s);

/* From now on bytes may be written anywhere in the file. Reserves the disk's room for total bytes,
 * as far as the file system can; -ENOSPC, -EROOM (sink_expect()): there isn't so much. */
int sink_reserve(struct sink *s, uint64_t total);

/* Begins to write into the part file of another sink, from that byte on; sink_leave() ends it. */
int sink_share(struct sink *s, const struct sink *of, uint64_t from);

int sink_write(struct sink *s, const void *p, size_t n);

/* The body is complete: the file is written to its end and marked as this job's, and handed to the
 * parcel, with its wanted name. */
int sink_finish(struct sink *s, unsigned http_status, struct parcel *ret);

/* Gives the body up for now: what came of it is written and handed to the parcel, which is to be
 * kept; its size is in s->size. */
int sink_keep(struct sink *s, struct parcel *ret);

/* Lets go of the part file and leaves it as it is. */
void sink_leave(struct sink *s);

/* Gives the body up: removes the part file. */
void sink_discard(struct sink *s);

#endif
