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
 */
#ifndef DLD_URL_H
#define DLD_URL_H

#include <stddef.h>
#include <stdint.h>

#define URL_MAX_LENGTH 16384 /* bytes of the canonical form */

struct url {
    char *text;     /* canonical form, owned */
    char *host_key; /* "host:port", lower case, port always there, IPv6 in brackets; owned */
    uint16_t port;  /* effective */
    /* views into text */
    const char *host; /* as in text: IPv6 keeps its brackets */
    size_t host_len;
    const char *path; /* starts with '/' */
    size_t path_len;  /* up to '?' or the end */
};

/* The sentence when the scheme is neither http nor https, for callers who would rather name it. */
extern const char url_scheme_unsupported[];

/* Parses s, which ends with a NUL. On success *ret is filled and url_done() frees it. On failure
 * returns -EINVAL (or -ENOMEM, *ret_why NULL) and puts in *ret_why a static sentence for a person
 * that says what is wrong and, where it helps, what to write instead; *ret_column is where in s
 * (bytes, from 1; 0: no one place). */
int url_parse(const char *s, struct url *ret, const char **ret_why, size_t *ret_column);
void url_done(struct url *u);

#endif
