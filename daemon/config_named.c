#include "daemon/config_named.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/util.h"

#define MSEC USEC_PER_MSEC
#define HOUR (3600 * USEC_PER_SEC)

#define HOST_KEY(n, t)                                                                             \
    .section = "host", .name = #n, .type = CONFIG_##t,                                             \
    .offset = offsetof(struct config_host_rule, values.n)
#define WINDOW_KEY(n, t)                                                                           \
    .section = "rate", .name = #n, .type = CONFIG_##t,                                             \
    .offset = offsetof(struct config_window, window.n)

/* In the order of enum config_host_given. */
static const struct config_key host_keys[] = {
    {HOST_KEY(connections, COUNT), .min = 1, .max = 4096},
    {HOST_KEY(delay, DURATION), .min = 0, .max = HOUR},
    {HOST_KEY(rate, RATE)},
};

#define WINDOW_NEEDS 3 /* of the keys, the first ones */
static const struct config_key window_keys[] = {
    {WINDOW_KEY(from, CLOCK)},
    {WINDOW_KEY(to, CLOCK)},
    {WINDOW_KEY(limit, RATE)},
    {WINDOW_KEY(days, DAYS)},
};

_Static_assert(ELEMENTSOF(host_keys) <= CONFIG_NAMED_KEYS_MAX &&
                   ELEMENTSOF(window_keys) <= CONFIG_NAMED_KEYS_MAX,
               "raise CONFIG_NAMED_KEYS_MAX");

/* Room for one more in an array of *n that grows one by one. */
static void *grow(void *array, size_t n, size_t size) {
    return realloc(array, (n + 1) * size);
}

/* ---- patterns of hosts ---- */

/* Where the ":port" of a host or a pattern begins, or its end. */
static size_t name_length(const char *s) {
    const char *colon = strrchr(s, ':');

    return colon && !strchr(colon, ']') ? (size_t)(colon - s) : strlen(s);
}

static bool pattern_is_valid(const char *s) {
    size_t n = name_length(s);
    uint64_t port;

    for (const char *p = s; *p; p++)
        if (!isgraph((unsigned char)*p) || *p == '"' || *p == '/')
            return false;
    if (n == 0 || (memchr(s, ':', n) && *s != '['))
        return false;
    return !s[n] || (parse_u64(s + n + 1, &port) == 0 && port > 0 && port < 65536);
}

/* '*' is any text, '?' any byte. Both are bounded, and there is no way back further than the last
 * '*', so that no pattern takes longer than the product of both lengths. */
static bool glob_match(const char *p, size_t n_p, const char *s, size_t n_s) {
    size_t i = 0, j = 0, star = SIZE_MAX, mark = 0;

    while (j < n_s) {
        if (i < n_p && p[i] == '*') {
            star = i++;
            mark = j;
        } else if (i < n_p &&
                   (p[i] == '?' || tolower((unsigned char)p[i]) == tolower((unsigned char)s[j]))) {
            i++;
            j++;
        } else if (star != SIZE_MAX) {
            i = star + 1;
            j = ++mark;
        } else {
            return false;
        }
    }
    while (i < n_p && p[i] == '*')
        i++;
    return i == n_p;
}

static bool pattern_match(const char *pattern, const char *host) {
    size_t n_p = name_length(pattern), n_h = name_length(host);

    if (pattern[n_p] && !streq(pattern + n_p, host + n_h))
        return false;
    return glob_match(pattern, n_p, host, n_h);
}

void config_host(const struct config *c, const char *host, struct config_host *ret) {
    *ret = c->host;
    for (size_t i = c->n_host_rules; i-- > 0;) {
        const struct config_host_rule *rule = &c->host_rules[i];

        if (!pattern_match(rule->pattern, host))
            continue;
        if (rule->given & HOST_GIVEN_CONNECTIONS)
            ret->connections = rule->values.connections;
        if (rule->given & HOST_GIVEN_DELAY)
            ret->delay = rule->values.delay;
        if (rule->given & HOST_GIVEN_RATE)
            ret->rate = rule->values.rate;
        return;
    }
}

