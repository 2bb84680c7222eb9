/*
 * ftp.h - FTP, FTPS and SFTP: what a handle is set to for them, and what their answers mean.
 *
 * Of FTP: the server never connects to us (EPSV, then PASV, whose address is not believed), files
 * come byte by byte (TYPE I) up to the end of the data connection, and over FTPS both connections
 * are TLS's or there is no transfer. Of SFTP: the host key is one that the configured known_hosts
 * file has, always.
 */
#ifndef DLD_WORKER_FTP_H
#define DLD_WORKER_FTP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"
#include "daemon/worker/address.h"
#include "daemon/worker/answer.h"
#include "daemon/worker/aside.h"

#define FTP_LINE_SHOWN 200

/* What the server said, all zero when a transfer starts but for size. */
struct ftp {
    unsigned n_lines;
    size_t n_bytes;
    int64_t size;                  /* by SIZE, -1: it hasn't said */
    int64_t opening;               /* by the reply to RETR, likewise */
    char line[FTP_LINE_SHOWN + 1]; /* the last one, printable */
};

void ftp_begin(struct ftp *f);

/* Takes in a line. NULL, or what is wrong with it: the end of a sentence that begins with the
 * server's name. */
const char *ftp_line(struct ftp *f, const char *line, size_t n);

/* Describes the transfer of the whole file in a new handle that request_init() has seen; own->easy
 * is that handle, and own gets what else must live as long. *ret_known is the number of host keys
 * known, where they matter. The first offset bytes are not asked for. False: it can't be done, as
 * the failure says. */
bool ftp_fill(struct aside_own *own, const struct wire_config *config, const struct wire_job *job,
              const struct address *address, uint64_t offset, int *ret_known,
              struct failure *ret_failure);

/* The same transfer once more, of the whole file. 0 or -ENOMEM. */
int ftp_fill_anew(CURL *easy, struct curl_slist *anew);

/* What to judge by besides the attempt. */
struct ftp_attempt {
    const struct ftp *ftp;
    const struct address *address;
    const char *known_hosts; /* the file's name */
    int known;               /* host keys, of this host */
    bool authenticated;      /* the job has a credential */
};

/* Sets *ret_failure where the attempt did not end in the whole file. */
void ftp_judge(const struct attempt *a, const struct ftp_attempt *f, struct failure *ret_failure);

#endif
