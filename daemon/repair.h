/*
 * repair.h - dld --check-queue and dld --recover: what is done with a queue that no dld uses.
 */
#ifndef DLD_REPAIR_H
#define DLD_REPAIR_H

#include "daemon/config.h"

/* Does config->task, and logs what came of it. 0, -EUCLEAN: the queue is damaged (and, with
 * --recover, stays so), or another negative errno. */
int repair_run(const struct config *config);

#endif
