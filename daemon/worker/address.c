#include "daemon/worker/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void curl_freep(char **s) {
    curl_free(*s);
}

int address_init(struct address *a) {
    *a = (struct address){.curl = curl_url()};
    return a->curl ? 0 : -ENOMEM;
}

void address_done(struct address *a) {
    curl_url_cleanup(TAKE_PTR(a->curl));
    url_done(&a->url);
    a->url = (struct url){0};
}

bool address_is_https(const struct address *a) {
    return a->url.scheme == URL_HTTPS;
}

bool address_is_web(const struct address *a) {
    return url_scheme_is_web(a->url.scheme);
}

/* Do both parsers see the same scheme, host and port? Sets *ret; -ENOMEM. */
static int parsers_agree(const struct address *a, bool *ret) {
    _cleanup_(curl_freep) char *scheme = NULL, *host = NULL, *port = NULL;
    const struct url *u = &a->url;
    char ours[8];

    if (curl_url_get(a->curl, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(a->curl, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(a->curl, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return -ENOMEM;
    snprintf(ours, sizeof(ours), "%u", u->port);
    *ret = streq(scheme, url_scheme_name(u->scheme)) && streq(port, ours) &&
           strlen(host) == u->host_len && memcmp(host, u->host, u->host_len) == 0;
    return 0;
}

bool address_set(struct address *a, const char *text, struct failure *ret_failure) {
    const char *why = NULL;
    struct url url;
    CURLUcode code;
    size_t column;
    bool agree;

    if (url_parse(text, &url, &why, &column) < 0) {
        failure_set(ret_failure, why ? ERR_URL : ERR_INTERNAL, "%s", why ? why : "out of memory");
        return false;
    }
    url_done(&a->url);
    a->url = url;
    code = curl_url_set(a->curl, CURLUPART_URL, text, CURLU_PATH_AS_IS | CURLU_DISALLOW_USER);
    if (code == CURLUE_OUT_OF_MEMORY || (code == CURLUE_OK && parsers_agree(a, &agree) < 0)) {
        failure_set(ret_failure, ERR_INTERNAL, "out of memory");
        return false;
    }
    if (code != CURLUE_OK || !agree) {
        failure_set(ret_failure, ERR_URL,
                    "dld and libcurl read different things in this URL%s%s; it can't be used",
                    code != CURLUE_OK ? ": " : "",
                    code != CURLUE_OK ? curl_url_strerror(code) : "");
        return false;
    }
    return true;
}
