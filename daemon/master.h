/*
 * master.h - the master process: puts the parts together and runs the loop.
 */
#ifndef DLD_MASTER_H
#define DLD_MASTER_H

#include "daemon/config.h"

/* Runs until told to stop by SIGTERM or SIGINT. SIGHUP has config read again, from the command line
 * given. 0, or a negative errno with what went wrong in the log. */
int master_run(struct config *config, int argc, char **argv);

#endif
