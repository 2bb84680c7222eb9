/*
 * Files of secrets and of host keys. The first byte says what it is taken for. What is made out of a
 * credential lies within it and is clean; a refusal says the same, whatever the secret is.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "common/text.h"
#include "daemon/credentials.h"
#include "daemon/worker/known_hosts.h"

static struct credential make(const uint8_t *data, size_t size) {
    struct credential c = {.text = fuzz_text(data, size)};

    c.size = strlen(c.text) + 1;
    return c;
}

static bool is_within(const struct credential *c, const char *s) {
    return s >= c->text && s < c->text + c->size && s + strlen(s) < c->text + c->size;
}

static bool is_clean(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static void check_user(const struct credential *c) {
    fuzz_check(c->user && c->secret && is_within(c, c->user) && is_within(c, c->secret));
    fuzz_check(is_clean(c->user) && is_clean(c->secret) && !strchr(c->user, ':'));
    fuzz_check(strlen(c->user) <= CREDENTIAL_USER_MAX);
    fuzz_check(strlen(c->secret) <= CREDENTIAL_PASSWORD_MAX);
}

static int as_password(struct credential *c, char *why) {
    int r = credential_password(c, "n", why);

    if (r == 0)
        check_user(c);
    return r;
}

static int as_token(struct credential *c, char *why) {
    int r = credential_token(c, "n", why);

    if (r == 0)
        fuzz_check(is_within(c, c->secret) && strlen(c->secret) <= CREDENTIAL_TOKEN_MAX &&
                   *c->secret && is_clean(c->secret) && !strchr(c->secret, ' '));
    return r;
}

static int as_netrc(struct credential *c, const char *host, bool may_default, char *why) {
    int r = credential_netrc(c, "n", host, may_default, why);

    if (r == 1)
        check_user(c);
    else
        fuzz_check(!c->user && !c->secret);
    return r < 0 ? r : 0;
}

static int as_pem(struct credential *c, bool key, char *why) {
    int r = key ? credential_key(c, "n", why) : credential_certificate(c, "n", why);

    if (r == 0)
        fuzz_check(c->secret == c->text);
    return r;
}

static void secret(char which, const uint8_t *data, size_t size) {
    struct credential c = make(data, size);
    char why[CREDENTIAL_WHY_MAX] = "";
    int r;

    switch (which) {
    case 'p':
        r = as_password(&c, why);
        break;
    case 't':
        r = as_token(&c, why);
        break;
    case 'n':
        r = as_netrc(&c, "example.com", true, why);
        break;
    case 'm':
        r = as_netrc(&c, "example.com", false, why);
        break;
    default:
        r = as_pem(&c, which == 'k', why);
    }
    fuzz_check(r == 0 || r == -ENOKEY);
    fuzz_check((r == 0) == !*why && text_is_printable(why, strlen(why)));
    credential_done(&c);
    fuzz_check(!c.text);
}

static void host_keys(const uint8_t *data, size_t size) {
    static const char name[] = "[example.com]:2222";
    _cleanup_free_ char *copy = fuzz_copy(data, size), *out = NULL;
    size_t n_out = 0;
    FILE *from = size > 0 ? fmemopen(copy, size, "r") : NULL, *to = open_memstream(&out, &n_out);
    int n, lines = 0;

    fuzz_check(to && (from || size == 0));
    n = known_hosts_pick(from, name, to);
    fclose(to);
    if (from)
        fclose(from);
    fuzz_check(n >= 0);
    for (const char *s = out; *s; lines++) {
        fuzz_check(strncmp(s, name, strlen(name)) == 0 && s[strlen(name)] == ' ');
        s += strcspn(s, "\n");
        fuzz_check(*s == '\n');
        s++;
    }
    fuzz_check(lines == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t which = fuzz_byte(&data, &size);

    if (which == 'h')
        host_keys(data, size);
    else if (which && strchr("ptnmkc", which))
        secret((char)which, data, size);
    else
        return -1;
    return 0;
}
