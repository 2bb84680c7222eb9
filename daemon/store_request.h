/*
 * store_request.h - a request on its way through the store: made on the loop, run on the thread,
 * delivered on the loop.
 *
 * Private to the store. Each file that makes requests embeds struct request at the front of its own
 * and describes it with a request_kind; store.c knows nothing more of them.
 */
#ifndef DLD_STORE_REQUEST_H
#define DLD_STORE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

struct db;
struct store;
struct request_kind;

struct request {
    const struct request_kind *kind;
    struct request *prev, *next; /* in whichever list it is */
    uint64_t number;             /* counts up */
    int error;                   /* what the callback will be told */
};

struct request_kind {
    const char *name; /* for the log */
    bool patient;     /* nobody waits for it alone: it may be committed with those still to come */
    bool overtakes;   /* the scheduler waits for it: it may be done before patient ones */

    /* As qsort() wants it, for pointers to requests of this kind that came one after the other: in
     * this order they share more pages. NULL: they are run as they came. */
    int (*compare)(const void *a, const void *b);

    /* On the thread, in a transaction. 0, with r->error set where the answer is that what was asked
     * can't be; or a negative errno: the store failed, the transaction
     * must be rolled back. May be run again after that. */
    int (*run)(struct db *db, struct request *r);

    /* Frees what run() found, so that it can run again. NULL: nothing to free. */
    void (*clear)(struct request *r);

    /* On the loop: runs the callback. NULL: the request is the thread's own and isn't handed back.
     */
    void (*deliver)(struct request *r);

    /* Frees the request, delivered or not; clear() was called before. */
    void (*free)(struct request *r);
};

/* Queues it; the store owns it from now on. Called on the loop. */
void store_enqueue(struct store *s, struct request *r);

#endif
