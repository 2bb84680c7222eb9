/*
 * config_keys.h - the one table of what can be configured, and how a value is read.
 *
 * The table is what dld.conf, DLD_* and --set are checked against, what `dld --print-config` prints
 * and what the man page is compared with. A new key is a field of struct config and a row here.
 */
#ifndef DLD_CONFIG_KEYS_H
#define DLD_CONFIG_KEYS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"
#include "daemon/config.h"

enum config_type {
    CONFIG_COUNT,    /* unsigned: min..max */
    CONFIG_DURATION, /* uint64_t usec: min..max */
    CONFIG_SIZE,     /* uint64_t bytes: min..max */
    CONFIG_MODE,     /* unsigned, octal: min are bits it must have, max those it may have */
    CONFIG_CHOICE,   /* unsigned or int: the value of one of choices */
    CONFIG_KEEP,     /* struct config_keep */
    /* read by config_rate: */
    CONFIG_RATE,  /* uint64_t bytes a second, 0: none */
    CONFIG_CLOCK, /* unsigned: minutes since midnight */
    CONFIG_DAYS,  /* unsigned: bits, as in struct rate_window */
    CONFIG_PATH,     /* char *: not empty; "~/" becomes the home directory, made absolute by
                        config_load() */
    CONFIG_GROUP,    /* char *: a group that exists, or "" */
    /* char *, checked by config_network: */
    CONFIG_NETWORKS, /* for cidr_list_parse() */
    CONFIG_SCHEMES,  /* one at least, with blanks between them */
    CONFIG_PROXY,    /* a URL for CURLOPT_PROXY, or "" */
    CONFIG_CA_FILE,  /* a path as CONFIG_PATH of a file that can be read, or "" */
    CONFIG_CREDENTIAL, /* the name of a credential, or "" */
};

struct config_choice {
    const char *name; /* NULL ends the list */
    unsigned value;
};

struct config_key {
    const char *section, *name;
    enum config_type type;
    size_t offset; /* of the field in struct config */
    uint64_t min, max;
    const struct config_choice *choices;
    const char *standard;      /* default, as it would be written in a file */
    const char *standard_user; /* default of an ordinary user's own daemon; NULL: the same */
    bool fixed;                /* takes a restart to change */
    const char *help;          /* sentences for the documented file */
};

/* What [transfer] digest stands for: "sha-256"; NULL for none. */
const char *config_digest_name(unsigned value);

#define CONFIG_KEYS_MAX 64

extern const struct config_key config_keys[];
extern const size_t config_n_keys; /* at most CONFIG_KEYS_MAX; keys of a section are neighbours */

/* NULL when there is none. */
const struct config_key *config_key_find(const char *section, const char *name);

/* Appends what is allowed: "a number from 1 to 1024", "batch, always or never". */
void config_key_describe(const struct config_key *k, struct buf *b);

/* Reads value into k's field of c (a struct config, or what else its offset is in), and frees what
 * was there. 0; -EINVAL with a sentence appended to why that says what is allowed; -ENOMEM. c is
 * untouched on failure. */
int config_key_set(const struct config_key *k, const char *value, void *c,
                   struct buf *why);

/* Counts the errors of all sources, and stops printing when there are too many. */
struct config_errors {
    FILE *err;
    unsigned count;
};

#define CONFIG_ERRORS_MAX 20 /* shown */

/* Prints "dld: " and the message as one line. */
void config_error(struct config_errors *e, const char *fmt, ...) _printf_(2, 3);

/* config_key_set(), its failure reported under place ("FILE:LINE: [section] key"). */
void config_key_assign(const struct config_key *k, const char *value, void *c,
                       const char *place, struct config_errors *e);

#endif
