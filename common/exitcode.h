/*
 * exitcode.h - what the programs' exit statuses mean.
 */
#ifndef DLD_EXITCODE_H
#define DLD_EXITCODE_H

/* dlctl */
enum {
    DLCTL_OK = 0,
    DLCTL_JOB_FAILED = 1,  /* at least one job asked about failed or was cancelled */
    DLCTL_USAGE = 2,       /* the command line or a job file is wrong */
    DLCTL_UNREACHABLE = 3, /* no daemon at the socket, or it went away */
};

/* dld */
enum {
    DLD_OK = 0,
    DLD_FAILED = 1, /* it could not start, or had to stop; the log says why */
    DLD_USAGE = 2,  /* the command line, environment or configuration is wrong */
    DLD_QUEUE = 3,  /* the queue is damaged, or a newer dld's; the log says what to do */
};

/* dld-worker; the master puts the meaning in its log */
enum {
    WORKER_OK = 0,       /* told to stop, or the master went away */
    WORKER_FAILED = 1,   /* start-up failed, stderr says why */
    WORKER_PROTOCOL = 2, /* the master sent something unintelligible, or speaks another version */
};

const char *worker_exit_meaning(int status);

#endif
