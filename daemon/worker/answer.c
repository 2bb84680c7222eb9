#include "daemon/worker/answer.h"

#include <errno.h>
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

bool answer_redirects(long status) {
    return (status >= 300 && status <= 303) || status == 307 || status == 308;
}

const char *answer_field_at(CURL *easy, const char *name, size_t index, size_t *ret_amount) {
    struct curl_header *h;

    if (curl_easy_header(easy, name, index, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    if (ret_amount)
        *ret_amount = h->amount;
    /* In one that is empty libcurl may leave the line's end. */
    return h->value + strspn(h->value, " \t\r\n");
}

const char *answer_field(CURL *easy, const char *name) {
    return answer_field_at(easy, name, 0, NULL);
}

const char *answer_where(CURL *easy, const char *host) {
    long redirects = 0;
    char *url = NULL;

    curl_easy_getinfo(easy, CURLINFO_REDIRECT_COUNT, &redirects);
    if (redirects > 0)
        curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    return url ? url : host;
}

bool answer_is_plain(CURL *easy) {
    const char *coding = answer_field(easy, "Content-Encoding");

    return !coding || !*coding || strcasecmp(coding, "identity") == 0;
}

static uint64_t retry_after(CURL *easy) {
    const char *value = answer_field(easy, "Retry-After");
    uint64_t seconds;
    time_t now = time(NULL), date;
    int r;

    if (!value)
        return 0;
    r = parse_u64(value, &seconds);
    if (r == -ERANGE) {
        seconds = RETRY_AFTER_MAX;
    } else if (r < 0) {
        date = curl_getdate(value, NULL);
        seconds = date > now ? (uint64_t)(date - now) : 0;
    }
    return MIN(seconds, RETRY_AFTER_MAX) * USEC_PER_SEC;
}

/* Between a status and its reason, which not each has. */
static const char *gap(long status) {
    return *status_reason(status) ? " " : "";
}

static void judge_status(const struct attempt *a, long status, struct failure *f) {
    failure_set(f, ERR_HTTP, "%ld%s%s", status, gap(status), status_reason(status));
    f->transient = http_status_transient((unsigned)status);
    if (status == 429 || status == 503)
        f->retry_after_usec = retry_after(a->easy);
}

static void judge_length(const struct attempt *a, struct failure *f) {
    const struct head *h = a->head;

    if (h->has_length && h->is_chunked && h->length != a->received)
        failure_set(f, ERR_PROTOCOL,
                    "%.200s announced %" PRIu64 " bytes and sent %" PRIu64 " in chunks",
                    answer_where(a->easy, a->host), h->length, a->received);
    else if (h->has_length && h->length != a->received)
        failure_set(f, ERR_PARTIAL, "%.200s announced %" PRIu64 " bytes and sent %" PRIu64,
                    answer_where(a->easy, a->host), h->length, a->received);
}

/* What libcurl calls success. */
static void judge_success(const struct attempt *a, long status, struct failure *f) {
    if (a->head->status != 0 && a->head->status != (unsigned long)status) {
        failure_set(f, ERR_PROTOCOL, "%.200s sent an answer within its answer",
                    answer_where(a->easy, a->host));
    } else if (a->head->status != 0 && !a->head->ended) {
        failure_set(f, ERR_PARTIAL, "%.200s broke off within the header of its answer",
                    answer_where(a->easy, a->host));
    } else if (answer_has_file(status) || (status == 206 && a->resumed)) {
        judge_length(a, f);
    } else if (status == 206) {
        failure_set(f, ERR_PROTOCOL,
                    "%.200s sent a part of the file though the whole was asked for",
                    answer_where(a->easy, a->host));
    } else if (status >= 200 && status < 300) {
        failure_set(f, ERR_HTTP, "%ld%s%s: the answer holds no file", status, gap(status),
                    status_reason(status));
        f->transient = status == 202;
    } else if (answer_redirects(status)) {
        failure_set(f, ERR_REDIRECT, "%ld %s, but it does not say where to", status,
                    status_reason(status));
    } else {
        failure_set(f, ERR_PROTOCOL, "%.200s answered with status %ld, which nobody asked for",
                    answer_where(a->easy, a->host), status);
    }
}

void answer_digests(CURL *easy, struct integrity *in) {
    static const char *const names[] = {"Repr-Digest", "Digest", "Content-Digest",
                                        "Content-MD5"};
    size_t n_names = ELEMENTSOF(names);
    long status = 0;

    if (!answer_is_plain(easy))
        return;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206)
        n_names -= 2; /* the last two are of the part */
    for (size_t n = 0; n < n_names; n++) {
        size_t amount = 1;

        for (size_t i = 0; i < amount; i++) {
            const char *value = answer_field_at(easy, names[n], i, &amount);

            if (value)
                integrity_field(in, names[n], value);
        }
    }
}

/* Was it no more than the reading of a body that is not the file, and too long to be read? */
static bool is_given_up(const struct attempt *a, long status) {
    return a->code == CURLE_WRITE_ERROR && !answer_has_file(status) &&
           !(status == 206 && a->resumed);
}

void answer_judge(const struct attempt *a, struct failure *f) {
    long status = 0;

    if (a->head->status != 0) /* curl's is still that of a redirect or a challenge until then */
        curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400)
        judge_status(a, status, f); /* also when its body broke off, or was not worth reading */
    else if (a->code != CURLE_OK && !is_given_up(a, status))
        curlcode_judge(a, status, f);
    else
        judge_success(a, status, f);
}
