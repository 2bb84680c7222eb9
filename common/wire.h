/*
 * wire.h - the messages between master and worker.
 *
 * A packet is one SEQPACKET datagram of at most WIRE_PACKET_MAX bytes: records, each of them u8
 * type, u32 length, payload. Numbers are in the machine's byte order (both ends run on it). A
 * string is u32 length, bytes, NUL; none contains a NUL. A record must be used up to its last byte.
 * WIRE_VERSION changes with any of this, and both ends say theirs in HELLO, which comes first and
 * whose layout never changes.
 *
 * Decoders return 0, or -EBADMSG for a record that is truncated, has bytes left over or a value out
 * of its range; nothing decoded may be used then. Strings decoded are views into the packet.
 * Encoders return 0, -EMSGSIZE when the record would exceed WIRE_RECORD_MAX, or -ENOMEM.
 */
#ifndef DLD_WIRE_H
#define DLD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define WIRE_VERSION 6
#define WIRE_PACKET_MAX (128 * KIB)
#define WIRE_RECORD_MAX (120 * KIB)
#define WIRE_HEADERS_MAX 100

/* Descriptors that a worker finds open when it starts, besides 0 to 2. */
enum {
    WORKER_FD_CHANNEL = 3,    /* its end of the socketpair */
    WORKER_FD_SCOREBOARD = 4, /* memfd, see scoreboard.h */
    WORKER_FD_ROOT = 5,       /* the output root, O_PATH | O_DIRECTORY */
    WORKER_FD_LOCK = 6,       /* the state directory's lock: held while any worker lives */
    WORKER_FD_RATES = 7,      /* memfd, see ratelimit.h */
    WORKER_FD_MAX_ = 8
};

enum wire_type {
    WIRE_HELLO = 1,  /* both ways, first; a worker's comes when it is configured and can work */
    WIRE_CONFIG = 2, /* to the worker, second, once */
    WIRE_JOB = 3,    /* to the worker: fetch this */
    WIRE_CANCEL =
        4, /* to the worker: drop this job, answer with a RESULT (CANCELLED, or what it came to) */
    WIRE_RELEASE = 11, /* to the worker: give up this job, keep what it has of the file; answer with a
                          RESULT (RELEASED, or what it came to) */
    WIRE_STOP = 5,    /* to the worker: give up all jobs (RESULT RELEASED each), then exit with 0 */
    WIRE_FETCHED = 6, /* from the worker: the transfer is over, slot free; the RESULT follows */
    WIRE_CHECKPOINT = 8, /* from the worker: so much of a transfer that runs is on disk */
    WIRE_RESULT = 7,     /* from the worker: the job is out of its hands */
    WIRE_DISCARD = 9,    /* to the worker: remove the part file of a job that nobody has */
    WIRE_DISCARDED = 10, /* from the worker: it is not there any more */
    WIRE_RATE = 12,      /* to the worker: the job's own rate limit from now on */
    WIRE_WIDEN = 13,     /* from the worker: the file is large, may so many more connections be used? */
    WIRE_WIDENED = 14,   /* to the worker: these, which count as their hosts' until the job has ended */
    WIRE_DRAIN = 16,     /* to the worker: give up jobs that are not begun (RESULT RELEASED each), go
                            on with the others, then exit with 0; STOP may follow */
    WIRE_MAX_
};

struct wire_hello {
    uint32_t wire_version;
    const char *program_version;
};

enum fsync_mode { FSYNC_BATCH, FSYNC_ALWAYS, FSYNC_NEVER, FSYNC_MAX_ };

struct wire_config {
    uint32_t worker;    /* this worker's number, from 1 */
    uint32_t transfers; /* slots */
    uint8_t fsync;      /* enum fsync_mode */
    uint64_t sync_interval_usec;
    uint64_t connect_timeout_usec;
    uint64_t low_speed_limit; /* bytes a second */
    uint64_t low_speed_time_usec;
    uint32_t max_redirects;
    uint32_t file_mode, dir_mode;
    const char *store_id;    /* 32 hex digits: marks published files as this queue's */
    uint64_t min_free_space; /* bytes to leave free where the output is, 0: none */
    const char *digest;      /* recorded for every file ("sha-256"), NULL: where a job asks */
    const char *ca_file;     /* certificates to trust, NULL: the system's */
    const char *schemes;     /* allowed ones, separated by spaces: "http https" */
    const char *deny;        /* CIDR networks, separated by spaces: not to be connected to, */
    const char *allow;       /* but for these; both may be "" */
    const char *proxy;       /* its URL, for all jobs, NULL: none */
    const char *known_hosts; /* the file of host keys, for sftp */
    uint64_t segment_min;    /* bytes: a smaller file is fetched over one connection */
    uint32_t connections;    /* for one file, of a job that doesn't say */
};

