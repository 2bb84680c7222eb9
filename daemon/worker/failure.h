/*
 * failure.h - how a job failed, as the master will hear it.
 *
 * A failure is filled by the part that saw it and carried unchanged to the report. error is
 * ERR_NONE as long as nothing failed; the first failure of a transfer is the one that counts, so
 * that what follows from it does not hide it.
 */
#ifndef DLD_WORKER_FAILURE_H
#define DLD_WORKER_FAILURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/errors.h"
#include "common/util.h"

#define FAILURE_MESSAGE_MAX 512

struct failure {
    enum dld_error error;
    bool transient;            /* worth another attempt; failure_set() takes it from the table */
    bool elsewhere;            /* at a server to which the job's own had redirected */
    uint64_t retry_after_usec; /* what the server asked to wait, 0: nothing */
    char message[FAILURE_MESSAGE_MAX];
};

/* No failure. */
void failure_clear(struct failure *f);

/* Sets error and message, unless a failure is set already. */
void failure_set(struct failure *f, enum dld_error error, const char *fmt, ...) _printf_(3, 4);

/* A file or directory could not be made: error is a negative errno, path what it was about. */
void failure_set_output(struct failure *f, int error, const char *path);

#endif
