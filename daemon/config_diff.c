#include "daemon/config_diff.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/util.h"
#include "daemon/config_keys.h"

#define NAME_MAX_BYTES 320

static size_t key_size(const struct config_key *k) {
    switch (k->type) {
    case CONFIG_DURATION:
    case CONFIG_SIZE:
    case CONFIG_RATE:
        return sizeof(uint64_t);
    case CONFIG_KEEP:
        return sizeof(struct config_keep);
    default:
        return k->type < CONFIG_PATH ? sizeof(unsigned) : sizeof(char *);
    }
}

static bool key_differs(const struct config_key *k, const struct config *a,
                        const struct config *b) {
    const void *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;
    const char *s, *t;

    if (k->type < CONFIG_PATH)
        return memcmp(x, y, key_size(k)) != 0;
    s = *(char *const *)x;
    t = *(char *const *)y;
    return s && t ? !streq(s, t) : s != t;
}

static bool rule_differs(const struct config_host_rule *a, const struct config_host_rule *b) {
    return a->given != b->given || a->values.connections != b->values.connections ||
           a->values.delay != b->values.delay || a->values.rate != b->values.rate;
}

static bool window_differs(const struct config_window *a, const struct config_window *b) {
    return a->window.from != b->window.from || a->window.to != b->window.to ||
           a->window.days != b->window.days || a->window.limit != b->window.limit;
}

static const struct config_host_rule *find_rule(const struct config *c, const char *pattern) {
    for (size_t i = 0; i < c->n_host_rules; i++)
        if (strcasecmp(c->host_rules[i].pattern, pattern) == 0)
            return &c->host_rules[i];
    return NULL;
}

static const struct config_window *find_window(const struct config *c, const char *name) {
    for (size_t i = 0; i < c->n_windows; i++)
        if (streq(c->windows[i].window.name, name))
            return &c->windows[i];
    return NULL;
}

/* The nearest section in front of one that the other configuration has too, or NULL. */
static const struct config_host_rule *rule_before(const struct config *c,
                                                  const struct config_host_rule *rule,
                                                  const struct config *other) {
    while (rule > c->host_rules)
        if (find_rule(other, (--rule)->pattern))
            return rule;
    return NULL;
}

static const struct config_window *window_before(const struct config *c,
                                                 const struct config_window *window,
                                                 const struct config *other) {
    while (window > c->windows)
        if (find_window(other, (--window)->window.name))
            return window;
    return NULL;
}

/* Of several sections that fit the last one counts, so that their order is content, too. */
static bool rule_moved(const struct config *a, const struct config_host_rule *x,
                       const struct config *b, const struct config_host_rule *y) {
    x = rule_before(a, x, b);
    y = rule_before(b, y, a);
    return x && y ? find_rule(b, x->pattern) != y : x || y;
}

static bool window_moved(const struct config *a, const struct config_window *x,
                         const struct config *b, const struct config_window *y) {
    x = window_before(a, x, b);
    y = window_before(b, y, a);
    return x && y ? find_window(b, x->window.name) != y : x || y;
}

static void section_differs(const char *kind, const char *name, config_differs_fn *fn,
                            void *userdata) {
    char text[NAME_MAX_BYTES];

    snprintf(text, sizeof(text), "[%s \"%s\"]", kind, name);
    fn(userdata, text, true);
}

/* Sections of a that b doesn't have; and, if values is set, those that are not the same there,
 * or stand elsewhere. */
static void sections_differ(const struct config *a, const struct config *b, bool values,
                            config_differs_fn *fn, void *userdata) {
    for (size_t i = 0; i < a->n_host_rules; i++) {
        const struct config_host_rule *mine = &a->host_rules[i];
        const struct config_host_rule *other = find_rule(b, mine->pattern);

        if (!other || (values && (rule_differs(mine, other) || rule_moved(a, mine, b, other))))
            section_differs("host", mine->pattern, fn, userdata);
    }
    for (size_t i = 0; i < a->n_windows; i++) {
        const struct config_window *mine = &a->windows[i];
        const struct config_window *other = find_window(b, mine->window.name);

        if (!other || (values && (window_differs(mine, other) || window_moved(a, mine, b, other))))
            section_differs("rate", mine->window.name, fn, userdata);
    }
}

void config_differences(const struct config *a, const struct config *b, config_differs_fn *fn,
                        void *userdata) {
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        char name[NAME_MAX_BYTES];

        if (!key_differs(k, a, b))
            continue;
        snprintf(name, sizeof(name), "%s.%s", k->section, k->name);
        fn(userdata, name, !k->fixed);
    }
    sections_differ(b, a, true, fn, userdata);
    sections_differ(a, b, false, fn, userdata);
}

void config_exchange_fixed(struct config *a, struct config *b) {
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        void *x = (char *)a + k->offset, *y = (char *)b + k->offset;
        char held[sizeof(struct config_keep)];
        size_t n = key_size(k);

        if (!k->fixed)
            continue;
        memcpy(held, x, n);
        memcpy(x, y, n);
        memcpy(y, held, n);
    }
}
