#include "daemon/worker/answer.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "common/util.h"
#include "daemon/worker/curlcode.h"
#include "daemon/worker/status.h"

/* A server may ask for more, but nobody waits longer on its word alone. */
#define RETRY_AFTER_MAX (UINT64_C(30) * 24 * 3600)

bool answer_has_file(long status) {
    return status == 200 || status == 203;
}

const char *answer_field(CURL *easy, const char *name, size_t index, size_t *ret_amount) {
    struct curl_header *h;

    if (curl_easy_header(easy, name, index, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    if (ret_amount)
        *ret_amount = h->amount;
    return h->value;
}

static uint64_t retry_after(CURL *easy) {
    const char *value = answer_field(easy, "Retry-After", 0, NULL);
    uint64_t seconds;
    time_t now = time(NULL), date;

    if (!value)
        return 0;
    if (parse_u64(value, &seconds) < 0) {
        date = curl_getdate(value, NULL);
        seconds = date > now ? (uint64_t)(date - now) : 0;
    }
    return MIN(seconds, RETRY_AFTER_MAX) * USEC_PER_SEC;
}

static void judge_status(const struct attempt *a, long status, struct failure *f) {
    failure_set(f, ERR_HTTP, "%ld%s%s", status, *status_reason(status) ? " " : "",
                status_reason(status));
    f->transient = http_status_transient((unsigned)status);
    if (status == 429 || status == 503)
        f->retry_after_usec = retry_after(a->easy);
}

/* All Content-Length fields are one and the same number (RFC 9110 section 8.6)? It is put in *ret,
 * -1 for none. */
static bool content_length(CURL *easy, int64_t *ret) {
    size_t amount = 1;
    uint64_t first = 0, n;

    *ret = -1;
    for (size_t i = 0; i < amount; i++) {
        const char *value = answer_field(easy, "Content-Length", i, &amount);

        if (!value)
            return i == 0;
        if (parse_u64(value, &n) < 0 || n > INT64_MAX || (i > 0 && n != first))
            return false;
        first = n;
    }
    *ret = (int64_t)first;
    return true;
}

static void judge_length(const struct attempt *a, struct failure *f) {
    int64_t announced;

    if (!content_length(a->easy, &announced))
        failure_set(f, ERR_PROTOCOL,
                    "%s announced the length of the body in a way that has no one meaning",
                    a->host);
    else if (announced >= 0 && (uint64_t)announced != a->received &&
             !answer_field(a->easy, "Transfer-Encoding", 0, NULL))
        failure_set(f, ERR_PARTIAL, "%s announced %" PRId64 " bytes and sent %" PRIu64, a->host,
                    announced, a->received);
}

/* What libcurl calls success. */
static void judge_success(const struct attempt *a, long status, struct failure *f) {
    if (answer_has_file(status) || (status == 206 && a->resumed)) {
        judge_length(a, f);
    } else if (status == 206) {
        failure_set(f, ERR_PROTOCOL, "%s sent a part of the file though the whole was asked for",
                    a->host);
    } else if (status >= 200 && status < 300) {
        failure_set(f, ERR_HTTP, "%ld %s: the answer holds no file", status, status_reason(status));
        f->transient = status == 202;
    } else if (status >= 300 && status < 400 && status != 304) {
        failure_set(f, ERR_REDIRECT, "%ld %s, but it does not say where to", status,
                    status_reason(status));
    } else {
        failure_set(f, ERR_PROTOCOL, "%s answered with status %ld, which nobody asked for", a->host,
                    status);
    }
}

void answer_digests(CURL *easy, struct integrity *in) {
    static const char *const names[] = {"Repr-Digest", "Digest", "Content-MD5"};
    const char *coding = answer_field(easy, "Content-Encoding", 0, NULL);
    size_t n_names = ELEMENTSOF(names);
    long status = 0;

    if (coding && strcasecmp(coding, "identity") != 0)
        return;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206)
        n_names--; /* Content-MD5 is of the part */
    for (size_t n = 0; n < n_names; n++) {
        size_t amount = 1;

        for (size_t i = 0; i < amount; i++) {
            const char *value = answer_field(easy, names[n], i, &amount);

            if (value)
                integrity_field(in, names[n], value);
        }
    }
}

void answer_judge(const struct attempt *a, struct failure *f) {
    long status = 0;

    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400)
        judge_status(a, status, f); /* also when its body broke off, or was not worth reading */
    else if (a->code != CURLE_OK)
        curlcode_judge(a, status, f);
    else
        judge_success(a, status, f);
}
