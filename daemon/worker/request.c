#include "daemon/worker/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/worker/decode.h"
#include "daemon/worker/resume.h"

#define USER_AGENT "dld/" DLD_VERSION

/* Bytes that curl receives at once: large ones are fewer system calls. */
#define RECEIVE_MAX (512 * KIB)
#define RECEIVE_MIN (16 * KIB)
#define RECEIVE_ALL (64 * MIB) /* of all slots together */

static long to_ms(uint64_t usec) {
    return (long)MIN((usec + USEC_PER_MSEC - 1) / USEC_PER_MSEC, (uint64_t)INT32_MAX);
}

static long to_seconds(uint64_t usec) {
    return (long)MIN((usec + USEC_PER_SEC - 1) / USEC_PER_SEC, (uint64_t)INT32_MAX);
}

/* The first failure sticks. */
#define SET(easy, code, option, value)                                                             \
    do {                                                                                           \
        if ((code) == CURLE_OK)                                                                    \
            (code) = curl_easy_setopt((easy), (option), (value));                                  \
    } while (0)

/* Of the schemes permitted those of the web: nothing else is asked for over HTTP, and no redirect
 * leads elsewhere. */
static CURLcode set_schemes(CURL *easy, const char *schemes) {
    char list[16] = "";
    enum url_scheme scheme;
    CURLcode c = CURLE_OK;

    for (size_t n; *schemes; schemes += n) {
        schemes += strspn(schemes, " \t");
        n = strcspn(schemes, " \t");
        if (!url_scheme_find(schemes, n, &scheme) || !url_scheme_is_web(scheme) ||
            strlen(list) + n + 2 > sizeof(list))
            continue;
        strcat(list, *list ? "," : "");
        strcat(list, url_scheme_name(scheme));
    }
    if (!*list)
        return CURLE_OK; /* no transfer of the web is begun */
    SET(easy, c, CURLOPT_PROTOCOLS_STR, list);
    SET(easy, c, CURLOPT_REDIR_PROTOCOLS_STR, list);
    return c;
}

const curl_version_info_data *curl_facts(void) {
    static const curl_version_info_data *facts;

    if (!facts)
        facts = curl_version_info(CURLVERSION_NOW);
    return facts;
}

/* The system's, if it has one. A handle is made often, and a file once seen is not looked for again. */
static const char *usual_certificates(void) {
    static bool seen;
    const char *file = curl_facts()->cainfo;

    if (file && !seen)
        seen = access(file, R_OK) == 0;
    return seen ? file : NULL;
}

/* A file alone: with a directory beside it, as libcurl is built to have, that would be trusted too,
 * and libcurl would not keep what it has read but parse all of it for each connection, which costs
 * far more than the rest of a TLS handshake. */
static CURLcode set_certificates(CURL *easy, const char *ca_file) {
    const char *file = ca_file ? ca_file : usual_certificates();
    CURLcode c = CURLE_OK;

    if (!file)
        return CURLE_OK; /* the system has a directory only */
    SET(easy, c, CURLOPT_CAINFO, file);
    SET(easy, c, CURLOPT_CAPATH, NULL);
    SET(easy, c, CURLOPT_PROXY_CAINFO, file);
    SET(easy, c, CURLOPT_PROXY_CAPATH, NULL);
    return c;
}

/* This one or none, whatever the environment says. */
static CURLcode set_proxy(CURL *easy, const char *url) {
    CURLcode c = CURLE_OK;

    SET(easy, c, CURLOPT_PROXY, url ? url : "");
    SET(easy, c, CURLOPT_NOPROXY, url ? "" : "*");
    return c;
}

/* A tunnel that was opened with a user of the job's own is no other's to use; libcurl would share
 * it. HTTP/2 would be shared while it is in use. */
CURLcode request_set_proxy(CURL *easy, const struct wire_job *job) {
    CURLcode c = job->proxy ? set_proxy(easy, *job->proxy ? job->proxy : NULL) : CURLE_OK;

    SET(easy, c, CURLOPT_PROXYUSERNAME, job->proxy_user);
    SET(easy, c, CURLOPT_PROXYPASSWORD, job->proxy_secret);
    if (!job->proxy || !job->proxy_user)
        return c;
    SET(easy, c, CURLOPT_FRESH_CONNECT, 1L);
    SET(easy, c, CURLOPT_FORBID_REUSE, 1L);
    SET(easy, c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    return c;
}

static void clear_job_proxy(struct request *r) {
    set_proxy(r->easy, r->proxy);
    curl_easy_setopt(r->easy, CURLOPT_PROXYUSERNAME, NULL);
    curl_easy_setopt(r->easy, CURLOPT_PROXYPASSWORD, NULL);
    curl_easy_setopt(r->easy, CURLOPT_FRESH_CONNECT, 0L);
    curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, 0L);
}

bool request_permitted(const struct wire_config *config, const struct address *address,
                       struct failure *ret_failure) {
    const char *scheme = url_scheme_name(address->url.scheme), *p = config->schemes;

    for (size_t n; p && *p; p += n) {
        p += strspn(p, " \t");
        n = strcspn(p, " \t");
        if (n == strlen(scheme) && memcmp(p, scheme, n) == 0)
            return true;
    }
    failure_set(ret_failure, ERR_URL,
                "the scheme %s is not one of those that [network] schemes permits", scheme);
    return false;
}

long request_receive_size(const struct wire_config *config) {
    uint64_t receive = RECEIVE_ALL / MAX(config->transfers, 1u);

    return (long)MAX(MIN(receive, RECEIVE_MAX), RECEIVE_MIN);
}

