/* A URL and an `output`, a line each, and any bytes: what is taken has one form, and every name that
 * comes of it lies beneath the root. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "common/naming.h"
#include "common/text.h"
#include "daemon/worker/address.h"

static bool is_name(const char *s) {
    return path_is_safe(s) && !strchr(s, '/') && strlen(s) <= NAME_MAX_BYTES;
}

static void check_path(const char *path) {
    fuzz_check(path_is_safe(path) && strlen(path) <= OUTPUT_MAX_BYTES);
    fuzz_check(*path && *path != '/' && path[strlen(path) - 1] != '/');
    fuzz_check(text_is_printable(path, strlen(path)));
    for (const char *s = path; s; s = strchr(s, '/') ? strchr(s, '/') + 1 : NULL) {
        size_t n = strcspn(s, "/");

        fuzz_check(n > 0 && n <= NAME_MAX_BYTES);
        fuzz_check(!(n == 1 && s[0] == '.') && !(n == 2 && s[0] == '.' && s[1] == '.'));
        fuzz_check(strncmp(s, ".dld-", 5) != 0);
    }
}

static void check_numbered(const char *path) {
    static const unsigned numbers[] = {0, 1, 9, 4294967295};
    char name[NAME_MAX_BYTES + 1];
    const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

    for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
        name_with_number(path, numbers[i], name);
        fuzz_check(is_name(name) && (numbers[i] > 0 || streq(name, last)));
    }
}

static void check_output(const struct url *u, const char *output) {
    _cleanup_free_ char *path = NULL, *again = NULL;
    const char *why = NULL;
    bool good = output_check(output, &why) == 0;
    int r = output_expand(output, u, 41, 2, &path);

    fuzz_check(good == !why);
    fuzz_check(r == 0 || r == -ENAMETOOLONG || (r == -EINVAL && !good));
    if (r < 0 || !good)
        return;
    check_path(path);
    check_numbered(path);
    fuzz_check(output_expand(output, u, 41, 2, &again) == 0 && streq(path, again));
}

static void check_name(const struct url *u) {
    _cleanup_free_ char *name = name_from_url(u), *path = NULL;

    fuzz_check(name && is_name(name));
    fuzz_check(output_expand(NULL, u, 41, 2, &path) == 0 && streq(path, name));
    check_numbered(name);
}

static void check_host_key(const struct url *u) {
    char port[8];
    size_t n = strlen(u->host_key);

    snprintf(port, sizeof(port), ":%u", u->port);
    fuzz_check(u->port > 0 && n == u->host_len + strlen(port));
    fuzz_check(memcmp(u->host_key, u->host, u->host_len) == 0);
    fuzz_check(streq(u->host_key + u->host_len, port));
    for (const char *s = u->host_key; *s; s++)
        fuzz_check(*s > ' ' && *s < 0x7f && !(*s >= 'A' && *s <= 'Z') && !strchr("/\\@?#%", *s));
}

/* The canonical form is its own, and libcurl agrees about it or the URL is refused. */
static void check_canonical(const struct url *u) {
    static struct address address;
    _cleanup_(url_done) struct url again = {0};
    struct failure f;
    const char *why;
    size_t column;

    fuzz_check(strlen(u->text) <= URL_MAX_LENGTH);
    fuzz_check(u->path[0] == '/' && u->path + u->path_len <= u->text + strlen(u->text));
    for (const char *s = u->text; *s; s++)
        fuzz_check(*s > ' ' && *s < 0x7f && !strchr("\"<>\\^`{|}#", *s));
    fuzz_check(url_parse(u->text, &again, &why, &column) == 0);
    fuzz_check(streq(again.text, u->text) && streq(again.host_key, u->host_key));
    fuzz_check(again.port == u->port && again.scheme == u->scheme);
    if (!address.curl)
        fuzz_check(address_init(&address) == 0);
    failure_clear(&f);
    if (address_set(&address, u->text, &f))
        fuzz_check(streq(address.url.host_key, u->host_key));
    else
        fuzz_check(f.error == ERR_URL);
}

static void check_safe(const char *s, size_t n) {
    _cleanup_free_ char *name = name_make_safe(s, n), *again = NULL;

    if (!name)
        return;
    fuzz_check(is_name(name) && text_is_printable(name, strlen(name)));
    again = name_make_safe(name, strlen(name));
    fuzz_check(again && streq(again, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = fuzz_line(&data, &size), *output = fuzz_line(&data, &size);
    _cleanup_free_ char *bytes = fuzz_copy(data, size);
    _cleanup_(url_done) struct url u = {0};
    const char *why = NULL;
    size_t column = 0;
    int r = url_parse(text, &u, &why, &column);

    check_safe(bytes, size);
    check_safe(text, strlen(text));
    if (r < 0) {
        fuzz_check(r == -EINVAL && why && column <= strlen(text) + 1);
        return 0;
    }
    check_host_key(&u);
    check_canonical(&u);
    check_name(&u);
    check_output(&u, output);
    return 0;
}
