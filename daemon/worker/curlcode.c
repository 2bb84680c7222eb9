#include "daemon/worker/curlcode.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"

static const struct {
    CURLcode code;
    enum dld_error error;
    bool transient;
} simple[] = {
    {CURLE_URL_MALFORMAT, ERR_REDIRECT, false}, /* the job's own URL was checked before */
    {CURLE_COULDNT_RESOLVE_HOST, ERR_DNS, true},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_DNS, true},
    {CURLE_COULDNT_CONNECT, ERR_CONNECT, true},
    {CURLE_PROXY, ERR_CONNECT, true},
    {CURLE_NO_CONNECTION_AVAILABLE, ERR_CONNECT, true},
    {CURLE_SSL_CONNECT_ERROR, ERR_TLS, true}, /* mostly a connection reset in the handshake */
    {CURLE_PEER_FAILED_VERIFICATION, ERR_TLS, false},
    {CURLE_SSL_ENGINE_NOTFOUND, ERR_TLS, false},
    {CURLE_SSL_ENGINE_SETFAILED, ERR_TLS, false},
    {CURLE_SSL_CERTPROBLEM, ERR_CREDENTIAL, false}, /* the client's */
    {CURLE_SSL_CIPHER, ERR_TLS, false},
    {CURLE_SSL_CACERT_BADFILE, ERR_TLS, true}, /* it could be read when dld started */
    {CURLE_SSL_CRL_BADFILE, ERR_TLS, false},
    {CURLE_SSL_ISSUER_ERROR, ERR_TLS, false},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, ERR_TLS, false},
    {CURLE_SSL_INVALIDCERTSTATUS, ERR_TLS, false},
    {CURLE_SSL_CLIENTCERT, ERR_TLS, false},
    {CURLE_GOT_NOTHING, ERR_RESET, true},
    {CURLE_SEND_ERROR, ERR_RESET, true},
    {CURLE_HTTP2, ERR_RESET, true},
    {CURLE_HTTP2_STREAM, ERR_RESET, true},
    {CURLE_PARTIAL_FILE, ERR_PARTIAL, true},
    {CURLE_WEIRD_SERVER_REPLY, ERR_PROTOCOL, false},
    {CURLE_BAD_CONTENT_ENCODING, ERR_PROTOCOL, false},
    {CURLE_FILESIZE_EXCEEDED, ERR_TOO_LARGE, false},
};

/* curl's own sentence about this case, else what it says of such cases in general. */
static const char *curl_says(const struct attempt *a) {
    return *a->curl_text ? a->curl_text : curl_easy_strerror(a->code);
}

/* Whom we were talking to. */
static const char *where(const struct attempt *a) {
    return answer_where(a->easy, a->host);
}

static curl_off_t time_of(const struct attempt *a, CURLINFO info) {
    curl_off_t usec = 0;

    curl_easy_getinfo(a->easy, info, &usec);
    return usec;
}

static double seconds(uint64_t usec) {
    return (double)usec / (double)USEC_PER_SEC;
}

static void judge_timeout(const struct attempt *a, struct failure *f) {
    uint64_t total = (uint64_t)time_of(a, CURLINFO_TOTAL_TIME_T);
    double waited = seconds(a->connect_timeout_usec);

    bool connecting = time_of(a, CURLINFO_CONNECT_TIME_T) == 0;
    bool early = connecting && total >= a->low_speed_time_usec &&
                 total + USEC_PER_MSEC < MIN(a->connect_timeout_usec,
                                             a->timeout_usec > 0 ? a->timeout_usec : UINT64_MAX);

    /* curl says so, but not always last; nothing else ends a connection as early. */
    if (strstr(a->curl_text, "too slow") || early)
        failure_set(f, ERR_STALLED, "%.200s sent less than %" PRIu64 " bytes a second for %g s",
                    where(a), a->low_speed_limit, seconds(a->low_speed_time_usec));
    else if (total == 0) /* of waiting for another's connection curl keeps no time */
        failure_set(f, a->timeout_usec > 0 ? ERR_TIMEOUT : ERR_CONNECT,
                    "%.200s: no connection was made for it within %g s", where(a),
                    a->timeout_usec > 0 ? seconds(a->timeout_usec) : waited);
    else if (a->timeout_usec > 0 && total + USEC_PER_MSEC >= a->timeout_usec)
        failure_set(f, ERR_TIMEOUT, "%.200s: not finished within %g s, %" PRIu64 " bytes had come",
                    where(a), seconds(a->timeout_usec), a->received);
    else if (time_of(a, CURLINFO_NAMELOOKUP_TIME_T) == 0)
        failure_set(f, ERR_DNS, "%.200s: the name was not resolved within %g s", where(a), waited);
    else if (time_of(a, CURLINFO_CONNECT_TIME_T) == 0)
        failure_set(f, ERR_CONNECT, "%.200s: no connection within %g s", where(a), waited);
    else
        failure_set(f, ERR_TIMEOUT, "%.200s: %s", where(a), curl_says(a));
}

