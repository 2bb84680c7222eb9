/*
 * url.h - URLs parsed once, strictly (RFC 3986), into a canonical form.
 *
 * The canonical form is what is stored and sent to workers: scheme and host in lower case, default
 * port left out, dot segments removed (section 5.2.4), fragment dropped, "/" for an empty path. In
 * path and query, bytes that RFC 3986 doesn't allow there but people paste all the same (UTF-8 as
 * in RFC 3987, and space " < > [ ] ^ ` { | }) are percent-encoded as browsers do it. Everything
 * that two parsers could read differently is refused: control characters, backslashes, a '%'
 * without two hex digits, user names and passwords, odd host names, ports out of range.
 *
 * A host is an IPv6 address in brackets (written as inet_ntop() does, no zone), an IPv4 address of
 * four decimal numbers, or a name of at most 253 bytes: labels of 1 to 63 letters, digits, '-' and
 * '_'. A last label that is a number (also 0x...) makes the whole an IPv4 address, so that "0x7f.1"
 * and "127.1" are refused. A dot at the end of the name is refused too, for it would make two hosts
 * of one; so is percent-encoding in it. "%2e" counts as a dot in dot segments. A port may have
 * leading zeros, and may be empty, which is the default one.
 *
 * With ftp, ftps and sftp the path must name a file: it doesn't end in '/', and nothing in it
 * decodes to a control character, which would be a command of its own to an FTP server. There is no
 * query. ";type=i" (RFC 1738 section 3.2.2) at its end is dropped and any other type refused.
 */
#ifndef DLD_URL_H
#define DLD_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URL_MAX_LENGTH 16384 /* bytes of the canonical form */

/* All that there are, for sentences. */
#define URL_SCHEMES "http, https, ftp, ftps or sftp"

enum url_scheme { URL_HTTP, URL_HTTPS, URL_FTP, URL_FTPS, URL_SFTP };

/* As in a URL, in lower case. */
const char *url_scheme_name(enum url_scheme scheme);

/* The scheme of these n bytes, in whatever case. False: there is none of that name. */
bool url_scheme_find(const char *s, size_t n, enum url_scheme *ret);

/* http or https? */
bool url_scheme_is_web(enum url_scheme scheme);

struct url {
    char *text;     /* canonical form, owned */
    char *host_key; /* "host:port", lower case, port always there, IPv6 in brackets; owned */
    uint16_t port;  /* effective */
    enum url_scheme scheme;
    /* views into text */
    const char *host; /* as in text: IPv6 keeps its brackets */
    size_t host_len;
    const char *path; /* starts with '/' */
    size_t path_len;  /* up to '?' or the end */
};

/* The sentence when the scheme is none of these, for callers who would rather name it. */
extern const char url_scheme_unsupported[];

/* Parses s, which ends with a NUL. On success *ret is filled and url_done() frees it. On failure
 * returns -EINVAL (or -ENOMEM, *ret_why NULL) and puts in *ret_why a static sentence for a person
 * that says what is wrong and, where it helps, what to write instead; *ret_column is where in s
 * (bytes, from 1; 0: no one place). */
int url_parse(const char *s, struct url *ret, const char **ret_why, size_t *ret_column);
void url_done(struct url *u);

#endif
