#include "daemon/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-"
#define NAME_MAX_BYTES 64

bool credential_name_is_valid(const char *name) {
    size_t n = strspn(name, NAME_CHARS);

    return n > 0 && n <= NAME_MAX_BYTES && !name[n] && name[0] != '.';
}

void credential_done(struct credential *c) {
    if (c->text)
        explicit_bzero(c->text, c->size);
    free(c->text);
    *c = (struct credential){0};
}

static int refuse(char why[CREDENTIAL_WHY_MAX], const char *fmt, ...) _printf_(2, 3);
static int refuse(char why[CREDENTIAL_WHY_MAX], const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, CREDENTIAL_WHY_MAX, fmt, ap);
    va_end(ap);
    return -ENOKEY;
}

/* ---- the file ---- */

static int open_beneath(const char *dir, const char *name) {
    const struct open_how how = {
        .flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    _cleanup_close_ int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd;

    if (at < 0)
        return -errno;
    fd = (int)syscall(SYS_openat2, at, name, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

/* Where it can't be opened. */
static int refuse_open(const char *dir, const char *name, int error, char why[CREDENTIAL_WHY_MAX]) {
    if (error == -ENOENT || error == -ENOTDIR)
        return refuse(why, "there is no credential %s in %.200s; put it there as a file", name,
                      dir);
    if (error == -ELOOP)
        return refuse(why,
                      "the credential %s in %.200s is a symbolic link; put the file itself there",
                      name, dir);
    if (error == -EACCES)
        return refuse(why,
                      "the credential %s in %.200s can't be read; give it to the group that dld "
                      "runs as, with mode 0640",
                      name, dir);
    return refuse(why, "the credential %s in %.200s can't be opened: %s", name, dir,
                  strerror(-error));
}

static int check_file(const struct stat *st, const char *dir, const char *name,
                      char why[CREDENTIAL_WHY_MAX]) {
    if (!S_ISREG(st->st_mode))
        return refuse(why, "the credential %s in %.200s is not a file", name, dir);
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return refuse(why,
                      "the credential %s in %.200s belongs to another user; give it to root, or to "
                      "the user that dld runs as",
                      name, dir);
    if (st->st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
        return refuse(
            why, "the credential %s in %.200s has mode %04o: %s; set its mode to 0600, or 0640",
            name, dir, st->st_mode & 07777u,
            st->st_mode & S_IROTH ? "everyone may read it" : "others may write it");
    if (st->st_size > (off_t)CREDENTIAL_MAX)
        return refuse(why, "the credential %s in %.200s is larger than %zu bytes", name, dir,
                      (size_t)CREDENTIAL_MAX);
    return 0;
}

/* All of it, but no more than fits. */
static ssize_t read_all(int fd, char *to, size_t max) {
    size_t n = 0;

    while (n < max) {
        ssize_t got = read(fd, to + n, max - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

int credential_read(const char *dir, const char *name, struct credential *ret,
                    char why[CREDENTIAL_WHY_MAX]) {
    _cleanup_(credential_done) struct credential c = {0};
    _cleanup_close_ int fd = dir ? open_beneath(dir, name) : -ENOENT;
    struct stat st;
    ssize_t n;
    int r;

    if (!dir)
        return refuse(why, "no directory of credentials is known; set [credentials] dir");
    if (fd < 0)
        return refuse_open(dir, name, fd, why);
    if (fstat(fd, &st) < 0)
        return refuse_open(dir, name, -errno, why);
    r = check_file(&st, dir, name, why);
    if (r < 0)
        return r;
    c.size = CREDENTIAL_MAX + 2;
    c.text = malloc(c.size);
    if (!c.text)
        return -ENOMEM;
    n = read_all(fd, c.text, CREDENTIAL_MAX + 1);
    if (n < 0)
        return refuse_open(dir, name, (int)n, why);
    if (n > (ssize_t)CREDENTIAL_MAX)
        return refuse(why, "the credential %s in %.200s is larger than %zu bytes", name, dir,
                      (size_t)CREDENTIAL_MAX);
    c.text[n] = '\0';
    if (strlen(c.text) != (size_t)n)
        return refuse(why, "the credential %s in %.200s has a NUL in it; it must be text", name,
                      dir);
    *ret = c;
    c = (struct credential){0};
    return 0;
}

/* ---- what is in it ---- */

/* Ends the text behind its first line. */
static void keep_first_line(struct credential *c) {
    c->text[strcspn(c->text, "\r\n")] = '\0';
}

static bool has_control_characters(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

int credential_password(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]) {
    char *colon;

    keep_first_line(c);
    colon = strchr(c->text, ':');
    if (!colon)
        return refuse(why, "the first line of the credential %s must be user:password", name);
    if (has_control_characters(c->text))
        return refuse(why, "the credential %s has control characters in its first line", name);
    *colon = '\0';
    if (strlen(c->text) > CREDENTIAL_USER_MAX || strlen(colon + 1) > CREDENTIAL_PASSWORD_MAX)
        return refuse(why,
                      "the credential %s is too long: a user has at most %d bytes, a password %d",
                      name, CREDENTIAL_USER_MAX, CREDENTIAL_PASSWORD_MAX);
    c->user = c->text;
    c->secret = colon + 1;
    return 0;
}

int credential_token(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]) {
    size_t n;

    keep_first_line(c);
    n = strspn(c->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/");
    if (n > 0)
        n += strspn(c->text + n, "=");
    if (n == 0 || c->text[n])
        return refuse(why,
                      "the first line of the credential %s must be a token: letters, digits and "
                      "-._~+/, with = at its end only, and no blanks",
                      name);
    if (n > CREDENTIAL_TOKEN_MAX)
        return refuse(why, "the token in the credential %s is longer than %d bytes", name,
                      CREDENTIAL_TOKEN_MAX);
    c->secret = c->text;
    return 0;
}

int credential_certificate(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]) {
    if (!strstr(c->text, "-----BEGIN CERTIFICATE-----"))
        return refuse(why, "the credential %s holds no certificate in PEM form", name);
    if (!strstr(c->text, "PRIVATE KEY-----"))
        return refuse(why,
                      "the credential %s holds no key; append it, in PEM form and without a "
                      "passphrase, to the certificate",
                      name);
    if (strstr(c->text, "ENCRYPTED"))
        return refuse(why, "the key in the credential %s has a passphrase; it must have none",
                      name);
    c->secret = c->text;
    return 0;
}

int credential_key(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]) {
    if (!strstr(c->text, "-----BEGIN ") || !strstr(c->text, "PRIVATE KEY-----"))
        return refuse(why, "the credential %s holds no private key (-----BEGIN ... PRIVATE KEY-----)",
                      name);
    if (strstr(c->text, "ENCRYPTED"))
        return refuse(why, "the key in the credential %s has a passphrase; it must have none",
                      name);
    c->secret = c->text;
    return 0;
}
