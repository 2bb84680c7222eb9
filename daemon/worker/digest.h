/*
 * digest.h - digests of a file's bytes, several kinds at once (libcrypto).
 *
 * Kinds are asked for as a set of bits, DIGEST_BIT(kind) each. Functions return 0 or a negative
 * errno.
 */
#ifndef DLD_WORKER_DIGEST_H
#define DLD_WORKER_DIGEST_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

enum digest_kind { DIGEST_SHA256, DIGEST_SHA512, DIGEST_SHA1, DIGEST_MD5, DIGEST_KINDS };

#define DIGEST_BIT(kind) (1u << (kind))
#define DIGEST_BYTES_MAX 64
#define DIGEST_TEXT_MAX 144 /* "sha-512:", 128 digits, NUL */

/* What was made of the bytes. */
struct digest_sums {
    unsigned kinds;                                /* those that are there */
    uint8_t bytes[DIGEST_KINDS][DIGEST_BYTES_MAX]; /* by kind, digest_size() of each count */
};

/* While bytes come in. All zero: idle. Its contexts are kept from one use to the next. */
struct digest {
    unsigned kinds;
    EVP_MD_CTX *contexts[DIGEST_KINDS];
};

/* "sha-256", "sha-512", "sha-1" or "md5" in n bytes, in any case; DIGEST_KINDS for all else. */
enum digest_kind digest_kind_of(const char *name, size_t n);
const char *digest_name(enum digest_kind kind);
size_t digest_size(enum digest_kind kind);

/* Starts over with these kinds; with none, the other calls do nothing. */
int digest_begin(struct digest *d, unsigned kinds);
int digest_add(struct digest *d, const void *p, size_t n);
int digest_end(struct digest *d, struct digest_sums *ret);

/* Frees the contexts. */
void digest_done(struct digest *d);

/* Adds a file's bytes from that one to its end. Blocks on the disk. */
int digest_add_file(struct digest *d, int fd, uint64_t from);

/* Reads a file from its first byte to its end. Blocks on the disk. */
int digest_file(int fd, unsigned kinds, struct digest_sums *ret);

/* "sha-256:<hex>" into DIGEST_TEXT_MAX bytes. The kind must be there. */
void digest_text(const struct digest_sums *sums, enum digest_kind kind, char *ret);

#endif
