#include "daemon/config_network.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cidr.h"
#include "common/url.h"
#include "common/util.h"
#include "daemon/credentials.h"

#define BLANKS " \t"
#define TEXT_MAX (16 * KIB) /* it must fit into the message to a worker */
#define LINES_MAX 1000000   /* looked at in a file of certificates */

/* ---- networks ---- */

static int check_networks(const char *value, struct buf *why) {
    const char *word = NULL, *reason = NULL;
    struct cidr_list list;
    size_t n = 0;
    int r = cidr_list_parse(value, &list, &word, &n, &reason);

    if (r == -E2BIG)
        buf_addf(why, "there are more than %d networks; join neighbours into larger ones",
                 CIDR_LIST_MAX);
    else if (r < 0)
        buf_addf(why,
                 "\"%.*s\" %s; write networks as 10.0.0.0/8 or fe80::/10, with blanks between them",
                 (int)MIN(n, (size_t)100), word, reason);
    return r < 0 ? -EINVAL : 0;
}

/* ---- schemes ---- */

static bool scheme_is_known(const char *word, size_t n) {
    enum url_scheme scheme;

    return url_scheme_find(word, n, &scheme) && memcmp(word, url_scheme_name(scheme), n) == 0;
}

static int check_schemes(const char *value, struct buf *why) {
    unsigned count = 0;

    for (;; count++) {
        value += strspn(value, BLANKS);
        size_t n = strcspn(value, BLANKS);

        if (n == 0 && count > 0)
            return 0;
        if (n == 0)
            buf_adds(why, "no scheme is given, so that nothing could be fetched; write some of "
                          "http https ftp ftps sftp with blanks between them");
        else if (!scheme_is_known(value, n))
            buf_addf(why,
                     "\"%.*s\" is no scheme that dld has; write some of http https ftp ftps sftp "
                     "with blanks between them",
                     (int)MIN(n, (size_t)100), value);
        if (n == 0 || !scheme_is_known(value, n))
            return -EINVAL;
        value += n;
    }
}

/* ---- proxy ---- */

/* Behind the scheme; NULL: it is none of those that a proxy may have. */
static const char *proxy_authority(const char *value) {
    static const char *const prefixes[] = {"http://", "https://", "socks5h://"};

    for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
        if (strncmp(value, prefixes[i], strlen(prefixes[i])) == 0)
            return value + strlen(prefixes[i]);
    return NULL;
}

static bool has_port(const char *host) {
    const char *end = host + strcspn(host, "/"), *bracket = memchr(host, ']', (size_t)(end - host));
    const char *from = bracket ? bracket : host, *colon = memchr(from, ':', (size_t)(end - from));

    return colon && colon + 1 < end;
}

const char config_proxy_no_memory[] = "can't be checked, for want of memory";

const char *config_proxy_complaint(const char *value) {
    const char *authority = proxy_authority(value), *at, *wrong = NULL;
    _cleanup_free_ char *text = NULL;
    struct url url;
    size_t column;
    int r;

    if (!authority)
        return "is none";
    if (value[strcspn(value, " \t\"<>\\^`{|}")])
        return "has a character that no URL may have";
    at = memchr(authority, '@', strcspn(authority, "/?#"));
    if (asprintf(&text, "http://%s", at ? at + 1 : authority) < 0) {
        text = NULL;
        return config_proxy_no_memory;
    }
    r = url_parse(text, &url, &wrong, &column);
    if (r < 0)
        return r == -ENOMEM ? config_proxy_no_memory
                            : "has no host, or no port from 1 to 65535, that can be used";
    if (!streq(url.path, "/"))
        wrong = "has a path, and a proxy has none";
    else if (strchr(text, '#') || !has_port(text + strlen("http://")))
        wrong = "names no port";
    url_done(&url);
    return wrong;
}

/* The value is not repeated: it may hold a password. */
static int check_proxy(const char *value, struct buf *why) {
    const char *complaint = *value ? config_proxy_complaint(value) : NULL;

    if (!complaint)
        return 0;
    buf_addf(why,
             "the URL of the proxy %s; write http://HOST:PORT, https://HOST:PORT or "
             "socks5h://HOST:PORT, or nothing for no proxy",
             complaint);
    return -EINVAL;
}

/* ---- certificates ---- */

static void fclosep(FILE **f) {
    if (*f)
        fclose(*f);
}

static bool has_certificate(FILE *f) {
    _cleanup_free_ char *line = NULL;
    size_t size = 0;

    for (unsigned i = 0; i < LINES_MAX && getline(&line, &size, f) > 0; i++)
        if (strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, "CERTIFICATE-----"))
            return true;
    return false;
}

static int check_ca_file(const char *path, struct buf *why) {
    _cleanup_(fclosep) FILE *f = NULL;
    struct stat st;

    if (!*path)
        return 0;
    if (*path != '/') {
        buf_addf(why, "expected an absolute path, or one that starts with ~/, not \"%s\"", path);
        return -EINVAL;
    }
    /* Not a pipe, which would have us wait. */
    if (stat(path, &st) < 0)
        buf_addf(why, "\"%s\" can't be read: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        buf_addf(why, "\"%s\" is not a file", path);
    else if (!(f = fopen(path, "re")))
        buf_addf(why, "\"%s\" can't be read: %s", path, strerror(errno));
    else if (!has_certificate(f))
        buf_addf(why, "\"%s\" holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
                 path);
    else
        return 0;
    return -EINVAL;
}

/* ---- credentials ---- */

/* The value is not repeated: someone may have taken it for the password. */
static int check_credential(const char *value, struct buf *why) {
    if (!*value || credential_name_is_valid(value))
        return 0;
    buf_adds(why, "expected the name of a credential: 1 to 64 letters, digits and ._@-, no dot "
                  "first, or nothing");
    return -EINVAL;
}

/* ---- all ---- */

void config_network_describe(enum config_type type, struct buf *b) {
    switch (type) {
    case CONFIG_NETWORKS:
        buf_adds(b, "networks as 10.0.0.0/8 or fe80::/10 with blanks between them, or nothing");
        break;
    case CONFIG_SCHEMES:
        buf_adds(b, "some of http https ftp ftps sftp, with blanks between them");
        break;
    case CONFIG_PROXY:
        buf_adds(b, "http://HOST:PORT, https://HOST:PORT, socks5h://HOST:PORT, or nothing");
        break;
    case CONFIG_CREDENTIAL:
        buf_adds(b, "the name of a credential (letters, digits and ._@-, no dot first), or nothing");
        break;
    case CONFIG_CA_FILE:
        buf_adds(b, "an absolute path, or one that starts with ~/, or nothing");
        break;
    default:
        break;
    }
}

int config_network_check(enum config_type type, const char *value, struct buf *why) {
    if (strlen(value) > TEXT_MAX) {
        buf_addf(why, "expected at most %zu bytes", (size_t)TEXT_MAX);
        return -EINVAL;
    }
    switch (type) {
    case CONFIG_NETWORKS:
        return check_networks(value, why);
    case CONFIG_SCHEMES:
        return check_schemes(value, why);
    case CONFIG_PROXY:
        return check_proxy(value, why);
    case CONFIG_CREDENTIAL:
        return check_credential(value, why);
    case CONFIG_CA_FILE:
        return check_ca_file(value, why);
    default:
        return 0;
    }
}
