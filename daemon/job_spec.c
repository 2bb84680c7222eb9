#include "daemon/job_json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job_keys.h"
#include "daemon/json_load.h"

static int copy_text(char **ret, const char *s) {
    if (!s)
        return 0;
    *ret = strdup(s);
    return *ret ? 0 : -ENOMEM;
}

static int copy_headers(const json_t *headers, struct job_spec *ret) {
    const char *name;
    json_t *value;

    if (json_object_size(headers) == 0)
        return 0;
    ret->headers = calloc(json_object_size(headers), sizeof(*ret->headers));
    if (!ret->headers)
        return -ENOMEM;
    json_object_foreach((json_t *)headers, name, value) {
        char **to = &ret->headers[ret->n_headers];

        if (asprintf(to, "%s: %s", name, json_string_value(value)) < 0) {
            *to = NULL;
            return -ENOMEM;
        }
        ret->n_headers++;
    }
    return 0;
}

static int copy_urls(const json_t *urls, struct job_spec *ret) {
    size_t n = json_array_size(urls);

    if (n == 0)
        return 0;
    ret->urls = calloc(n, sizeof(*ret->urls));
    if (!ret->urls)
        return -ENOMEM;
    for (; ret->n_urls < n; ret->n_urls++) {
        int r = copy_text(&ret->urls[ret->n_urls],
                          json_string_value(json_array_get(urls, ret->n_urls)));

        if (r < 0)
            return r;
    }
    return 0;
}

static int copy_values(const struct job_values *v, struct job_spec *ret) {
    int r = copy_text(&ret->output, v->text[KEY_OUTPUT]);

    if (r >= 0)
        r = copy_text(&ret->user_agent, v->text[KEY_USER_AGENT]);
    if (r >= 0)
        r = copy_text(&ret->referer, v->text[KEY_REFERER]);
    if (r >= 0)
        r = copy_text(&ret->tag, v->text[KEY_TAG]);
    if (r >= 0)
        r = copy_text(&ret->checksum, *v->checksum ? v->checksum : NULL);
    if (r >= 0)
        r = copy_text(&ret->credential, v->credential);
    if (r >= 0)
        r = copy_text(&ret->auth_user, v->auth_user);
    if (r >= 0)
        r = copy_text(&ret->client_certificate, v->text[KEY_CLIENT_CERTIFICATE]);
    if (r >= 0)
        r = copy_text(&ret->proxy, v->text[KEY_PROXY]);
    if (r >= 0)
        r = copy_text(&ret->proxy_auth, v->text[KEY_PROXY_AUTH]);
    if (r >= 0)
        r = copy_headers(v->headers, ret);
    if (r >= 0)
        r = copy_urls(v->urls, ret);
    ret->auth = v->auth;
    ret->on_conflict = v->on_conflict;
    ret->priority = v->priority;
    ret->retries = v->retries;
    ret->timeout_usec = v->timeout_msec * USEC_PER_MSEC;
    ret->max_size = v->max_size;
    ret->max_decoded_size = v->max_decoded_size;
    ret->size = v->size;
    ret->connections = (unsigned)v->connections;
    ret->deadline = v->deadline_msec * USEC_PER_MSEC;
    ret->not_before = v->not_before_msec * USEC_PER_MSEC;
    ret->content_disposition = job_key_given(v, KEY_CONTENT_DISPOSITION);
    ret->if_modified = job_key_given(v, KEY_IF_MODIFIED);
    ret->remote_time = job_key_given(v, KEY_REMOTE_TIME);
    ret->compressed = job_key_given(v, KEY_COMPRESSED);
    ret->n_retry_on = v->n_retry_on;
    memcpy(ret->retry_on, v->retry_on, sizeof(ret->retry_on));
    return r;
}

int job_spec_parse(const char *body, struct job_spec *ret) {
    json_auto_t *root = NULL;
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    struct job_values v = {.retries = -1, .size = -1};
    struct job_error err;
    int r;

    if (body) {
        root = json_load_all(body, strlen(body), JSON_REJECT_DUPLICATES, NULL);
        if (!root && errno == ENOMEM)
            return -ENOMEM;
        r = json_is_object(root) ? job_keys_read(root, "", &v, &err) : -EBADMSG;
        if (r < 0 || job_key_given(&v, KEY_URL))
            return r == -ENOMEM ? r : -EBADMSG;
    }
    r = copy_values(&v, &spec);
    if (r < 0)
        return r;
    *ret = spec;
    spec = JOB_SPEC_INIT;
    return 0;
}
