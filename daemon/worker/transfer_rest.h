/*
 * transfer_rest.h - what a transfer does with the first bytes of a file that an earlier attempt
 * left, and with what it leaves itself. Private to transfer*.c.
 *
 * A transfer with offset > 0 has asked for the rest. The answer is the rest, as it was asked for
 * (206), the whole file (200), which then replaces what was there, or something that is no file.
 */
#ifndef DLD_WORKER_TRANSFER_REST_H
#define DLD_WORKER_TRANSFER_REST_H

#include "daemon/worker/address.h"
#include "daemon/worker/answer.h"
#include "daemon/worker/chunks.h"
#include "daemon/worker/decode.h"
#include "daemon/worker/excerpt.h"
#include "daemon/worker/ftp.h"
#include "daemon/worker/head.h"
#include "daemon/worker/remote.h"
#include "daemon/worker/request.h"
#include "daemon/worker/transfer.h"

struct transfer {
    const struct transfer_settings *settings;
    struct scoreboard_row *row;
    CURL *easy;
    struct request request;
    struct address address;
    struct sink sink;
    struct passage passage;
    struct digest digest; /* of what goes into it */
    struct task *task;    /* NULL: idle */
    struct line *line;    /* of the request that is outstanding; NULL: none known */
    bool used;            /* the handle, by an earlier task */
    bool stale;           /* what it knows of the last header is freed: see transfer_renew() */
    bool challenged;      /* it holds a nonce of the server that the last task asked */
    bool guarding;        /* the next line is looked at before curl takes it in */
    bool in_session;
    bool opened; /* a socket for this task */
    bool body_begun;                /* of the answer that is not a redirect */
    bool wanted;                    /* that body belongs in the file */
    struct head head;               /* of the last answer */
    struct chunks chunks;           /* of its body */
    struct excerpt excerpt;         /* of a body that doesn't */
    bool until_end;                 /* the body ends with its TLS connection, */
    bool tls_ended;                 /* which the server has ended */
    struct decoder decoder;         /* on while a coding is being undone */
    uint64_t coded;                 /* bytes that it took in */
    struct remote_base base;        /* with if_modified: what is there */
    uint64_t offset;                /* bytes of the file that an earlier attempt received */
    uint64_t rest;                  /* bytes that are to follow those */
    bool spoilt;                    /* what came is not worth keeping */
    bool versioned;                 /* task->version names what comes */
    bool said;                      /* what the first answer said is kept with the part */
    bool saving;                    /* transfer_saved() will follow */
    uint64_t saved, saved_usec;     /* bytes known to be durable, and since when */
    uint64_t discarded;             /* bytes of one that doesn't */
    struct throttled throttled;     /* by the limits that are for it */
    bool small_buffer;              /* the handle's was made smaller for this job */
    uint64_t shown_usec;            /* when the row was last updated */
    uint64_t mark_usec, mark_bytes; /* where the measuring of speed began */
    uint64_t saving_bytes;          /* that transfer_saved() will be about */
    uint64_t had;                   /* bytes behind offset that an earlier attempt received */
    uint64_t from, from_usec;       /* of one of several: where and when it began, */
    uint64_t heard_usec;            /* when bytes last came, */
    struct segments *segments;      /* and all that there are; NULL: it is the only one */
    struct transfer *lead;          /* that it works for; NULL: it is itself the first */
    char curl_text[CURL_ERROR_SIZE];

    /* Of FTP and SFTP. */
    struct aside *aside; /* which has the handle; NULL: it is in the session */
    struct ftp ftp;
    struct curl_slist *commands_anew; /* the aside's */
    int known;      /* host keys of the server */
    int64_t total;  /* of the whole file, -1: unknown */
    bool anew;      /* there is another version now: the whole is to be fetched */
    bool unchanged; /* the file that is there will do */
};

#define ROW_SET(row, field, value)                                                                 \
    atomic_store_explicit(&(row)->field, (value), memory_order_relaxed)

/* ---- transfer.c ---- */

/* Is the file, of which so many bytes are announced or there, more than the job allows, or another
 * than it asks for? The failure is set then; verb is for its message. */
bool transfer_too_large(struct transfer *t, uint64_t bytes, const char *verb);
bool transfer_wrong_size(struct transfer *t, uint64_t bytes, const char *verb);

/* Is the job's URL one of HTTP? */
bool transfer_is_http(const struct transfer *t);

/* Who has answered, or was to, for a message: see answer_where(). */
const char *transfer_where(const struct transfer *t);

