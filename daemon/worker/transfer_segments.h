/*
 * transfer_segments.h - one file over several connections. Private to transfer*.c.
 *
 * The transfer that has the job is the first: it asks for the whole file, or for the rest of it,
 * and goes on as if it were alone. Once its answer has shown that the file is large, and that the
 * server names its version and has parts to give, others are begun that ask for later parts of that
 * version and write into the same part file: transfers as well, whose `lead` is the first, each
 * with an easy handle and a copy of the task of its own. Which has which part is in pieces.h. The
 * first is over where another one's part begins; whoever is through with a part gets the next that
 * nobody has, or half of what the slowest has left.
 *
 * An answer with another version, another range or no range at all ends that connection only. What
 * it should have brought is left to the first, if that can still reach it, or to the next that has
 * nothing to do. Parts may come from mirrors, which the master chooses, where the job has a
 * checksum; of their versions only the length is compared.
 *
 * That an answer is to the very range that was asked for shows in its Content-Range, so that it
 * needs no fresh connection to be believed (line.h); and where one of the job's own server agrees
 * with the version of the first answer, that one is believed too.
 *
 * The attempt is over when all is there, or when no connection is left.
 */
#ifndef DLD_WORKER_TRANSFER_SEGMENTS_H
#define DLD_WORKER_TRANSFER_SEGMENTS_H

#include "common/ranges.h"
#include "daemon/worker/transfer_rest.h"

/* Goes on with what an earlier attempt left behind offset, too, which task->kept.ranges tells;
 * total is the file's size. 0 or a negative errno. */
int segments_resume(struct transfer *t, uint64_t total);

/* For another one than the first: opens the part file and asks for its part; before request_fill().
 * 0 or a negative errno. */
int segments_ask(struct transfer *t);

/* The header of its answer is complete, a body follows. Whether to go on. */
bool segments_begin(struct transfer *t);

/* Bytes of the file for any of them. How many are taken: fewer than n when that is all it is to
 * bring, or nobody can take any. */
size_t segments_take(struct transfer *t, const char *p, size_t n);

/* Has it brought nothing for so long that another connection, which is to be had, should take over?
 * The failure is set then. */
bool segments_stalled(struct transfer *t);

/* Gives up the others, and has all bytes that came in the file: the first's sink.size is how many
 * are at the file's beginning. The first's handle is left to the caller. */
void segments_stop(struct transfer *t);

/* Has another connection shown that the first answer was to its request? */
bool segments_vouch(const struct transfer *t);

/* The whole is there: has the publisher make its digests, for which only bytes that the first did
 * not bring are read. */
void segments_verify(struct transfer *t);

/* The ranges behind the file's beginning that are there; how many bytes that has. */
uint64_t segments_kept(struct transfer *t, struct ranges *ret);

/* What the file has in all. */
uint64_t segments_total(const struct transfer *t);

/* None of them is under way. */
void segments_free(struct transfer *t);

#endif
