/*
 * dld - the download daemon's master process.
 *
 * Where to find what, from the top down:
 *
 *   main          the command line; errors that end with an exit code
 *   master*       puts the parts together, starts and stops them: the only file that knows them all
 *   methods*      what clients can ask for, one function a method; params validates what they give
 *   watch         clients that wait for jobs to end
 *   dispatch*     jobs from the store to the workers, their ends back into the store
 *   attempt       what becomes of a job after an attempt (pure)
 *   access, credentials*  who an attempt says it is: secrets that jobs name
 *   control*      the control socket: lines, JSON-RPC, clients
 *   sched         which job starts next (pure)
 *   pool*, spawn  the worker processes; pool_watch: which are to be replaced, pool_voice: stderr
 *   rates         limits on speed; timetable: which one is in force when (pure)
 *   store*        the durable queue (SQLite, on a thread of its own)
 *   job, job_*    what a job is; JSON to jobs and back
 *   config*       keys, files, environment, options
 *   repair        --check-queue, --recover: a queue that nobody has open
 *   state_dir     directories and locks
 *   notify        the service manager
 *
 *   worker/       the program dld-worker, which does the downloading
 *   ../common/    what both share: messages (wire, chan), scoreboard, ratelimit, URLs, names, errors
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/exitcode.h"
#include "common/log.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/master.h"
#include "daemon/repair.h"

int main(int argc, char **argv) {
    struct config config;
    int r;

    standard_fds_hold();
    r = config_load(&config, argc, argv, stdout, stderr);
    if (r < 0)
        return DLD_USAGE;
    if (r == 0 && fflush(stdout) == 0 && !ferror(stdout))
        return DLD_OK;
    if (r == 0) {
        fprintf(stderr, "dld: standard output cannot be written: %s\n", strerror(errno));
        return DLD_FAILED;
    }
    log_init("dld", config.log.level);
    signal(SIGPIPE, SIG_IGN); /* whoever reads the log may go away */
    signal(SIGXFSZ, SIG_IGN); /* such a write fails with EFBIG */
    r = config.task == CONFIG_SERVE ? master_run(&config, argc, argv) : repair_run(&config);
    config_done(&config);
    return r == -EUCLEAN || r == -ENOTSUP ? DLD_QUEUE : r < 0 ? DLD_FAILED : DLD_OK;
}
