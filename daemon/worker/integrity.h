/*
 * integrity.h - what is known beforehand of a file's digests, and the verdict on those it has.
 *
 * The job's own word counts most: a file that has the checksum asked for is right, whatever the
 * server said of it. What the server promises counts where the job is silent, and tells a damaged
 * transfer (worth another attempt) from a file that is another one than the job expects.
 *
 * Nothing here touches a file; it may be used in any thread.
 */
#ifndef DLD_WORKER_INTEGRITY_H
#define DLD_WORKER_INTEGRITY_H

#include <stdbool.h>

#include "daemon/worker/digest.h"
#include "daemon/worker/failure.h"

struct integrity_promise {
    bool given;
    uint8_t bytes[DIGEST_BYTES_MAX];
};

struct integrity {
    unsigned kinds;            /* to be made of the file */
    enum digest_kind reported; /* in the result; DIGEST_KINDS: none */
    enum digest_kind job_kind; /* DIGEST_KINDS: the job asks for none */
    struct integrity_promise job, server[DIGEST_KINDS];
};

/* By the job's checksum ("sha-256:<hex>") and the algorithm that all files are to be recorded with;
 * both may be NULL. */
void integrity_begin(struct integrity *in, const char *checksum, const char *record);

/* Takes in a field of the answer: Repr-Digest or Content-Digest (RFC 9530: sha-256 and sha-512),
 * Digest (RFC 3230: the same two) or Content-MD5. What is malformed or of another algorithm is
 * passed over. */
void integrity_field(struct integrity *in, const char *name, const char *value);

/* Sets *ret_failure to ERR_CHECKSUM where a digest is wrong. */
void integrity_judge(const struct integrity *in, const struct digest_sums *sums,
                     struct failure *ret_failure);

#endif
