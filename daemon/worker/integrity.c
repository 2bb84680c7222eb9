#include "daemon/worker/integrity.h"

#include <stdio.h>
#include <string.h>

#define SHOWN 6 /* bytes of a digest in a message */
#define BASE64_MAX 88

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool read_hex(const char *s, size_t n, uint8_t *ret) {
    if (strlen(s) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(s[2 * i]), low = hex_value(s[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Exactly n bytes in base64 with its padding. */
static bool read_base64(const char *s, size_t len, uint8_t *ret, size_t n) {
    uint8_t decoded[BASE64_MAX];
    size_t padding = (3 - n % 3) % 3;

    if (len != (n + 2) / 3 * 4 || len > BASE64_MAX || memchr(s, '=', len - padding))
        return false;
    for (size_t i = 0; i < padding; i++)
        if (s[len - 1 - i] != '=')
            return false;
    if (EVP_DecodeBlock(decoded, (const unsigned char *)s, (int)len) < (int)n)
        return false;
    memcpy(ret, decoded, n);
    return true;
}

void integrity_begin(struct integrity *in, const char *checksum, const char *record) {
    size_t n = checksum ? strcspn(checksum, ":") : 0;
    enum digest_kind kind = checksum ? digest_kind_of(checksum, n) : DIGEST_KINDS;

    memset(in, 0, sizeof(*in));
    in->job_kind = kind;
    in->reported = record ? digest_kind_of(record, strlen(record)) : kind;
    if (in->reported < DIGEST_KINDS)
        in->kinds |= DIGEST_BIT(in->reported);
    if (kind == DIGEST_KINDS)
        return;
    in->kinds |= DIGEST_BIT(kind);
    in->job.given =
        checksum[n] == ':' && read_hex(checksum + n + 1, digest_size(kind), in->job.bytes);
}

static void promise(struct integrity *in, enum digest_kind kind, const char *s, size_t len) {
    if (!read_base64(s, len, in->server[kind].bytes, digest_size(kind)))
        return;
    in->server[kind].given = true;
    in->kinds |= DIGEST_BIT(kind);
}

/* One of "sha-256=:BASE64:" and "sha-256=BASE64". Parameters may follow the first form. */
static void read_member(struct integrity *in, const char *s, size_t n, bool colons) {
    const char *equals = memchr(s, '=', n), *value, *end = s + n;
    enum digest_kind kind;

    if (!equals)
        return;
    kind = digest_kind_of(s, (size_t)(equals - s));
    if (kind != DIGEST_SHA256 && kind != DIGEST_SHA512)
        return;
    value = equals + 1;
    if (colons) {
        if (value == end || *value++ != ':')
            return;
        end = memchr(value, ':', (size_t)(end - value));
        if (!end)
            return;
    }
    promise(in, kind, value, (size_t)(end - value));
}

static void read_list(struct integrity *in, const char *value, bool colons) {
    for (;;) {
        size_t n;

        value += strspn(value, ", \t");
        if (!*value)
            return;
        n = strcspn(value, ",");
        while (n > 0 && strchr(" \t", value[n - 1]))
            n--;
        read_member(in, value, n, colons);
        value += strcspn(value, ",");
    }
}

void integrity_field(struct integrity *in, const char *name, const char *value) {
    if (strcasecmp(name, "Repr-Digest") == 0 || strcasecmp(name, "Content-Digest") == 0)
        read_list(in, value, true);
    else if (strcasecmp(name, "Digest") == 0)
        read_list(in, value, false);
    else if (strcasecmp(name, "Content-MD5") == 0)
        promise(in, DIGEST_MD5, value, strlen(value));
}

static bool holds(const struct integrity_promise *p, const struct digest_sums *sums,
                  enum digest_kind kind) {
    return sums->kinds & DIGEST_BIT(kind) &&
           memcmp(p->bytes, sums->bytes[kind], digest_size(kind)) == 0;
}

static void show(const uint8_t *bytes, char *ret) {
    for (size_t i = 0; i < SHOWN; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

static void fail(const struct integrity_promise *p, const struct digest_sums *sums,
                 enum digest_kind kind, const char *who, struct failure *f) {
    char wanted[2 * SHOWN + 1], is[2 * SHOWN + 1];

    show(p->bytes, wanted);
    show(sums->bytes[kind], is);
    failure_set(f, ERR_CHECKSUM, "%s %s %s..., the bytes that came have %s...", who,
                digest_name(kind), wanted, is);
}

void integrity_judge(const struct integrity *in, const struct digest_sums *sums,
                     struct failure *f) {
    if (in->job.given && holds(&in->job, sums, in->job_kind))
        return;
    for (enum digest_kind kind = 0; kind < DIGEST_KINDS; kind++) {
        if (!in->server[kind].given || holds(&in->server[kind], sums, kind))
            continue;
        fail(&in->server[kind], sums, kind, "the server promised", f);
        f->transient = true;
        return;
    }
    if (in->job_kind < DIGEST_KINDS)
        fail(&in->job, sums, in->job_kind, "the job asks for", f);
}