/* ---- opening ---- */

static int host_open(struct config *c, const char *pattern, struct config_named *ret,
                     struct buf *why) {
    struct config_host_rule *rules;
    size_t i = 0;

    if (!pattern_is_valid(pattern)) {
        buf_addf(why, "expected a host's name with * and ?, and a port if need be, as "
                      "\"*.example.com\" or \"[::1]:8080\"");
        return -EINVAL;
    }
    while (i < c->n_host_rules && strcasecmp(c->host_rules[i].pattern, pattern) != 0)
        i++;
    if (i == c->n_host_rules) {
        rules = i < CONFIG_NAMED_MAX ? grow(c->host_rules, i, sizeof(*rules)) : NULL;
        if (!rules)
            return i < CONFIG_NAMED_MAX ? -ENOMEM : -E2BIG;
        c->host_rules = rules;
        rules[i] = (struct config_host_rule){.pattern = strdup(pattern)};
        if (!rules[i].pattern)
            return -ENOMEM;
        c->n_host_rules++;
    }
    *ret = (struct config_named){.keys = host_keys,
                                 .n_keys = ELEMENTSOF(host_keys),
                                 .number = i,
                                 .base = &c->host_rules[i],
                                 .given = &c->host_rules[i].given};
    return 0;
}

static int window_open(struct config *c, const char *name, struct config_named *ret,
                       struct buf *why) {
    struct config_window *windows;
    size_t i = 0;

    if (!*name) {
        buf_adds(why, "expected a name, as [rate \"night\"]");
        return -EINVAL;
    }
    while (i < c->n_windows && !streq(c->windows[i].window.name, name))
        i++;
    if (i == c->n_windows) {
        windows = i < CONFIG_NAMED_MAX ? grow(c->windows, i, sizeof(*windows)) : NULL;
        if (!windows)
            return i < CONFIG_NAMED_MAX ? -ENOMEM : -E2BIG;
        c->windows = windows;
        windows[i] =
            (struct config_window){.window = {.name = strdup(name), .days = TIMETABLE_ALL_DAYS}};
        if (!windows[i].window.name)
            return -ENOMEM;
        c->n_windows++;
    }
    *ret = (struct config_named){.keys = window_keys,
                                 .n_keys = ELEMENTSOF(window_keys),
                                 .number = CONFIG_NAMED_MAX + i,
                                 .base = &c->windows[i],
                                 .given = &c->windows[i].given,
                                 .place = &c->windows[i].place};
    return 0;
}

int config_named_open(struct config *c, const char *kind, const char *name,
                      struct config_named *ret, struct buf *why) {
    int r = -ENOENT;

    if (streq(kind, "host"))
        r = host_open(c, name, ret, why);
    else if (streq(kind, "rate"))
        r = window_open(c, name, ret, why);
    if (r != -E2BIG)
        return r;
    buf_addf(why, "there are more than %d such sections", CONFIG_NAMED_MAX);
    return -EINVAL;
}

void config_named_finish(const struct config *c, struct config_errors *e) {
    for (size_t i = 0; i < c->n_windows; i++)
        for (unsigned k = 0; k < WINDOW_NEEDS; k++)
            if (!(c->windows[i].given & 1u << k))
                config_error(e, "%s: [rate \"%s\"]: %s is missing", c->windows[i].place,
                             c->windows[i].window.name, window_keys[k].name);
}

void config_named_done(struct config *c) {
    for (size_t i = 0; i < c->n_host_rules; i++)
        free(c->host_rules[i].pattern);
    for (size_t i = 0; i < c->n_windows; i++) {
        free(c->windows[i].window.name);
        free(c->windows[i].place);
    }
    free(c->host_rules);
    free(c->windows);
}
