/*
 * credentials.h - secrets that jobs name: files of one directory.
 *
 * A job holds the name only. The file is read when an attempt begins, so that a changed one counts
 * at once, and what was read is wiped when the attempt has been sent to its worker. It must be a
 * regular file (no link) of root's or of our own, that nobody else may write and not everybody may
 * read.
 *
 * What goes wrong is told in one sentence, which names the file and what to do about it, and never
 * holds anything of what is in it.
 */
#ifndef DLD_CREDENTIALS_H
#define DLD_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/util.h"

#define CREDENTIAL_MAX (48 * KIB)
#define CREDENTIAL_USER_MAX 255
#define CREDENTIAL_PASSWORD_MAX 4096
#define CREDENTIAL_TOKEN_MAX 8192
#define CREDENTIAL_WHY_MAX 512

/* 1 to 64 letters, digits and ._@-, no dot first. */
bool credential_name_is_valid(const char *name);

/* The content of a file; or what was made of it, which lies in the same memory. */
struct credential {
    char *text; /* owned; ends with a NUL that is not the file's, and has no other in it */
    size_t size;
    const char *user; /* views into text, NULL until it was made out */
    const char *secret;
};

/* Wipes and frees. */
void credential_done(struct credential *c);

/* Reads the file of that name beneath dir (NULL: there is none). 0; -ENOKEY with the sentence in
 * why when it can't be used, for whatever reason; -ENOMEM. */
int credential_read(const char *dir, const char *name, struct credential *ret,
                    char why[CREDENTIAL_WHY_MAX]);

/* These make out what is in one that was read, changing its text; name is for the sentence. 0 or
 * -ENOKEY, as above. */

/* The first line is "user:password". */
int credential_password(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]);

/* The first line is a token, whose characters are those of RFC 6750. */
int credential_token(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]);

/* There are a certificate and a key in PEM form. Whether they are good is for TLS to find. */
int credential_certificate(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]);

/* There is a private key, in OpenSSH's form or in PEM. */
int credential_key(struct credential *c, const char *name, char why[CREDENTIAL_WHY_MAX]);

/* A netrc file: the login and password of the first entry for this host, or, where may_default, of
 * `default`. 1; 0: it has none, user and secret stay NULL; -ENOKEY. */
int credential_netrc(struct credential *c, const char *name, const char *host, bool may_default,
                     char why[CREDENTIAL_WHY_MAX]);

#endif