/* What of a file is on disk already: its first bytes, ranges behind them, and how the server named
 * their version. */
struct wire_kept {
    uint64_t offset;           /* bytes known to be durable in the part file, 0: nothing is kept */
    int64_t total;             /* of the whole file as the server announced it, -1 unknown */
    const char *etag;          /* as the field came (RFC 9110 section 8.8.3), NULL: none */
    const char *last_modified; /* likewise */
    uint64_t file;             /* part_mark() of the part file */
    uint64_t source;           /* rest_source() of the server that sent them */
    const char *ranges;        /* behind offset (ranges.h), NULL: none; not with an offset of 0 */
};

struct wire_discard {
    int64_t id;
    const char *output; /* path beneath the root, as in the job */
};

struct wire_rate {
    int64_t id;
    uint64_t rate; /* bytes a second, 0: none */
};

/* What the server came to, as in the RESULT that follows. */
struct wire_fetched {
    int64_t id;
    uint8_t error;
    bool elsewhere;
    uint32_t http_status;
    uint64_t bytes;
    uint64_t retry_after_usec;
};

struct wire_widen {
    int64_t id;
    uint32_t n; /* connections besides the first */
};

#define WIRE_MIRRORS_MAX 4

struct wire_widened {
    int64_t id;
    uint32_t n; /* connections besides the first, for the job's own URL */
    uint32_t n_mirrors;
    struct wire_mirror {
        const char *url; /* of the same file, canonical; nothing that shows who asks is for it */
        uint32_t n;      /* connections */
    } mirrors[WIRE_MIRRORS_MAX];
};

struct wire_checkpoint {
    int64_t id;
    struct wire_kept kept;
};

/* How a job shows who it is. */
enum wire_auth {
    WIRE_AUTH_NONE = 0,
    WIRE_AUTH_BASIC = 1,  /* user and secret, the password */
    WIRE_AUTH_DIGEST = 2, /* likewise */
    WIRE_AUTH_BEARER = 3, /* secret, the token */
    WIRE_AUTH_KEY = 4,    /* user and secret, a private key for sftp */
    WIRE_AUTH_MAX_
};

struct wire_job {
    int64_t id;
    uint32_t attempt;          /* from 1 */
    uint8_t on_conflict;       /* enum on_conflict */
    bool maybe_published;      /* an earlier attempt may have published it without being recorded */
    uint64_t max_size;         /* bytes, 0: no limit */
    uint64_t timeout_usec;     /* for this attempt, 0: none */
    uint64_t deadline_usec;    /* CLOCK_REALTIME; no attempt goes on behind it, 0: none */
    uint64_t rate;             /* bytes a second for this job alone, 0: no such limit */
    uint32_t host_bucket;      /* that of its host's limit (ratelimit.h), 0: none */
    const char *url;           /* canonical */
    const char *output;        /* path beneath the root */
    const char *user_agent;    /* NULL: dld's own */
    const char *referer;       /* NULL: none */
    int64_t size;              /* exact size of the file, -1: any */
    uint64_t max_decoded_size; /* bytes, 0: no limit */
    const char *checksum;      /* "sha-256:<hex>", NULL: none */
    bool content_disposition;  /* the server may name the file */
    bool if_modified;          /* fetch only what differs from the file that is there */
    bool remote_time;          /* the file's mtime is Last-Modified */
    bool compressed;           /* ask for a content coding and undo it */
    uint32_t connections;      /* for this file at most, 0: as configured */
    struct wire_kept kept;     /* of an earlier attempt */
    uint8_t auth;              /* enum wire_auth; what goes with it is for the URL's origin alone */
    const char *user;          /* of auth, NULL: none */
    const char *secret;        /* of auth, NULL: none */
    const char *certificate;   /* PEM: the client's, with its chain and its key, NULL: none */
    const char *proxy;         /* its URL, "": none, NULL: that of the configuration */
    const char *proxy_user;    /* for whichever proxy it is, NULL: none */
    const char *proxy_secret;  /* its password, NULL: none */
    uint32_t n_headers;
    const char *headers[WIRE_HEADERS_MAX]; /* "Name: value" */
};

