/*
 * segments_part.h - what transfer_segments.c, which hears of connections, and segments_fill.c,
 * which begins them, share.
 */
#ifndef DLD_WORKER_SEGMENTS_PART_H
#define DLD_WORKER_SEGMENTS_PART_H

#include "daemon/worker/pieces.h"
#include "daemon/worker/transfer_segments.h"

#define OTHERS_MAX 16

/* So long may one be silent while another connection is idle, and so long until it answers. */
#define STALL_USEC (5 * USEC_PER_SEC)
#define ANSWER_USEC (15 * USEC_PER_SEC)

/* Requests in a row that brought less than this end the attempt, once none is left. */
#define FAILURES_MAX 3
#define PROGRESS_MIN (64 * KIB)

/* A connection besides the first, used for one part after the other. */
struct segment {
    struct transfer *t;
    unsigned place;
    struct task task;          /* as t sees it */
    struct scoreboard_row row; /* nobody looks at it; the first's shows them all */
};

/* Where the file is to be had. */
struct place {
    char *url;      /* NULL: the job's own; owned */
    unsigned limit; /* connections at once */
};

#define PLACES_MAX (1 + WIRE_MIRRORS_MAX)

struct segments {
    struct pieces pieces; /* owned by transfers */
    uint64_t total;
    uint64_t front;                  /* bytes that the first has digested */
    struct place places[PLACES_MAX]; /* the first is the job's own */
    unsigned failures;               /* in a row */
    bool vouched;
    bool fatal;             /* nothing more can come of it, for a reason of ours */
    struct failure failure; /* the last; of the attempt, if it fails */
    unsigned n;
    struct segment *others[OTHERS_MAX];
};

static inline struct transfer *lead_of(struct transfer *t) {
    return t->lead ? t->lead : t;
}

/* How many connections are at work at one of the places. */
unsigned segments_running_at(const struct transfer *lead, unsigned place);

/* Which of the places has a connection left; of several, the one with the fewest in use.
 * PLACES_MAX: none. */
unsigned segments_place(const struct transfer *lead);

/* Brings up to date what is in the file of each piece that is being fetched, and how fast more comes. */
void segments_look(struct segments *s);

/* The connection begins with the byte from. */
void segments_start_clock(struct transfer *t, uint64_t from);

/* What is left of the job's time for an attempt, at least 1 ms; 0: it is not limited. */
uint64_t segments_time_left(const struct transfer *lead);

/* The part file can't be written: the attempt fails. */
void segments_fail_output(struct transfer *lead, int error);

/* Begins as many connections as there may be, if there is something left for them. */
void segments_fill(struct transfer *lead);

#endif
