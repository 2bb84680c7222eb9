/*
 * table.h - jobs as lines for people.
 *
 * Each takes objects as the daemon sends them and prints whole lines on stdout (print.h). What
 * comes from servers is made printable first.
 */
#ifndef DLD_CLIENT_TABLE_H
#define DLD_CLIENT_TABLE_H

#include <jansson.h>

#include "client/ended.h"

/* `list`: ID STATE HTTP SIZE URL -> OUTPUT. width cuts the rows to a terminal's columns; 0: it
 * doesn't. */
void table_list_head(void);
void table_list_row(const json_t *job, unsigned width);

/* A job that ended:
 * `done    w1  200   36.0 KB   0.31 s  http://... -> images/01.jpg`
 * `failed  w2  404       0 B   0.02 s  http://...  http: 404 Not Found` */
void table_ended(const struct ended *e);

/* `Downloaded 7 of 10 URLs, 324.1 KB in 2.16 s, 2 failed, 1 cancelled` */
void table_sum(const json_t *sum);

#endif
