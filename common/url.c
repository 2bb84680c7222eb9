#include "common/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"
#include "common/util.h"

const char url_scheme_unsupported[] = "the scheme is not supported; use " URL_SCHEMES;

static const struct {
    const char *name;
    unsigned port;
} schemes[] = {
    [URL_HTTP] = {"http", 80}, [URL_HTTPS] = {"https", 443}, [URL_FTP] = {"ftp", 21},
    [URL_FTPS] = {"ftps", 990}, [URL_SFTP] = {"sftp", 22},
};

#define HOST_MAX 253
#define LABEL_MAX 63

enum {
    HOST = 1,   /* in a host name */
    PATH = 2,   /* as it is in a path */
    QUERY = 4,  /* as it is in a query */
    ENCODE = 8, /* percent-encoded in both */
    HEX = 16,
    SCHEME = 32,
};

/* '%' is not there: it takes two hex digits with it. */
static const uint8_t classes[256] = {
    ['a' ... 'f'] = HOST | PATH | QUERY | SCHEME | HEX,
    ['g' ... 'z'] = HOST | PATH | QUERY | SCHEME,
    ['A' ... 'F'] = HOST | PATH | QUERY | SCHEME | HEX,
    ['G' ... 'Z'] = HOST | PATH | QUERY | SCHEME,
    ['0' ... '9'] = HOST | PATH | QUERY | SCHEME | HEX,
    ['-'] = HOST | PATH | QUERY | SCHEME,
    ['.'] = HOST | PATH | QUERY | SCHEME,
    ['+'] = PATH | QUERY | SCHEME,
    ['_'] = HOST | PATH | QUERY,
    ['~'] = PATH | QUERY,
    ['!'] = PATH | QUERY,
    ['$'] = PATH | QUERY,
    ['&'] = PATH | QUERY,
    ['\''] = PATH | QUERY,
    ['('] = PATH | QUERY,
    [')'] = PATH | QUERY,
    ['*'] = PATH | QUERY,
    [','] = PATH | QUERY,
    [';'] = PATH | QUERY,
    ['='] = PATH | QUERY,
    [':'] = PATH | QUERY,
    ['@'] = PATH | QUERY,
    ['/'] = QUERY,
    ['?'] = QUERY,
    [' '] = ENCODE,
    ['"'] = ENCODE,
    ['<'] = ENCODE,
    ['>'] = ENCODE,
    ['['] = ENCODE,
    [']'] = ENCODE,
    ['^'] = ENCODE,
    ['`'] = ENCODE,
    ['{'] = ENCODE,
    ['|'] = ENCODE,
    ['}'] = ENCODE,
    [0x80 ... 0xff] = ENCODE,
};

static bool is(char c, unsigned class) {
    return classes[(unsigned char)c] & class;
}

struct parse {
    const char *s;  /* all of the input */
    size_t encoded; /* bytes of it that may have to be percent-encoded */
    enum url_scheme scheme;
    unsigned port;
    char host[HOST_MAX + 1]; /* canonical */
    size_t host_len;
    char *text, *end, *limit; /* what is written, up to where, at most */
    const char *why;
    size_t column;
};

const char *url_scheme_name(enum url_scheme scheme) {
    return schemes[scheme].name;
}

bool url_scheme_find(const char *s, size_t n, enum url_scheme *ret) {
    for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
        if (strlen(schemes[i].name) == n && strncasecmp(schemes[i].name, s, n) == 0) {
            *ret = (enum url_scheme)i;
            return true;
        }
    return false;
}

bool url_scheme_is_web(enum url_scheme scheme) {
    return scheme == URL_HTTP || scheme == URL_HTTPS;
}

static int refuse(struct parse *p, const char *at, const char *why) {
    p->why = why;
    p->column = at ? (size_t)(at - p->s) + 1 : 0;
    return -EINVAL;
}

