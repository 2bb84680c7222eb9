#include "daemon/worker/known_hosts.h"

#include <errno.h>
#include <fnmatch.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"

#define BLANKS " \t\r\n"
#define LINES_MAX 200000
#define LINE_MAX_BYTES (16 * KIB)
#define KEYS_MAX 32 /* of one host */
#define SALT_MAX 64

/* In this order; libssh2 1.10 proves RSA keys with SHA-1 alone, which servers have given up. */
static const char *const types[] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
                                    "ecdsa-sha2-nistp521", "ssh-rsa"};

struct key {
    const char *type; /* of the table above */
    char *blob;
    bool revoked;
};

struct keys {
    struct key list[KEYS_MAX];
    size_t n;
};

static void keys_done(struct keys *k) {
    while (k->n > 0)
        free(k->list[--k->n].blob);
}

static void fclosep(FILE **f) {
    if (*f)
        fclose(*f);
}

void known_hosts_name(const struct url *url, char *ret, size_t size) {
    bool bracketed = url->host[0] == '[';
    int n = (int)url->host_len - 2 * bracketed;
    const char *host = url->host + bracketed;

    if (url->port == 22)
        snprintf(ret, size, "%.*s", n, host);
    else
        snprintf(ret, size, "[%.*s]:%u", n, host, url->port);
}

/* Base64 of at most max bytes; their number, or -1. */
static int decode(const char *s, size_t n, unsigned char *ret, size_t max) {
    unsigned char bytes[SALT_MAX * 2];
    size_t padding = 0;
    int length;

    while (padding < n && s[n - 1 - padding] == '=')
        padding++;
    if (n == 0 || n % 4 != 0 || padding > 2 || n / 4 * 3 > sizeof(bytes))
        return -1;
    length = EVP_DecodeBlock(bytes, (const unsigned char *)s, (int)n);
    if (length < 0 || (size_t)length - padding > max)
        return -1;
    length -= (int)padding;
    memcpy(ret, bytes, (size_t)length);
    return length;
}

/* "|1|SALT|HMAC-SHA1 of the name" */
static bool matches_hash(const char *hashed, size_t n, const char *name) {
    unsigned char salt[SALT_MAX], wanted[SALT_MAX], made[EVP_MAX_MD_SIZE];
    const char *second = memchr(hashed + 3, '|', n - 3);
    unsigned size = 0;
    int salt_size, wanted_size;

    if (!second)
        return false;
    salt_size = decode(hashed + 3, (size_t)(second - hashed) - 3, salt, sizeof(salt));
    second++;
    wanted_size = decode(second, n - (size_t)(second - hashed), wanted, sizeof(wanted));
    return salt_size > 0 && wanted_size == 20 &&
           HMAC(EVP_sha1(), salt, salt_size, (const unsigned char *)name, strlen(name), made,
                &size) &&
           size == 20 && memcmp(made, wanted, size) == 0;
}

/* "[" stands for itself in OpenSSH's patterns. */
static bool matches_pattern(const char *pattern, const char *name) {
    _cleanup_free_ char *escaped = malloc(2 * strlen(pattern) + 1);
    char *to = escaped;

    if (!escaped)
        return false;
    for (; *pattern; pattern++) {
        if (*pattern == '[' || *pattern == ']' || *pattern == '\\')
            *to++ = '\\';
        *to++ = *pattern;
    }
    *to = '\0';
    return fnmatch(escaped, name, FNM_CASEFOLD) == 0;
}

/* names is a comma-separated list, which is taken apart. */
static bool matches(char *names, const char *name) {
    bool found = false;
    char *save = NULL;

    if (strncmp(names, "|1|", 3) == 0)
        return matches_hash(names, strlen(names), name);
    for (char *s = strtok_r(names, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
        if (*s == '!' && matches_pattern(s + 1, name))
            return false;
        found |= *s != '!' && matches_pattern(s, name);
    }
    return found;
}

static const char *find_type(const char *s) {
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (streq(types[i], s))
            return types[i];
    return NULL;
}

/* "[@MARK] NAMES TYPE KEY [comment]" */
static int take_line(struct keys *k, char *line, const char *name) {
    char *save = NULL, *word = strtok_r(line, BLANKS, &save), *names, *blob;
    bool revoked = word && streq(word, "@revoked");
    const char *type;

    if (!word || *word == '#' || (*word == '@' && !revoked))
        return 0;
    names = revoked ? strtok_r(NULL, BLANKS, &save) : word;
    word = strtok_r(NULL, BLANKS, &save);
    blob = strtok_r(NULL, BLANKS, &save);
    type = word ? find_type(word) : NULL;
    if (!names || !type || !blob || k->n == KEYS_MAX || !matches(names, name))
        return 0;
    k->list[k->n].blob = strdup(blob);
    if (!k->list[k->n].blob)
        return -ENOMEM;
    k->list[k->n].type = type;
    k->list[k->n++].revoked = revoked;
    return 0;
}

static bool is_revoked(const struct keys *k, const struct key *key) {
    for (size_t i = 0; i < k->n; i++)
        if (k->list[i].revoked && streq(k->list[i].blob, key->blob))
            return true;
    return false;
}

static int write_keys(const struct keys *k, const char *name, FILE *to) {
    int written = 0;

    for (size_t t = 0; t < ELEMENTSOF(types); t++)
        for (size_t i = 0; i < k->n; i++) {
            const struct key *key = &k->list[i];

            if (key->type != types[t] || is_revoked(k, key))
                continue;
            if (fprintf(to, "%s %s %s\n", name, key->type, key->blob) < 0)
                return -EIO;
            written++;
        }
    return fflush(to) == 0 ? written : -EIO;
}

int known_hosts_pick(FILE *from, const char *name, FILE *to) {
    _cleanup_(keys_done) struct keys keys = {.n = 0};
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    int r = 0;

    for (unsigned i = 0; from && i < LINES_MAX && getline(&line, &size, from) > 0 && r == 0; i++)
        if (strlen(line) < LINE_MAX_BYTES)
            r = take_line(&keys, line, name);
    return r < 0 ? r : write_keys(&keys, name, to);
}

int known_hosts_open(const char *file, const char *name, int *ret_fd) {
    _cleanup_(fclosep) FILE *from = NULL;
    _cleanup_(fclosep) FILE *to = NULL;
    _cleanup_close_ int fd = memfd_create("known_hosts", MFD_CLOEXEC);
    struct stat st;
    int copy, r;

    if (fd < 0)
        return -errno;
    copy = dup(fd);
    to = copy < 0 ? NULL : fdopen(copy, "w");
    if (!to) {
        close_fd(copy);
        return -ENOMEM;
    }
    /* Not a pipe, which would have us wait. */
    if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
        from = fopen(file, "re");
    r = known_hosts_pick(from, name, to);
    if (r >= 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}
