#include "daemon/worker/identity.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Answers to a digest's challenge are followed as if they were redirects: one, and another where
 * the server has made a new nonce. */
#define CHALLENGES 2

static bool has_name(const char *header, const char *name) {
    size_t n = strlen(name);

    return strncasecmp(header, name, n) == 0 && header[n] == ':';
}

bool identity_is_cookie(const char *header) {
    return has_name(header, "Cookie");
}

bool identity_is_private(const char *header) {
    return has_name(header, "Authorization") || has_name(header, "Proxy-Authorization");
}

/* The first failure sticks. */
#define SET(easy, code, option, value)                                                             \
    do {                                                                                           \
        if ((code) == CURLE_OK)                                                                    \
            (code) = curl_easy_setopt((easy), (option), (value));                                  \
    } while (0)

/* What libcurl doesn't see to, for where the next request goes. The certificate stays the task's. */
static int show(const struct identity *id) {
    const char *pem = id->away ? NULL : id->job->certificate;
    struct curl_blob blob = {.data = (void *)pem, .len = pem ? strlen(pem) : 0};
    struct curl_slist *headers = id->headers;
    CURLcode c = CURLE_OK;

    for (unsigned i = 0; id->away && i < id->n_own; i++)
        headers = headers->next;
    SET(id->easy, c, CURLOPT_HTTPHEADER, headers);
    SET(id->easy, c, CURLOPT_COOKIE, id->away ? NULL : id->cookie);
    SET(id->easy, c, CURLOPT_SSLCERT_BLOB, pem ? &blob : NULL);
    SET(id->easy, c, CURLOPT_SSLKEY_BLOB, pem ? &blob : NULL);
    return c == CURLE_OK ? 0 : -ENOMEM;
}

static CURLcode set_auth(const struct identity *id) {
    const struct wire_job *job = id->job;
    CURL *easy = id->easy;
    CURLcode c = CURLE_OK;

    if (job->auth == WIRE_AUTH_BEARER) {
        SET(easy, c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        SET(easy, c, CURLOPT_XOAUTH2_BEARER, job->secret);
        return c;
    }
    SET(easy, c, CURLOPT_HTTPAUTH,
        job->auth == WIRE_AUTH_DIGEST ? CURLAUTH_DIGEST : CURLAUTH_BASIC);
    SET(easy, c, CURLOPT_USERNAME, job->user);
    SET(easy, c, CURLOPT_PASSWORD, job->secret);
    if (job->auth == WIRE_AUTH_DIGEST)
        SET(easy, c, CURLOPT_MAXREDIRS, (long)id->max_redirects + CHALLENGES);
    return c;
}

int identity_set(struct identity *id, const struct wire_job *job, const struct address *origin,
                 struct curl_slist *headers, unsigned n_own) {
    id->job = job;
    id->origin = origin;
    id->headers = headers;
    id->n_own = n_own;
    id->cookie = NULL;
    id->redirects = 0;
    id->away = false;
    for (uint32_t i = 0; i < job->n_headers; i++)
        if (identity_is_cookie(job->headers[i]))
            id->cookie = strchr(job->headers[i], ':') + 1;
    if (id->cookie)
        id->cookie += strspn(id->cookie, " \t");
    if (job->auth != WIRE_AUTH_NONE && set_auth(id) != CURLE_OK)
        return -ENOMEM;
    return show(id);
}

/* ---- redirects ---- */

static void curl_freep(char **s) {
    curl_free(*s);
}

static void curl_url_freep(CURLU **u) {
    curl_url_cleanup(*u);
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part) {
    _cleanup_(curl_freep) char *x = NULL, *y = NULL;

    return curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
           curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;
}

/* What can't be read leads away. */
static bool leads_home(const struct identity *id, const char *location) {
    _cleanup_(curl_url_freep) CURLU *to = curl_url();
    const char *from = NULL;

    curl_easy_getinfo(id->easy, CURLINFO_EFFECTIVE_URL, &from);
    return to && from && curl_url_set(to, CURLUPART_URL, from, 0) == CURLUE_OK &&
           curl_url_set(to, CURLUPART_URL, location, CURLU_URLENCODE | CURLU_ALLOW_SPACE) ==
               CURLUE_OK &&
           same_part(to, id->origin->curl, CURLUPART_SCHEME) &&
           same_part(to, id->origin->curl, CURLUPART_HOST) &&
           same_part(to, id->origin->curl, CURLUPART_PORT);
}

int identity_redirected(struct identity *id, const char *location) {
    if (id->job->auth == WIRE_AUTH_DIGEST && ++id->redirects > id->max_redirects)
        return -ELOOP;
    if (!id->job->certificate && !id->cookie && id->n_own == 0)
        return 0;
    if (id->away || leads_home(id, location))
        return 0;
    id->away = true;
    return show(id);
}

void identity_clear(struct identity *id) {
    static const CURLoption strings[] = {CURLOPT_USERNAME, CURLOPT_PASSWORD, CURLOPT_XOAUTH2_BEARER,
                                         CURLOPT_COOKIE};

    if (!id->job)
        return;
    curl_easy_setopt(id->easy, CURLOPT_HTTPHEADER, NULL);
    for (size_t i = 0; i < ELEMENTSOF(strings) && (id->job->auth != WIRE_AUTH_NONE || id->cookie); i++)
        curl_easy_setopt(id->easy, strings[i], NULL);
    if (id->job->certificate) {
        curl_easy_setopt(id->easy, CURLOPT_SSLCERT_BLOB, NULL);
        curl_easy_setopt(id->easy, CURLOPT_SSLKEY_BLOB, NULL);
    }
    curl_easy_setopt(id->easy, CURLOPT_COOKIELIST, "ALL");
    curl_easy_setopt(id->easy, CURLOPT_MAXREDIRS, (long)id->max_redirects);
    id->job = NULL;
}