/* What may stand nowhere, not even in a fragment, which is dropped. */
static int check_bytes(struct parse *p) {
    const char *s = p->s, *end;

    if (!*s)
        return refuse(p, NULL, "it is empty");
    for (end = s; *end; end++) {
        size_t left;

        if (is(*end, PATH))
            continue;
        p->encoded += is(*end, ENCODE);
        if (*end == '\\')
            return refuse(p, end, "a backslash is not allowed; write / or %5C");
        if ((unsigned char)*end >= 0x20 && (unsigned char)*end < 0x7f)
            continue;
        left = strnlen(end, 4);
        if (utf8_sequence(end, left) == 0)
            return refuse(p, end, "it is not UTF-8; write such bytes as %XX");
        if (text_printable(end, left) == 0)
            return refuse(p, end, "a control character is not allowed");
        left = utf8_sequence(end, left);
        p->encoded += left - 1;
        end += left - 1;
    }
    if (*s == ' ' || end[-1] == ' ')
        return refuse(p, *s == ' ' ? s : end - 1, "blanks around it are not allowed");
    return 0;
}

/* Leaves *s behind the "//". */
static int parse_scheme(struct parse *p, const char **s) {
    static const char missing[] =
        "the scheme is missing; write http:// or https:// before the host";
    const char *colon = p->s;
    size_t n;

    while (is(*colon, SCHEME))
        colon++;
    n = (size_t)(colon - p->s);
    if (*colon != ':' || n == 0)
        return refuse(p, p->s, missing);
    if (!url_scheme_find(p->s, n, &p->scheme))
        /* example.com:80/x and localhost:80/x begin with what could be a scheme */
        return refuse(p, p->s,
                      strncmp(colon, "://", 3) != 0 &&
                              (memchr(p->s, '.', n) || (colon[1] >= '0' && colon[1] <= '9'))
                          ? missing
                          : url_scheme_unsupported);
    if (strncmp(colon, "://", 3) != 0)
        return refuse(p, colon + 1, "\"//\" is missing after the scheme");
    *s = colon + 3;
    return 0;
}

/* Whether some parser might take the label for a part of an IPv4 address: digits, or 0x and hex
 * digits. */
