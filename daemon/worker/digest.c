#include "daemon/worker/digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

#define READ_AT_ONCE (256 * KIB)

static const struct {
    const char *name;
    size_t size;
    const EVP_MD *(*algorithm)(void);
} kinds_table[DIGEST_KINDS] = {
    [DIGEST_SHA256] = {"sha-256", 32, EVP_sha256},
    [DIGEST_SHA512] = {"sha-512", 64, EVP_sha512},
    [DIGEST_SHA1] = {"sha-1", 20, EVP_sha1},
    [DIGEST_MD5] = {"md5", 16, EVP_md5},
};

enum digest_kind digest_kind_of(const char *name, size_t n) {
    enum digest_kind kind = 0;

    while (kind < DIGEST_KINDS && (strlen(kinds_table[kind].name) != n ||
                                   strncasecmp(kinds_table[kind].name, name, n) != 0))
        kind++;
    return kind;
}

const char *digest_name(enum digest_kind kind) {
    return kinds_table[kind].name;
}

size_t digest_size(enum digest_kind kind) {
    return kinds_table[kind].size;
}

int digest_begin(struct digest *d, unsigned kinds) {
    d->kinds = 0;
    for (enum digest_kind kind = 0; kind < DIGEST_KINDS; kind++) {
        if (!(kinds & DIGEST_BIT(kind)))
            continue;
        if (!d->contexts[kind] && !(d->contexts[kind] = EVP_MD_CTX_new()))
            return -ENOMEM;
        /* Also refused where the machine's policy doesn't allow the algorithm. */
        if (EVP_DigestInit_ex(d->contexts[kind], kinds_table[kind].algorithm(), NULL) != 1)
            return -EOPNOTSUPP;
    }
    d->kinds = kinds;
    return 0;
}

int digest_add(struct digest *d, const void *p, size_t n) {
    for (enum digest_kind kind = 0; d->kinds >> kind; kind++)
        if (d->kinds & DIGEST_BIT(kind) && EVP_DigestUpdate(d->contexts[kind], p, n) != 1)
            return -EIO;
    return 0;
}

int digest_end(struct digest *d, struct digest_sums *ret) {
    unsigned kinds = d->kinds;

    ret->kinds = 0;
    d->kinds = 0;
    for (enum digest_kind kind = 0; kinds >> kind; kind++)
        if (kinds & DIGEST_BIT(kind) &&
            EVP_DigestFinal_ex(d->contexts[kind], ret->bytes[kind], NULL) != 1)
            return -EIO;
    ret->kinds = kinds;
    return 0;
}

void digest_done(struct digest *d) {
    for (enum digest_kind kind = 0; kind < DIGEST_KINDS; kind++)
        EVP_MD_CTX_free(TAKE_PTR(d->contexts[kind]));
    d->kinds = 0;
}

int digest_add_file(struct digest *d, int fd, uint64_t from) {
    _cleanup_free_ char *buffer = malloc(READ_AT_ONCE);
    off_t at = (off_t)from;

    if (!buffer)
        return -ENOMEM;
    for (;;) {
        ssize_t n = pread(fd, buffer, READ_AT_ONCE, at);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        r = digest_add(d, buffer, (size_t)n);
        if (r < 0)
            return r;
        at += n;
    }
}

int digest_file(int fd, unsigned kinds, struct digest_sums *ret) {
    struct digest d = {.kinds = 0};
    int r = digest_begin(&d, kinds);

    if (r == 0)
        r = digest_add_file(&d, fd, 0);
    if (r == 0)
        r = digest_end(&d, ret);
    digest_done(&d);
    return r;
}

void digest_text(const struct digest_sums *sums, enum digest_kind kind, char *ret) {
    int n = snprintf(ret, DIGEST_TEXT_MAX, "%s:", kinds_table[kind].name);

    for (size_t i = 0; i < kinds_table[kind].size; i++)
        n += snprintf(ret + n, (size_t)(DIGEST_TEXT_MAX - n), "%02x", sums->bytes[kind][i]);
}
