/*
 * store_salvage.h - copies what can be read of a damaged queue's tables into those of a new one.
 *
 * Private to the store. Rows come from the trees of the tables as far as these can be followed, and
 * then from pages that nothing leads to any more and that are not free: a row is known by its
 * number of columns and their types. What was found first stays.
 */
#ifndef DLD_STORE_SALVAGE_H
#define DLD_STORE_SALVAGE_H

#include <sqlite3.h>

#include "daemon/store_image.h"

/* Fills jobs, batches and attempts of a new queue, and the temporary tables old_lanes, old_counters
 * and old_meta. *ret_unreadable counts pages and rows that made no sense. 0 or a negative errno;
 * sqlite3_errmsg() may say more. */
int salvage(sqlite3 *sqlite, const struct image *image, uint64_t *ret_unreadable);

#endif
