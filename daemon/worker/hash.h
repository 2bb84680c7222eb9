/*
 * hash.h - uthash as this program uses it: running out of memory is survived.
 *
 * After an addition that found no memory, the element's hh.tbl is NULL and it is not in the table.
 */
#ifndef DLD_WORKER_HASH_H
#define DLD_WORKER_HASH_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