enum wire_outcome {
    OUTCOME_DONE = 0,      /* published (and durable, as fsync says) */
    OUTCOME_FAILED = 1,    /* error tells */
    OUTCOME_CANCELLED = 2, /* as asked by CANCEL */
    OUTCOME_RELEASED = 3,  /* not tried, or given up on STOP: queue it again, no attempt counted */
    OUTCOME_MAX_
};

struct wire_result {
    int64_t id;
    uint8_t outcome;           /* enum wire_outcome */
    uint8_t error;             /* enum dld_error, ERR_NONE unless FAILED */
    bool transient;            /* FAILED: worth another attempt */
    bool elsewhere;            /* FAILED: at a server to which the job's own had redirected */
    bool skipped;              /* DONE: the file was there and on_conflict is skip */
    bool not_modified;         /* DONE: the file that is there is what the server has (304) */
    uint32_t http_status;      /* 0: none */
    uint64_t bytes;            /* of body received */
    int64_t size;              /* of the file as announced or published, -1 unknown */
    uint64_t started_usec;     /* CLOCK_REALTIME, when the transfer began */
    uint64_t retry_after_usec; /* what the server asked to wait, 0: nothing */
    const char *output;        /* DONE: path beneath the root; else NULL */
    const char *message;       /* FAILED: a sentence of this case; else NULL */
    const char *effective_url; /* NULL where it is the job's */
    const char *content_type;  /* NULL: none */
    const char *digest;        /* DONE: "sha-256:<hex>" of the file, NULL: none was made */
    const char *body;          /* FAILED: how an error answer's body begins, printable; or NULL */
    struct wire_kept kept;     /* not DONE: of the part file that was left */
};

/* Append one record to b. NULL strings are carried as NULL. */
int wire_put_hello(struct buf *b, const struct wire_hello *m);
int wire_put_config(struct buf *b, const struct wire_config *m);
int wire_put_job(struct buf *b, const struct wire_job *m);
int wire_put_cancel(struct buf *b, int64_t id);
int wire_put_discard(struct buf *b, const struct wire_discard *m);
int wire_put_discarded(struct buf *b, int64_t id);
int wire_put_release(struct buf *b, int64_t id);
int wire_put_rate(struct buf *b, const struct wire_rate *m);
int wire_put_widen(struct buf *b, const struct wire_widen *m);
int wire_put_widened(struct buf *b, const struct wire_widened *m);
int wire_put_stop(struct buf *b);
int wire_put_drain(struct buf *b);
int wire_put_fetched(struct buf *b, const struct wire_fetched *m);
int wire_put_checkpoint(struct buf *b, const struct wire_checkpoint *m);
int wire_put_result(struct buf *b, const struct wire_result *m);

/* Decode the payload of one record. */
int wire_get_hello(const void *p, size_t n, struct wire_hello *ret);
int wire_get_config(const void *p, size_t n, struct wire_config *ret);
int wire_get_job(const void *p, size_t n, struct wire_job *ret);
int wire_get_id(const void *p, size_t n, int64_t *ret); /* CANCEL, RELEASE, DISCARDED */
int wire_get_rate(const void *p, size_t n, struct wire_rate *ret);
int wire_get_widen(const void *p, size_t n, struct wire_widen *ret);
int wire_get_widened(const void *p, size_t n, struct wire_widened *ret);
int wire_get_empty(const void *p, size_t n);            /* STOP, DRAIN */
int wire_get_discard(const void *p, size_t n, struct wire_discard *ret);
int wire_get_fetched(const void *p, size_t n, struct wire_fetched *ret);
int wire_get_checkpoint(const void *p, size_t n, struct wire_checkpoint *ret);
int wire_get_result(const void *p, size_t n, struct wire_result *ret);

/* Splits a packet: the record at *pos, which is advanced. 1: there was one; 0: the end; -EBADMSG.
 */
int wire_next(const void *packet, size_t n, size_t *pos, uint8_t *ret_type,
              const void **ret_payload, size_t *ret_len);

#endif
