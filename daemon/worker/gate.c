#include "daemon/worker/gate.h"

#include <errno.h>
#include <string.h>

#include "common/util.h"

static int read_list(const char *text, struct cidr_list *ret) {
    const char *word, *why;
    size_t n;

    return cidr_list_parse(text ? text : "", ret, &word, &n, &why) < 0 ? -EBADMSG : 0;
}

int gate_init(struct gate *g, const struct wire_config *config) {
    int r = read_list(config->deny, &g->deny);

    g->proxied = config->proxy != NULL;
    return r < 0 ? r : read_list(config->allow, &g->allow);
}

static void curl_freep(char **s) {
    curl_free(*s);
}

static void curl_url_freep(CURLU **u) {
    curl_url_cleanup(*u);
}

/* The address written in the URL that is about to be fetched. False: there is a name. curl's parser
 * makes four decimal numbers of all ways to write an IPv4 address. */
static bool literal_address(CURL *easy, struct ip *ret) {
    _cleanup_(curl_url_freep) CURLU *parser = curl_url();
    _cleanup_(curl_freep) char *host = NULL;
    const char *url = NULL;
    size_t n;

    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    if (!parser || !url || curl_url_set(parser, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parser, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return false;
    n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        return ip_parse(host + 1, ret) == 0;
    }
    return ip_parse(host, ret) == 0;
}

static void forget(struct passage *p, long redirects) {
    p->redirects = redirects;
    p->opened = p->refused = 0;
}

void passage_begin(struct passage *p, const char *proxy) {
    p->proxied = proxy ? *proxy != '\0' : p->gate->proxied;
    p->own_proxy = proxy && p->proxied;
    forget(p, 0);
}

static bool permits(struct passage *p, const struct ip *ip) {
    long redirects = 0;

    curl_easy_getinfo(p->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    if (redirects != p->redirects)
        forget(p, redirects);
    if (!cidr_refuses(&p->gate->deny, &p->gate->allow, ip))
        return true;
    p->refused++;
    ip_format(ip, p->address);
    return false;
}

bool passage_request(struct passage *p) {
    struct ip ip;

    return !p->proxied || !literal_address(p->easy, &ip) || permits(p, &ip);
}

bool passage_open(struct passage *p, const struct sockaddr *address) {
    struct ip ip;

    /* A SOCKS proxy connects before there is a request. */
    if (!passage_request(p))
        return false;
    if (p->proxied && !p->own_proxy)
        return true;
    if (ip_from_sockaddr(address, &ip) < 0 || !permits(p, &ip))
        return false;
    p->opened++;
    return true;
}

void passage_judge(const struct passage *p, const char *host, struct failure *f) {
    const char *url = NULL;

    if (p->refused == 0 || p->opened > 0)
        return;
    if (p->redirects > 0)
        curl_easy_getinfo(p->easy, CURLINFO_EFFECTIVE_URL, &url);
    failure_set(f, ERR_DENIED_ADDRESS,
                "%.200s%s: no connection is made to %s, an address that [network] deny forbids",
                url ? "redirected to " : host, url ? url : "", p->address);
}
