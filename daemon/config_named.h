/*
 * config_named.h - sections of dld.conf with a name, of which there may be many: [host "PATTERN"],
 * [rate "NAME"].
 *
 * One that is opened again, in the same file or a later one, goes on where it was: its keys are
 * added, or replaced. They are not in the environment nor on the command line.
 */
#ifndef DLD_CONFIG_NAMED_H
#define DLD_CONFIG_NAMED_H

#include "daemon/config_keys.h"

#define CONFIG_NAMED_MAX 256    /* sections of a kind */
#define CONFIG_NAMED_KEYS_MAX 4 /* keys of a section */

/* An open section; valid until the next one is opened. */
struct config_named {
    const struct config_key *keys;
    size_t n_keys;
    size_t number;   /* of 2 * CONFIG_NAMED_MAX */
    void *base;      /* what the offsets of the keys are in */
    unsigned *given; /* 1 << index of a key that was given */
    char **place;    /* where it begins, for the caller to set; NULL: nobody asks */
};

/* Opens [kind "name"]. 0; -ENOENT: there are no such sections; -EINVAL with a sentence appended to
 * why; -ENOMEM. */
int config_named_open(struct config *c, const char *kind, const char *name,
                      struct config_named *ret, struct buf *why);

/* When all is read: reports what is not complete. */
void config_named_finish(const struct config *c, struct config_errors *e);

void config_named_done(struct config *c);

#endif
