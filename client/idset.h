/*
 * idset.h - a set of numbers that lie close together, at about a bit each.
 *
 * For the jobs that were already printed: ten million of them take 1.3 MB.
 */
#ifndef DLD_CLIENT_IDSET_H
#define DLD_CLIENT_IDSET_H

#include <stddef.h>
#include <stdint.h>

struct idset_page;

struct idset {
    struct idset_page *pages; /* ascending; owned */
    size_t n_pages, cap;
    uint64_t n; /* members */
};

void idset_done(struct idset *s);

/* 1 when number was added, 0 when it was there, -ENOMEM. */
int idset_add(struct idset *s, uint64_t number);

#endif
