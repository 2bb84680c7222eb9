/*
 * pieces.h - a file that comes over several connections: who fetches which part of it.
 *
 * The file is cut into pieces that lie one behind the other. Of each the first bytes are there, up
 * to `at`; the others are lacking, and whoever owns the piece is fetching them. A piece without an
 * owner waits for one. What is complete is joined with the piece behind it, so that there are no
 * more pieces than parts that are lacking, and one.
 *
 * An owner that comes to the end of its piece stops there, for another one fetches what is behind
 * it; unless that has not begun yet: then it may as well go on itself, as far as its request
 * reaches.
 *
 * Pure: no I/O.
 */
#ifndef DLD_WORKER_PIECES_H
#define DLD_WORKER_PIECES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ranges.h"

#define PIECES_MAX RANGES_MAX

/* What is less than this is not worth a request of its own. */
#define PIECE_MIN (UINT64_C(1024) * 1024)

struct piece {
    uint64_t begin, at, end;
    uint64_t reach; /* where the request of its owner ends */
    uint64_t speed; /* of its owner lately, bytes a second */
    void *owner;    /* NULL: nobody */
    bool begun;     /* bytes of it are there, or are known to be coming */
};

struct pieces {
    unsigned n;       /* 1 at least */
    unsigned rescued; /* small ones that were taken from slow owners */
    struct piece list[PIECES_MAX];
};

/* Of a file of which the first offset bytes are there and those in ranges (as text; NULL: none).
 * False: that makes no sense. */
bool pieces_begin(struct pieces *p, uint64_t offset, uint64_t total, const char *ranges);

/* Is all there? */
bool pieces_whole(const struct pieces *p);

/* The owner's piece, NULL: it has none. Valid until the pieces change. */
struct piece *pieces_of(struct pieces *p, const void *owner);

/* The piece's lacking bytes in n parts (fewer where they would be too small): the owner keeps the
 * first, the others are nobody's. */
void pieces_spread(struct pieces *p, struct piece *x, unsigned n);

/* A piece that waits for an owner, the first of them; where there is none, half of what its owner
 * would need the longest time for, and more of it where that is little and would take long all the
 * same. NULL: there is nothing left that would be worth it. */
struct piece *pieces_pick(struct pieces *p);

/* The piece gets the next one's bytes too, if these have not begun and its request reaches their
 * end. *ret_ousted is who had that, NULL: nobody. */
bool pieces_extend(struct pieces *p, struct piece *x, void **ret_ousted);

/* Joins what is complete, and what nobody has begun with the piece before it. */
void pieces_tidy(struct pieces *p);

/* What is there: that many first bytes, and these ranges. */
uint64_t pieces_kept(const struct pieces *p, struct ranges *ret);

#endif