/* Of the last answer, 0: none. */
long transfer_status(const struct transfer *t);

/* Is as much of the file there as was announced, though curl goes on waiting for more? Then it is
 * given up, and the code that comes of it means nothing. */
bool transfer_has_all(const struct transfer *t);

/* Before the first byte of a file that comes as a whole. Whether to go on. */
bool transfer_digest(struct transfer *t);

/* Bytes of the file. Whether to go on. */
bool transfer_take(struct transfer *t, const char *p, size_t n);

/* More bytes have come, and were counted: from time to time has them made durable, and shown. */
void transfer_show(struct transfer *t);

/* Whether a name may be looked up; the failure is set if not. */
bool transfer_may_look_up(struct transfer *t);

/* What there is to judge by. */
struct attempt transfer_attempt(struct transfer *t, CURLcode code);

/* ---- transfer_rest.c ---- */

/* Which server the last answer came from, by the URL that redirects led to. */
uint64_t rest_source(struct transfer *t);

/* It is not the job's own: that one has redirected. */
bool rest_is_elsewhere(struct transfer *t);

/* Before the request is filled: asks for the rest only, if the first part is there. 0 or -ENOMEM. */
int rest_ask(struct transfer *t);

/* The header of a 206 is complete, its Content-Length is length (-1: none). Whether to go on. */
bool rest_begin(struct transfer *t, int64_t length);

/* The server sends the file from its first byte, for it is another one now, or no parts are to be
 * had of it. Whether to go on. */
bool rest_begin_anew(struct transfer *t);

/* What an earlier attempt left is no use. */
void rest_forget(struct transfer *t);

/* What came, or was to come, is not what belongs behind the kept bytes. */
void rest_refuse(struct transfer *t, const char *why);

/* Of what version the file is, for task->version; false: it can't be told, or is not needed,
 * because so small a file (total bytes, -1: unknown) is not kept. */
bool rest_version(struct transfer *t, int64_t total);

/* More has come: has it made durable from time to time. */
void rest_save_if_due(struct transfer *t);

/* What an answer to a request for the rest may be besides the rest. True: all was there already. */
bool rest_judge(struct transfer *t, CURLcode code);

/* The rest is there. Digests of a file that came in parts are made when it is complete, by the
 * publisher. */
void rest_verify(struct transfer *t, struct task *task);

/* The part file after an attempt that failed or was given up: it is kept where the next one can go
 * on with it (again), untouched where nothing was added to it, and else removed. */
void rest_leave(struct transfer *t, bool again);

/* Is the file vouched for by the version that the server names, and could other connections fetch
 * parts of it? Called when the header of the first answer is complete: asks for them. */
void segments_want(struct transfer *t, int64_t total);

/* ---- transfer_rate.c: limits on its speed ---- */

/* Before the transfer starts: which limits are for it. 0 or -ENOMEM. */
int rate_begin(struct transfer *t);

/* The transfer is over, or was never started. */
void rate_end(struct transfer *t);

/* So many bytes of the body are here. True: they are paid for and to be taken; false: the transfer
 * is to be paused, and goes on in time. */
bool rate_admits(struct transfer *t, size_t bytes);

/* ---- transfer_remote.c: what the server says of the file besides its bytes ---- */

/* With if_modified: looks at the file that is there, if it can be the one asked for. */
void remote_look(struct transfer *t);

/* The same, before the request is filled: asks for the file only if it differs from the one
 * that is there. 0 or -ENOMEM. */
int remote_ask(struct transfer *t);

/* The header of a 3xx is complete. Whether to go on. */
bool remote_redirects(struct transfer *t);

/* A 304 that was asked for: the file that is there is the one, if it still is. */
bool remote_unchanged(struct transfer *t, CURLcode code);

/* Gives the parcel the time, version and name that the server gave, as far as the job wants them. 0 or -ENOMEM. */
int remote_adorn(struct transfer *t);

/* ---- transfer_ftp.c: FTP, FTPS and SFTP ---- */

/* Begins, aside from the session. 0, or a negative errno where nothing was begun. */
int ftp_start(struct transfer *t);

/* It has ended: sets the failure if the file is not complete. */
void ftp_end(struct transfer *t, CURLcode code);

/* Lets go of it, and with abandon before it has ended. The handle is cleaned up where it is. */
void ftp_leave(struct transfer *t, bool abandon);

/* Gives the parcel the time that the server gave, as far as the job wants it. */
void ftp_adorn(struct transfer *t);

#endif