/* A scheme that a redirect must not lead to, or an answer without a status line. */
static void judge_unsupported(const struct attempt *a, long status, struct failure *f) {
    if (status >= 300 && status < 400)
        failure_set(f, ERR_REDIRECT, "%.200s redirects to a scheme that is not allowed: %s",
                    a->host, curl_says(a));
    else
        failure_set(f, ERR_PROTOCOL, "%.200s: %s", where(a), curl_says(a));
}

/* What a proxy answered that would not connect us. */
static long refused_by_proxy(const struct attempt *a) {
    long status = 0;

    curl_easy_getinfo(a->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 ? status : 0;
}

/* With TLS 1.3 a server says what it thinks of the client's certificate, or of there being none,
 * when the handshake is over. */
static bool refuses_certificate(const struct attempt *a) {
    return strstr(a->curl_text, " alert ") && (strstr(a->curl_text, "certificate") ||
                                               strstr(a->curl_text, "alert unknown ca"));
}

/* Broken connections, but also chunks that make no sense. */
static void judge_receive(const struct attempt *a, struct failure *f) {
    long status = refused_by_proxy(a);

    if (status > 0) {
        failure_set(f, ERR_CONNECT, "%.200s: the proxy makes no connection, it answered %ld",
                    where(a), status);
        f->transient = http_status_transient((unsigned)status);
        return;
    }
    if (refuses_certificate(a)) {
        failure_set(f, ERR_TLS, "%.200s: %s", where(a), curl_says(a));
        return;
    }
    bool chunks = strstr(a->curl_text, "hunk") != NULL;

    failure_set(f, chunks ? ERR_PROTOCOL : ERR_RESET, "%.200s: %s", where(a), curl_says(a));
}

/* curl says so also of header lines longer than it takes. */
static void judge_memory(const struct attempt *a, struct failure *f) {
    if (time_of(a, CURLINFO_PRETRANSFER_TIME_T) > 0)
        failure_set(f, ERR_PROTOCOL, "%.200s sent header fields too large to take", where(a));
    else
        failure_set(f, ERR_INTERNAL, "out of memory");
}

static void judge_simple(const struct attempt *a, struct failure *f) {
    long os_error = 0;

    for (size_t i = 0; i < ELEMENTSOF(simple); i++) {
        if (simple[i].code != a->code)
            continue;
        curl_easy_getinfo(a->easy, CURLINFO_OS_ERRNO, &os_error);
        failure_set(f, simple[i].error, "%.200s: %s", where(a),
                    a->code == CURLE_COULDNT_CONNECT && os_error ? strerror((int)os_error)
                                                                 : curl_says(a));
        f->transient = simple[i].transient && !refuses_certificate(a);
        return;
    }
    failure_set(f, ERR_INTERNAL, "%.200s: %s (libcurl error %d)", where(a), curl_says(a), a->code);
}

void curlcode_judge(const struct attempt *a, long status, struct failure *f) {
    switch (a->code) {
    case CURLE_OPERATION_TIMEDOUT:
        judge_timeout(a, f);
        break;
    case CURLE_UNSUPPORTED_PROTOCOL:
        judge_unsupported(a, status, f);
        break;
    case CURLE_RECV_ERROR:
        judge_receive(a, f);
        break;
    case CURLE_OUT_OF_MEMORY:
        judge_memory(a, f);
        break;
    case CURLE_TOO_MANY_REDIRECTS: /* curl's text may be about the last connection */
        failure_set(f, ERR_REDIRECT, "%.200s: more redirects than max_redirects allows", where(a));
        break;
    case CURLE_ABORTED_BY_CALLBACK: /* by the session; others say why themselves */
        failure_set(f, ERR_RESET, "%.200s: bytes that nobody asked for came over the connection",
                    where(a));
        break;
    case CURLE_BAD_FUNCTION_ARGUMENT: /* from libcurl's own reading of header fields */
        failure_set(f, ERR_PROTOCOL, "%.200s sent a header field that makes no sense", where(a));
        break;
    default:
        judge_simple(a, f);
    }
}
