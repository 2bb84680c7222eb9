/*
 * jobfile.h - the jobs in a job file, one after another, whatever the size of the file.
 *
 * A file is one object, an array of objects, or {"defaults": {...}, "jobs": [...]}. The reader
 * splits it into the text of its jobs and holds one of them at a time. It checks the syntax (every
 * job is parsed once) and the shape of what is around the jobs; what a job says is left to the
 * daemon. Errors name file, line and column, both from 1; columns count characters.
 */
#ifndef DLD_CLIENT_JOBFILE_H
#define DLD_CLIENT_JOBFILE_H

#include "common/buf.h"

#define JOBFILE_JOB_MAX MIB  /* bytes of a job, and of the defaults */
#define JOBFILE_DEPTH_MAX 64 /* of objects and arrays within a job */

enum jobfile_state {
    JOBFILE_START,
    JOBFILE_FIRST, /* '[' was read */
    JOBFILE_NEXT,  /* a job of an array was read */
    JOBFILE_TRAILER,
    JOBFILE_END,
};

struct jobfile {
    const char *name; /* in messages; borrowed */
    int fd;
    char *data; /* what was read; [pos, len) is not yet scanned */
    size_t pos, len;
    bool ended;            /* so said read(); a terminal would go on */
    int read_error;        /* -errno of read(), told when the end is reached */
    uint64_t line, column; /* of the last byte scanned */
    enum jobfile_state state;
    bool wrapped;                      /* {"defaults", "jobs"} */
    bool lone;                         /* a single object */
    uint64_t n_jobs;                   /* returned so far */
    struct buf raw;                    /* the value being read */
    uint64_t value_line, value_column; /* where it starts */
    struct buf
        defaults; /* text of the defaults, empty: none; there before the first job is returned */
    uint64_t defaults_line;
    char error[768]; /* why jobfile_next() failed: "jobs.json:3:14: ..." */
};

/* A job as it stands in the file, but that line ends within it became blanks. */
struct jobfile_job {
    const char *text; /* valid until the next call */
    size_t len;
    uint64_t line;
};

/* Opens the file at path, "-": standard input. -errno; -EISDIR for a directory. */
int jobfile_open(struct jobfile *f, const char *path);

/* The same on a descriptor, which is closed by jobfile_done(). -ENOMEM. */
int jobfile_open_fd(struct jobfile *f, int fd, const char *name);

/* Closes and frees; harmless after a failed open. */
void jobfile_done(struct jobfile *f);

/* The next job: 1 with *ret, 0 at the end of a file that has at least one; -EBADMSG with f->error
 * filled, -ENOMEM. After an error the file can only be closed. */
int jobfile_next(struct jobfile *f, struct jobfile_job *ret);

#endif
