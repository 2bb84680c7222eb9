#include <stdio.h>
#include <errno.h>
#include <string.h>

#include "common/text.h"
#include "common/util.h"
#include "daemon/config_network.h"
#include "daemon/credentials.h"
#include "daemon/job_keys.h"

#define PROXY_MAX 1024

/* "expected WHAT, found VALUE" */
static int expected(const char *place, const char *what, const json_t *v, struct job_error *err) {
    char found[TEXT_QUOTED_MAX];

    return job_refuse(err, place, NULL, "expected %s, found %s", what, job_value_text(found, v));
}

int job_credential_read(const json_t *name, const char *place, const char **ret,
                        struct job_error *err) {
    const char *s = json_string_value(name);

    if (!s || strlen(s) != json_string_length(name) || !credential_name_is_valid(s))
        return expected(place,
                        "the name of a credential: 1 to 64 letters, digits and ._@-, no dot first",
                        name, err);
    *ret = s;
    return 0;
}

static int read_type(const json_t *type, const char *place, enum job_auth *ret,
                     struct job_error *err) {
    char full[180];

    snprintf(full, sizeof(full), "%s.type", place);
    if (!type)
        return job_refuse(err, place, NULL, "\"type\" is missing");
    if (!json_is_string(type) || job_auth_parse(json_string_value(type), ret) < 0)
        return expected(full, "\"basic\", \"digest\", \"bearer\", \"netrc\" or \"key\"", type,
                        err);
    return 0;
}

/* Who logs in with a key. Of other types the credential says it. */
static int read_user(const json_t *user, const char *place, struct job_values *v,
                     struct job_error *err) {
    const char *s = json_string_value(user);
    char full[180];

    if (v->auth != JOB_AUTH_KEY)
        return user ? job_refuse(err, place, "user", "is for type \"key\"; else the credential has it")
                    : 0;
    if (!user)
        return job_refuse(err, place, NULL, "\"user\" is missing");
    snprintf(full, sizeof(full), "%s.user", place);
    if (!s || !*s || strlen(s) > CREDENTIAL_USER_MAX || strlen(s) != json_string_length(user) ||
        !text_is_printable(s, strlen(s)))
        return expected(full, "a user's name of at most 255 bytes", user, err);
    v->auth_user = s;
    return 0;
}

int job_auth_read(const json_t *auth, const char *place, struct job_values *v,
                  struct job_error *err) {
    const json_t *credential = json_object_get(auth, "credential");
    const char *name;
    json_t *value;
    char full[180];
    int r;

    if (!json_is_object(auth))
        return expected(place, "an object of \"type\" and \"credential\"", auth, err);
    json_object_foreach((json_t *)auth, name, value) {
        if (!streq(name, "type") && !streq(name, "credential") && !streq(name, "user"))
            return job_refuse(err, place, name, "unknown key; the keys are type, credential, user");
    }
    r = read_type(json_object_get(auth, "type"), place, &v->auth, err);
    if (r < 0)
        return r;
    if (!credential)
        return job_refuse(err, place, NULL, "\"credential\" is missing");
    r = read_user(json_object_get(auth, "user"), place, v, err);
    if (r < 0)
        return r;
    snprintf(full, sizeof(full), "%s.credential", place);
    return job_credential_read(credential, full, &v->credential, err);
}

/* The value is not repeated: it may hold a password. */
int job_proxy_read(const json_t *proxy, const char *place, const char **ret,
                   struct job_error *err) {
    const char *s = json_string_value(proxy), *complaint = NULL;

    if (!s)
        return expected(place, "a string", proxy, err);
    if (json_string_length(proxy) > PROXY_MAX || strlen(s) != json_string_length(proxy))
        complaint = "is none";
    else if (strchr(s, '@'))
        complaint = "holds a user; proxy_auth names a credential for that";
    else if (!streq(s, "none"))
        complaint = config_proxy_complaint(s);
    if (complaint == config_proxy_no_memory)
        return -ENOMEM;
    if (complaint)
        return job_refuse(err, place, NULL,
                          "the URL of the proxy %s; write http://HOST:PORT, https://HOST:PORT or "
                          "socks5h://HOST:PORT, or none for no proxy",
                          complaint);
    *ret = s;
    return 0;
}

static bool has_header(const struct job_values *v, const char *name) {
    struct job_values defaults = {.headers = v->default_headers};

    return job_header_given(v, name) || job_header_given(&defaults, name);
}

int job_access_check(const struct job_values *v, const char *place, struct job_error *err) {
    const char *proxy = v->text[KEY_PROXY];

    if (v->auth != JOB_AUTH_NONE && has_header(v, "Authorization"))
        return job_refuse(err, place, NULL,
                          "\"auth\" and an Authorization header are both given; leave one out");
    if (v->text[KEY_PROXY_AUTH] && !proxy)
        return job_refuse(err, place, "proxy_auth",
                          "is for the job's own \"proxy\", which is missing");
    if (v->text[KEY_PROXY_AUTH] && has_header(v, "Proxy-Authorization"))
        return job_refuse(
            err, place, NULL,
            "\"proxy_auth\" and a Proxy-Authorization header are both given; leave one out");
    return 0;
}