static bool label_is_number(const char *s, size_t n) {
    size_t i = 0;
    bool hex = n >= 2 && s[0] == '0' && (s[1] | 0x20) == 'x';

    for (i = hex ? 2 : 0; i < n; i++)
        if (hex ? !is(s[i], HEX) : s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

static int parse_name(struct parse *p, const char *s, size_t n) {
    const char *label = s;
    struct in_addr address;

    if (n > HOST_MAX)
        return refuse(p, s, "the host name is longer than 253 bytes");
    for (size_t i = 0; i <= n; i++) {
        if (i < n && s[i] != '.') {
            if (is(s[i], HOST)) {
                p->host[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i];
                continue;
            }
            if ((unsigned char)s[i] >= 0x80)
                return refuse(p, s + i, "write an international host name in its xn-- form");
            return refuse(p, s + i, "a host name has only letters, digits, '-', '_' and '.'");
        }
        if (s + i == label)
            return refuse(p, label, "a host name has no empty part and no dot at either end");
        if (s + i - label > LABEL_MAX)
            return refuse(p, label, "a part of the host name is longer than 63 bytes");
        if (i < n) {
            p->host[i] = '.';
            label = s + i + 1;
        }
    }
    p->host[n] = '\0';
    p->host_len = n;
    if (label_is_number(label, (size_t)(s + n - label)) &&
        inet_pton(AF_INET, p->host, &address) != 1)
        return refuse(p, s, "write an IPv4 address as four decimal numbers without leading zeros");
    return 0;
}

static int parse_ipv6(struct parse *p, const char *s, size_t n) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (memchr(s, '%', n))
        return refuse(p, s, "an IPv6 address with a zone can't be used");
    if (n < 2 || n - 2 >= sizeof(text))
        return refuse(p, s, "this is not an IPv6 address");
    memcpy(text, s + 1, n - 2);
    text[n - 2] = '\0';
    if (strlen(text) != n - 2 || inet_pton(AF_INET6, text, &address) != 1)
        return refuse(p, s, "this is not an IPv6 address");
    p->host[0] = '[';
    inet_ntop(AF_INET6, &address, p->host + 1, INET6_ADDRSTRLEN);
    p->host_len = strlen(p->host);
    p->host[p->host_len++] = ']';
    p->host[p->host_len] = '\0';
    return 0;
}

/* ":80", ":" or nothing, up to end. */
static int parse_port(struct parse *p, const char *s, const char *end) {
    const char *first = s + 1;
    unsigned port = 0;

    p->port = schemes[p->scheme].port;
    if (end - s <= 1)
        return 0;
    for (s = first; s < end; s++) {
        if (*s < '0' || *s > '9' || s - first == 5)
            return refuse(p, first, "the port must be a number from 1 to 65535");
        port = port * 10 + (unsigned)(*s - '0');
    }
    if (port == 0 || port > 65535)
        return refuse(p, first, "the port must be a number from 1 to 65535");
    p->port = port;
    return 0;
}

/* Leaves *s at its end. */
static int parse_authority(struct parse *p, const char **s) {
    const char *from = *s, *end = from + strcspn(from, "/?#"), *host_end;
    size_t n = (size_t)(end - from);
    int r;

    if (memchr(from, '@', n))
        return refuse(p, NULL, /* what is quoted of it could be a password */
                      "a user name or password is not allowed in it; "
                      "name a credential in the job's \"auth\" instead");
    if (*from == '[') {
        host_end = memchr(from, ']', n);
        if (!host_end)
            return refuse(p, from, "the ']' after the IPv6 address is missing");
        host_end++;
        if (host_end < end && *host_end != ':')
            return refuse(p, host_end, "only a port may follow the IPv6 address");
        r = parse_ipv6(p, from, (size_t)(host_end - from));
    } else {
        host_end = memchr(from, ':', n);
        if (!host_end)
            host_end = end;
        if (host_end == from)
            return refuse(p, from, "the host name is missing");
        r = parse_name(p, from, (size_t)(host_end - from));
    }
    if (r < 0)
        return r;
    *s = end;
    return parse_port(p, host_end, end);
}

static bool put(struct parse *p, const char *s, size_t n) {
    if ((size_t)(p->limit - p->end) < n)
        return false;
    memcpy(p->end, s, n);
    p->end += n;
    return true;
}

/* Copies from s to end what is of the class, and encodes what must be. */
static int put_encoded(struct parse *p, const char *s, const char *end, unsigned class) {
    static const char hex[] = "0123456789ABCDEF";

    while (s < end) {
        const char *from = s;
        unsigned char c;

        while (s < end && is(*s, class))
            s++;
        if (!put(p, from, (size_t)(s - from)))
            return refuse(p, NULL, "it is longer than 16384 bytes");
        if (s == end)
            break;
        c = (unsigned char)*s;
        if (c == '%' && (end - s < 3 || !is(s[1], HEX) || !is(s[2], HEX)))
            return refuse(p, s, "two hex digits must follow a '%'; write a '%' itself as %25");
        if (!put(p, c == '%' ? s : (char[]){'%', hex[c >> 4], hex[c & 15]}, 3))
            return refuse(p, NULL, "it is longer than 16384 bytes");
        s += c == '%' ? 3 : 1;
    }
    return 0;
}

/* 1 for ".", 2 for "..", with %2e taken for a dot, else 0. */
static unsigned count_dots(const char *s, const char *end) {
    unsigned n = 0;

    while (s < end && n < 3) {
        if (*s == '.')
            s++;
        else if (end - s >= 3 && strncasecmp(s, "%2e", 3) == 0)
            s += 3;
        else
            return 0;
        n++;
    }
    return n < 3 ? n : 0;
}

/* A segment at a time, so that what ".." takes back is what was written. Leaves *s at '?', '#' or
 * the end. */
static int put_path(struct parse *p, const char **s) {
    char *start = p->end;

    while (**s == '/') {
        const char *segment = *s + 1, *end = segment + strcspn(segment, "/?#");
        unsigned dots = count_dots(segment, end);

        *s = end;
        if (dots == 2)
            while (p->end > start && *--p->end != '/')
                ;
        if (dots == 0 || *end != '/') {
            int r;

            if (!put(p, "/", 1))
                return refuse(p, NULL, "it is longer than 16384 bytes");
            r = dots ? 0 : put_encoded(p, segment, end, PATH);
            if (r < 0)
                return r;
        }
    }
    if (p->end == start && !put(p, "/", 1))
        return refuse(p, NULL, "it is longer than 16384 bytes");
    return 0;
}

/* An FTP or SFTP server is to be asked for a file: not for what stands between from and s, where
 * that has no name, or where the name would be more than one line of the protocol. What follows the
 * canonical path (from start) is no query. */
static int check_file(struct parse *p, const char *from, const char *s, char *start) {
    const char *type;

    if (*s == '?')
        return refuse(p, s, "a '?' has no meaning there; write %3F if it belongs to the name");
    for (const char *c = from; c < s; c++)
        if (*c == '%' && (c[1] < '2' || strncasecmp(c + 1, "7f", 2) == 0))
            return refuse(p, c, "a control character is not allowed");
    *p->end = '\0';
    type = p->scheme == URL_SFTP ? NULL : strcasestr(start, ";type=");
    if (type && strcasecmp(type, ";type=i") != 0)
        return refuse(p, NULL, "only files are fetched, byte by byte: leave \";type=\" out");
    if (type)
        p->end = start + (type - start);
    *p->end = '\0';
    if (p->end[-1] == '/' || count_dots(strrchr(start, '/') + 1, p->end) > 0)
        return refuse(p, NULL, "it names a directory, and only files can be fetched");
    return 0;
}

static int put_query(struct parse *p, const char *s) {
    if (*s != '?')
        return 0;
    return put_encoded(p, s, s + strcspn(s, "#"), QUERY);
}

/* ":8080" into text; returns its length. */
static size_t port_text(unsigned port, char text[8]) {
    char digits[8];
    size_t n = 0, at = 0;

    do
        digits[n++] = (char)('0' + port % 10);
    while (port /= 10);
    text[at++] = ':';
    while (n > 0)
        text[at++] = digits[--n];
    text[at] = '\0';
    return at;
}

/* Writes text of the parts and s, which is what follows the authority, and makes *ret of it. */
static int write_url(struct parse *p, const char *s, struct url *ret) {
    size_t left = strlen(s), room = p->host_len + 16 + left + 2 * p->encoded, host, path,
           path_end, n;
    const char *from;
    _cleanup_free_ char *text = NULL, *key = NULL;
    char port[8];
    int r;

    room = MIN(room, (size_t)URL_MAX_LENGTH);
    text = malloc(room + 1);
    key = malloc(p->host_len + sizeof(port));
    if (!text || !key)
        return -ENOMEM;
    p->text = p->end = text;
    p->limit = text + room;
    put(p, schemes[p->scheme].name, strlen(schemes[p->scheme].name));
    put(p, "://", 3);
    host = (size_t)(p->end - text);
    put(p, p->host, p->host_len);
    n = port_text(p->port, port);
    memcpy(key, p->host, p->host_len);
    memcpy(key + p->host_len, port, n + 1);
    if (p->port != schemes[p->scheme].port)
        put(p, port, n);
    path = (size_t)(p->end - text);
    from = s;
    r = put_path(p, &s);
    if (r == 0 && !url_scheme_is_web(p->scheme))
        r = check_file(p, from, s, text + path);
    if (r < 0)
        return r;
    path_end = (size_t)(p->end - text);
    r = put_query(p, s);
    if (r < 0)
        return r;
    *p->end = '\0';

    ret->scheme = p->scheme;
    ret->host = text + host;
    ret->host_len = p->host_len;
    ret->port = (uint16_t)p->port;
    ret->path = text + path;
    ret->path_len = path_end - path;
    ret->text = TAKE_PTR(text);
    ret->host_key = TAKE_PTR(key);
    return 0;
}

int url_parse(const char *s, struct url *ret, const char **ret_why, size_t *ret_column) {
    struct parse p;
    int r;

    p.s = s;
    p.encoded = 0;
    p.scheme = URL_HTTP;
    p.port = 0;
    p.why = NULL;
    p.column = 0;
    r = check_bytes(&p);
    if (r >= 0)
        r = parse_scheme(&p, &s);
    if (r >= 0)
        r = parse_authority(&p, &s);
    if (r >= 0)
        r = write_url(&p, s, ret);
    if (r < 0) {
        *ret_why = p.why;
        *ret_column = p.column;
    }
    return r;
}

void url_done(struct url *u) {
    free(u->text);
    free(u->host_key);
    *u = (struct url){0};
}