int request_init(struct request *r, CURL *easy, const struct wire_config *config) {
    CURLcode c = CURLE_OK;

    *r = (struct request){.easy = easy, .proxy = config->proxy};
    r->identity = (struct identity){.easy = easy, .max_redirects = config->max_redirects};
    if (!config->schemes || set_schemes(easy, config->schemes) != CURLE_OK)
        return -ENOMEM;
    SET(easy, c, CURLOPT_NOSIGNAL, 1L);
    if (c == CURLE_OK)
        c = set_proxy(easy, config->proxy);
    SET(easy, c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (c == CURLE_OK)
        c = set_certificates(easy, config->ca_file);
    SET(easy, c, CURLOPT_FOLLOWLOCATION, 1L);
    SET(easy, c, CURLOPT_MAXREDIRS, (long)config->max_redirects);
    SET(easy, c, CURLOPT_HTTP09_ALLOWED, 0L);
    SET(easy, c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's are not the server's */
    SET(easy, c, CURLOPT_COOKIEFILE, ""); /* kept in memory, for one transfer */
    SET(easy, c, CURLOPT_USERAGENT, USER_AGENT);
    /* The file gets the bytes as they are: no coding is asked for, and one that comes is not
     * undone; where a job wants it, decode.h does it. */
    SET(easy, c, CURLOPT_ACCEPT_ENCODING, "identity");
    SET(easy, c, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    SET(easy, c, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, c, CURLOPT_CONNECTTIMEOUT_MS, to_ms(config->connect_timeout_usec));
    SET(easy, c, CURLOPT_LOW_SPEED_LIMIT, (long)MIN(config->low_speed_limit, (uint64_t)INT32_MAX));
    SET(easy, c, CURLOPT_LOW_SPEED_TIME, to_seconds(config->low_speed_time_usec));
    SET(easy, c, CURLOPT_BUFFERSIZE, request_receive_size(config));
    return c == CURLE_OK ? 0 : -ENOMEM;
}

void request_done(struct request *r) {
    curl_slist_free_all(TAKE_PTR(r->headers));
}

/* curl takes "Name:" for "don't send this field", and "Name;" for one without a value. */
int request_add(struct request *r, const char *header) {
    const char *colon = strchr(header, ':');
    bool own = identity_is_private(header);
    _cleanup_free_ char *empty = NULL;
    struct curl_slist *list;

    if (colon && colon[1 + strspn(colon + 1, " \t")] == '\0') {
        empty = strndup(header, (size_t)(colon - header) + 1);
        if (!empty)
            return -ENOMEM;
        empty[colon - header] = ';';
    }
    list = curl_slist_append(own ? NULL : r->headers, empty ? empty : header);
    if (!list)
        return -ENOMEM;
    if (own) {
        list->next = r->headers;
        r->n_own++;
    }
    r->headers = list;
    return 0;
}

int request_rest(struct request *r, const struct wire_kept *kept) {
    return request_part(r, kept, 0);
}

int request_part(struct request *r, const struct wire_kept *kept, uint64_t end) {
    _cleanup_free_ char *range = NULL, *condition = NULL;
    int n = end > 0 ? asprintf(&range, "Range: bytes=%" PRIu64 "-%" PRIu64, kept->offset, end - 1)
                    : asprintf(&range, "Range: bytes=%" PRIu64 "-", kept->offset);

    if (n < 0)
        range = NULL;
    if (!range || request_add(r, range) < 0)
        return -ENOMEM;
    if (!resume_condition(kept))
        return 0; /* a checksum will tell */
    if (asprintf(&condition, "If-Range: %s", resume_condition(kept)) < 0)
        condition = NULL;
    return condition ? request_add(r, condition) : -ENOMEM;
}

int request_fill(struct request *r, const struct wire_job *job, const struct address *address) {
    bool https = address_is_https(address);
    CURLcode c = CURLE_OK;

    for (uint32_t i = 0; i < job->n_headers; i++)
        if (!identity_is_cookie(job->headers[i]) && request_add(r, job->headers[i]) < 0)
            return -ENOMEM;
    SET(r->easy, c, CURLOPT_URL, NULL); /* or the one before stays */
    SET(r->easy, c, CURLOPT_CURLU, address->curl);
    SET(r->easy, c, CURLOPT_TIMEOUT_MS, to_ms(job->timeout_usec));
    /* Over TLS one handshake tells whether a single connection will do for all. Without TLS there
     * is nothing to wait for, and no HTTP/2; but a redirect may lead to it. */
    SET(r->easy, c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(r->easy, c, CURLOPT_PIPEWAIT, https ? 1L : 0L);
    if (job->user_agent)
        SET(r->easy, c, CURLOPT_USERAGENT, job->user_agent);
    if (job->referer)
        SET(r->easy, c, CURLOPT_REFERER, job->referer);
    if (c == CURLE_OK && (job->proxy || job->proxy_user))
        c = request_set_proxy(r->easy, job);
    if (c == CURLE_OK && identity_set(&r->identity, job, address, r->headers, r->n_own) < 0)
        c = CURLE_OUT_OF_MEMORY;
    if (job->compressed)
        SET(r->easy, c, CURLOPT_ACCEPT_ENCODING, DECODE_ACCEPT);
    return c == CURLE_OK ? 0 : -ENOMEM;
}

void request_clear(struct request *r, const struct wire_job *job) {
    if (job->user_agent)
        curl_easy_setopt(r->easy, CURLOPT_USERAGENT, USER_AGENT);
    if (job->referer)
        curl_easy_setopt(r->easy, CURLOPT_REFERER, NULL);
    if (job->compressed)
        curl_easy_setopt(r->easy, CURLOPT_ACCEPT_ENCODING, "identity");
    if (job->proxy || job->proxy_user)
        clear_job_proxy(r);
    identity_clear(&r->identity);
    curl_slist_free_all(TAKE_PTR(r->headers));
    r->n_own = 0;
}
