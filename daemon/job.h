/*
 * job.h - a job: what was asked, where it stands, how it ended.
 */
#ifndef DLD_JOB_H
#define DLD_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/errors.h"
#include "common/naming.h"

/* Numbers are kept in the store: append, never renumber. */
enum job_state {
    JOB_QUEUED = 0,  /* may start; in the store also while it is active */
    JOB_WAITING = 1, /* for its due time: after a failed attempt, or not_before */
    JOB_PAUSED = 2,  /* until someone resumes it */
    JOB_ACTIVE = 3,  /* with a worker; never in the store, so that a restart queues it by itself */
    JOB_DONE = 4,
    JOB_FAILED = 5,
    JOB_CANCELLED = 6,
    JOB_STAGED = 7, /* its batch is not complete, or is being made visible; shown as queued */
    JOB_STATE_MAX_ = 8
};

/* STAGED goes by the name of QUEUED, so that job_state_parse() never gives STAGED. NULL for a
 * number that is no state. */
const char *job_state_name(enum job_state s);
int job_state_parse(const char *s, enum job_state *ret); /* -EINVAL */

/* The one table of legal transitions. QUEUED may go to FAILED: a job that can't even be started. */
bool job_state_may(enum job_state from, enum job_state to);

/* done, failed, cancelled */
bool job_state_ended(enum job_state s);

/* How an attempt went. */
struct job_result {
    unsigned http_status; /* 0: none */
    uint64_t bytes;       /* of body received */
    int64_t size;         /* of the file, -1 unknown */
    unsigned error;       /* enum dld_error */
    unsigned worker;      /* its number, 0: none */
    bool skipped;         /* on_conflict = skip and the file was there */
    uint64_t started;     /* usec since the epoch, 0: never */
    uint64_t finished;    /* likewise */
    char *output;         /* path beneath the root; owned, as all here; NULL unless published */
    char *message;        /* of the error */
    char *effective_url;
    char *content_type;
    char *digest;      /* "sha-256:<hex>" of the file */
    char *answer;      /* how the body of an error answer began, printable */
    bool not_modified; /* the file that was there is what the server has */
};
void job_result_done(struct job_result *r);

/* What of the file is on disk already: bytes of a part file, and how the server named their
 * version. */
struct job_kept {
    uint64_t offset;     /* bytes known to be durable, 0: nothing is kept */
    int64_t total;       /* of the whole file as announced, -1 unknown */
    char *etag;          /* as the field came, NULL: none; owned */
    char *last_modified; /* likewise */
    uint64_t file;       /* which file they are in, as in struct wire_kept */
    uint64_t source;     /* which server they are from, likewise */
    char *ranges;        /* durable behind offset (ranges.h), NULL: none; owned */
    bool leftover;       /* offset is 0, and yet there may be a part file, which is of no use */
};
void job_kept_done(struct job_kept *k);

/* So many bytes. */
uint64_t job_kept_bytes(const struct job_kept *k);

/* There is a part file, or may be one. */
bool job_kept_any(const struct job_kept *k);

/* What is kept, if anything, is of no use any more: its part file is a leftover. */
void job_kept_drop(struct job_kept *k);

#define JOB_URLS_MAX 16

/* A row of the store. */
struct job {
    int64_t id;
    int64_t batch;
    uint64_t index; /* in its batch, from 0 */
    enum job_state state;
    int64_t rank;      /* smaller starts earlier: creation usec less priority x JOB_PRIORITY_STEP */
    uint64_t due;      /* WAITING: usec since the epoch */
    unsigned attempts; /* begun, or ended if none runs */
    unsigned crashes;  /* of workers while they held it */
    unsigned stalls;   /* failures that count against `retries`: nothing was gained by them */
    unsigned blocked;  /* attempts that found no room on the disk; they don't count */
    unsigned spent;    /* bit i: mirror i of its spec failed for good */
    uint64_t mirror_due[JOB_URLS_MAX]; /* usec since the epoch: a mirror that asked for patience is
                                          not asked again before; 0: it did not */
    uint64_t created;  /* usec since the epoch */
    uint64_t rate_limit; /* bytes a second, 0: none of its own */
    int64_t lane;      /* the store's number, while it has not ended */
    char *url;         /* canonical; owned */
    char *host;        /* "host:port"; owned */
    char *body;        /* JSON object of the job's other keys, NULL: none; owned */
    struct job_result result;
    struct job_kept kept;
};

#define JOB_RETRY_ON_MAX 32
#define JOB_CONNECTIONS_MAX 16

#define JOB_PRIORITY_STEP                                                                          \
    (UINT64_C(60) * 1000000) /* one step of priority is worth a minute of age */

/* Frees the job; takes NULL, returns NULL. */
struct job *job_free(struct job *j);
static inline void job_freep(struct job **j) {
    *j = job_free(*j);
}
void job_free_many(struct job **jobs, size_t n); /* and the array */

/* How a job shows who it is. */
enum job_auth {
    JOB_AUTH_NONE,
    JOB_AUTH_BASIC,  /* the credential: "user:password" */
    JOB_AUTH_DIGEST, /* likewise */
    JOB_AUTH_BEARER, /* a token */
    JOB_AUTH_NETRC,  /* a netrc file */
    JOB_AUTH_KEY,    /* a private key, for sftp */
    JOB_AUTH_MAX_
};

/* NULL for JOB_AUTH_NONE and what is none; -EINVAL. */
const char *job_auth_name(enum job_auth a);
int job_auth_parse(const char *s, enum job_auth *ret);

/* As its rank says: what it was submitted with, or was given later. */
int job_priority(const struct job *j);

/* What was asked for, beyond the URL. */
struct job_spec {
    char *output; /* template; NULL: the name in the URL */
    enum on_conflict on_conflict;
    char *user_agent, *referer, *tag; /* NULL: not given */
    int priority;                     /* -100..100 */
    int retries;                      /* -1: as configured */
    uint64_t timeout_usec;            /* 0: none */
    uint64_t max_size;                /* bytes, 0: no limit */
    uint64_t max_decoded_size;        /* of the body after its coding; likewise */
    unsigned connections;             /* for the file at most, 0: as configured */
    int64_t size;                     /* exactly as many bytes, -1: not given */
    char *checksum;                   /* "sha-256:HEX", all lower case; also sha-512, sha-1, md5 */
    uint64_t deadline, not_before;    /* usec since the epoch, 0: none */
    bool content_disposition, if_modified, remote_time, compressed;
    enum job_auth auth;
    char *auth_user;          /* with JOB_AUTH_KEY, else NULL */
    char *credential;         /* the name of that of auth, NULL with JOB_AUTH_NONE only */
    char *client_certificate; /* the name of a credential, NULL: none */
    char *proxy;              /* URL, "none", or NULL: as configured */
    char *proxy_auth;         /* the name of a credential, NULL: none */
    size_t n_headers;
    char **headers; /* "Name: value" */
    size_t n_urls;  /* at most JOB_URLS_MAX; 0: only the job's own */
    char **urls;    /* mirrors, canonical, the preferred first, which is the job's own */
    size_t n_retry_on;
    uint16_t retry_on[JOB_RETRY_ON_MAX]; /* HTTP statuses */
};
#define JOB_SPEC_INIT                                                                              \
    (struct job_spec) {                                                                            \
        .retries = -1, .size = -1                                                                  \
    }
void job_spec_done(struct job_spec *s);

#endif
