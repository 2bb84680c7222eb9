/*
 * owner.h - recognising a file that this queue published before.
 *
 * Between the publishing of a file and the record of it in the store the power may go, and the job
 * is done again. So each file carries, from before it has its name, who published it: the extended
 * attribute "user.dld.job" = "STORE/JOB/HTTP-STATUS". A job done again looks for its own file
 * first, and makes no second copy.
 */
#ifndef DLD_WORKER_OWNER_H
#define DLD_WORKER_OWNER_H

#include <stdint.h>

#include "common/naming.h"

#define OWNER_ATTRIBUTE "user.dld.job"

/* Names looked at, the latest numbers first, before a job gives up and fetches again. */
#define OWNER_LOOKS_MAX 16384u

/* Marks an open file. 0 or a negative errno; -ENOTSUP where the file system has no such attributes.
 */
int owner_mark(int fd, const char *store_id, int64_t job, unsigned http_status);

struct owned_file {
    char name[NAME_MAX_BYTES + 1];
    int64_t size;
    unsigned http_status;
};

/* Looks for this job's file: at name and, where on_conflict is rename, at its numbered variants. 1:
 * found; 0: there is none; or a negative errno. */
int owner_find(int dir_fd, const char *name, enum on_conflict conflict, const char *store_id,
               int64_t job, struct owned_file *ret);

#endif
