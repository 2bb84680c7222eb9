/*
 * reload.h - the configuration read again while dld runs: what came of it.
 */
#ifndef DLD_RELOAD_H
#define DLD_RELOAD_H

#include "common/buf.h"

struct reload {
    struct buf changed; /* JSON array of the names (config_diff.h) of what holds from now on */
    struct buf restart; /* likewise, of what will hold after a restart */
    struct buf why;     /* after a failure: sentences for people, with "; " between them */
};

#endif
