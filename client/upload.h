/*
 * upload.h - many jobs into one batch: chunks in flight, sent again when the connection breaks.
 *
 * Chunks hold up to 1,000 jobs or 256 KiB and go out under one random submit_key, up to 32 of them
 * unanswered. They are kept until answered, so that after a broken connection they can be sent
 * again; the key makes sure that nothing is taken twice. The batch comes to be when the last chunk
 * is answered; until then the daemon shows nothing of it and forgets what is given up.
 */
#ifndef DLD_CLIENT_UPLOAD_H
#define DLD_CLIENT_UPLOAD_H

#include <jansson.h>

#include "client/rpc.h"

#define UPLOAD_CHUNK_JOBS 1000
#define UPLOAD_CHUNK_BYTES (256 * KIB)
#define UPLOAD_FLIGHT_MAX 32

/* What jobs come from: a file, or the URLs of the command line. Must outlive the upload. */
struct source {
    const char *name;     /* the file's; NULL: URLs */
    const char *defaults; /* n_defaults bytes of JSON; borrowed while jobs of it are added */
    size_t n_defaults;
    uint64_t defaults_line;
    uint64_t first; /* index in the batch of its first job */
    bool lone;      /* a file with a single object */
};

struct chunk;

struct upload {
    struct rpc *rpc;
    char key[33];
    uint64_t count;                          /* of jobs added */
    struct chunk *pending;                   /* being filled */
    struct chunk *flight[UPLOAD_FLIGHT_MAX]; /* sent, unanswered, in order */
    size_t n_flight;
    bool resent;    /* the last chunk was sent more than once: its notifications may be lost */
    json_t *answer; /* to the last chunk */

    bool brief; /* those notifications need only have what a line shows */
    bool watch; /* ask for notifications, and give them to notify */
    int (*notify)(void *userdata, const struct rpc_message *m); /* < 0 ends the upload */
    void *userdata;

    /* The refusal that comes first in the order of the jobs; source NULL: none so far. */
    struct {
        const struct source *source;
        uint64_t offset; /* of the chunk */
        uint64_t where;  /* of the job, as it was added; 0: about no job */
        uint64_t index;  /* of the job in the batch */
        char text[1024];
    } refused;
};

/* Starts with a new key. -errno of getrandom(). */
int upload_init(struct upload *u, struct rpc *rpc);
void upload_done(struct upload *u);

/* Adds a job: n bytes of JSON without a newline. where says to the caller where it stands.
 * -EBADMSG: the daemon refused a job, see u->refused. -EREMOTEIO: another error of the daemon, in
 * rpc->error. Else the connection was lost for good, or -ENOMEM. */
int upload_add(struct upload *u, const struct source *source, const char *text, size_t n,
               uint64_t where);

/* Sends what is left, with the mark that it is the last, and waits for every answer. *ret is the
 * daemon's result, borrowed. Errors as above. At least one job must have been added. */
int upload_finish(struct upload *u, const json_t **ret);

/* After an error of the caller's own: waits for the answers to come, as one of them may be about an
 * earlier job. 0 or an error as above. */
int upload_settle(struct upload *u);

#endif
