#include "daemon/access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/url.h"

/* What is being asked, and whether that is where the job belongs. */
struct place {
    struct url url;
    bool home; /* the origin of the job's first URL */
    bool home_host;
    bool https;
};

static void place_done(struct place *p) {
    url_done(&p->url);
}

void access_done(struct access *a) {
    credential_done(&a->auth);
    credential_done(&a->certificate);
    credential_done(&a->proxy);
}

static bool same_scheme(const struct url *a, const struct url *b) {
    size_t n = strcspn(a->text, ":") + 1;

    return strncmp(a->text, b->text, n) == 0;
}

static bool same_host(const struct url *a, const struct url *b) {
    return a->host_len == b->host_len && memcmp(a->host, b->host, a->host_len) == 0;
}

static int place_find(const struct job_spec *spec, const char *text, struct place *ret) {
    _cleanup_(url_done) struct url first = {0};
    const char *why;
    size_t column;
    int r = url_parse(text, &ret->url, &why, &column);

    if (r >= 0)
        r = url_parse(spec->n_urls > 0 ? spec->urls[0] : text, &first, &why, &column);
    if (r < 0)
        return r;
    ret->home_host = same_host(&ret->url, &first);
    ret->home = same_scheme(&ret->url, &first) && streq(ret->url.host_key, first.host_key);
    ret->https = strncmp(text, "https:", strlen("https:")) == 0;
    return 0;
}

static bool is_private(const char *header) {
    static const char *const names[] = {"Authorization:", "Proxy-Authorization:", "Cookie:"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (strncasecmp(header, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

bool access_is_open(const struct job_spec *spec) {
    for (size_t i = 0; i < spec->n_headers; i++)
        if (is_private(spec->headers[i]))
            return false;
    return spec->auth == JOB_AUTH_NONE && !spec->client_certificate;
}

static void drop_private_headers(struct wire_job *message) {
    uint32_t n = 0;

    for (uint32_t i = 0; i < message->n_headers; i++)
        if (!is_private(message->headers[i]))
            message->headers[n++] = message->headers[i];
    message->n_headers = n;
}

/* The host as a netrc file has it: an IPv6 address without its brackets. */
static int find_in_netrc(struct credential *c, const char *name, const struct place *place,
                         char why[CREDENTIAL_WHY_MAX]) {
    bool brackets = place->url.host[0] == '[';
    _cleanup_free_ char *host =
        strndup(place->url.host + brackets, place->url.host_len - 2 * (size_t)brackets);

    return host ? credential_netrc(c, name, host, place->home_host, why) : -ENOMEM;
}

static int fill_auth(struct credential *c, const struct access_settings *settings,
                     const struct job_spec *spec, const struct place *place,
                     struct wire_job *message, char why[CREDENTIAL_WHY_MAX]) {
    static const uint8_t kinds[JOB_AUTH_MAX_] = {
        [JOB_AUTH_BASIC] = WIRE_AUTH_BASIC,
        [JOB_AUTH_DIGEST] = WIRE_AUTH_DIGEST,
        [JOB_AUTH_BEARER] = WIRE_AUTH_BEARER,
        [JOB_AUTH_NETRC] = WIRE_AUTH_BASIC,
        [JOB_AUTH_KEY] = WIRE_AUTH_KEY,
    };
    int r;

    if (spec->auth == JOB_AUTH_NONE || (!place->home && spec->auth != JOB_AUTH_NETRC))
        return 0;
    if (spec->auth == JOB_AUTH_KEY && place->url.scheme != URL_SFTP) {
        snprintf(why, CREDENTIAL_WHY_MAX, "\"auth\" of type key is for sftp alone");
        return -ENOKEY;
    }
    r = credential_read(settings->dir, spec->credential, c, why);
    if (r < 0)
        return r;
    if (spec->auth == JOB_AUTH_NETRC)
        r = find_in_netrc(c, spec->credential, place, why);
    else if (spec->auth == JOB_AUTH_BEARER)
        r = credential_token(c, spec->credential, why);
    else if (spec->auth == JOB_AUTH_KEY)
        r = credential_key(c, spec->credential, why);
    else
        r = credential_password(c, spec->credential, why);
    if (r < 0 || !c->secret)
        return r;
    message->auth = kinds[spec->auth];
    message->user = spec->auth == JOB_AUTH_KEY ? spec->auth_user : c->user;
    message->secret = c->secret;
    return 0;
}

static int fill_certificate(struct credential *c, const struct access_settings *settings,
                            const struct job_spec *spec, const struct place *place,
                            struct wire_job *message, char why[CREDENTIAL_WHY_MAX]) {
    int r;

    if (!spec->client_certificate || !place->home || !place->https)
        return 0;
    r = credential_read(settings->dir, spec->client_certificate, c, why);
    if (r >= 0)
        r = credential_certificate(c, spec->client_certificate, why);
    if (r >= 0)
        message->certificate = c->secret;
    return r;
}

static int fill_proxy(struct credential *c, const struct access_settings *settings,
                      const struct job_spec *spec, struct wire_job *message,
                      char why[CREDENTIAL_WHY_MAX]) {
    const char *name = spec->proxy ? spec->proxy_auth : settings->proxy_auth;
    bool any = spec->proxy ? !streq(spec->proxy, "none") : *settings->proxy != '\0';
    int r;

    if (spec->proxy)
        message->proxy = any ? spec->proxy : "";
    if (!any || !name || !*name)
        return 0;
    r = credential_read(settings->dir, name, c, why);
    if (r >= 0)
        r = credential_password(c, name, why);
    if (r >= 0) {
        message->proxy_user = c->user;
        message->proxy_secret = c->secret;
    }
    return r;
}

/* Nothing of it depends on where it leads. */
static bool is_anonymous(const struct job_spec *spec, const struct wire_job *message) {
    return message->n_headers == 0 && spec->auth == JOB_AUTH_NONE && !spec->client_certificate;
}

int access_fill(struct access *a, const struct access_settings *settings,
                const struct job_spec *spec, struct wire_job *message,
                char why[CREDENTIAL_WHY_MAX]) {
    _cleanup_(place_done) struct place place = {.home = false};
    int r;

    if (is_anonymous(spec, message))
        return fill_proxy(&a->proxy, settings, spec, message, why);
    r = place_find(spec, message->url, &place);
    if (r < 0)
        return r;
    if (!place.home)
        drop_private_headers(message);
    r = fill_auth(&a->auth, settings, spec, &place, message, why);
    if (r >= 0)
        r = fill_certificate(&a->certificate, settings, spec, &place, message, why);
    if (r >= 0)
        r = fill_proxy(&a->proxy, settings, spec, message, why);
    return r;
}
