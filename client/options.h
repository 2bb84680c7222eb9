/*
 * options.h - the command line, read by tables that also print the help.
 *
 * Options are long (`--name value` or `--name=value`), stand anywhere among the other words, and
 * end at `--`. The global ones (--socket, --json, --help) go with every verb and need not be in its
 * table.
 */
#ifndef DLD_CLIENT_OPTIONS_H
#define DLD_CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/dlctl.h"

#define OPTION_LIST_MAX 100

/* Every value of an option that may be repeated, in order; views of argv. */
struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t n;
};

enum option_kind {
    OPTION_FLAG,   /* bool: true */
    OPTION_TEXT,   /* const char *: the word, which is UTF-8; a view of argv */
    OPTION_PATH,   /* const char *: of any bytes; a view of argv */
    OPTION_NUMBER, /* uint64_t: 1 and more */
    OPTION_MANY,   /* struct option_list, UTF-8 as well */
};

struct option_spec {
    const char *name; /* with its dashes; NULL ends a table */
    enum option_kind kind;
    void *target;      /* written when the option is given, of the type that kind says */
    const char *value; /* what the help calls the value; NULL for a flag */
    const char *help;
};

struct usage {
    const char *verb;
    const char *words; /* what follows the verb, as "ID... | --batch B" */
    const char *text;  /* some lines on what it does, each with its '\n' */
};

/* Reads the options out of argv, which keeps the other words: *argc of them from argv[0]. Returns
 * 0, 1 when --help was asked for and printed, -EINVAL when the command line is wrong and the
 * complaint made. */
int options_parse(struct dlctl *c, const struct usage *usage, const struct option_spec *specs,
                  int *argc, char **argv);

/* The same for what stands before the verb: stops at the first word that is no option and returns
 * how many words it took, or -EINVAL. A `--` in front of that word is put behind it. *ret_asked
 * becomes "--help" or "--version" if that was given. */
int options_parse_global(struct dlctl *c, int argc, char **argv, const char **ret_asked);

/* The global options, for the main help. */
void options_print_global(void);

/* The exit status for an options_parse() that didn't return 0. */
int options_status(int r);

/* The IDs in words: 1 to DLCTL_MAX_IDS numbers from 1. ret holds argc of them. Complains and
 * returns -EINVAL otherwise. */
int options_ids(int argc, char **argv, int64_t *ret);

/* Which jobs a verb is about: the words that are IDs, or what one of the options says. */
struct selection {
    int64_t *ids; /* owned */
    size_t n_ids;
    uint64_t batch;   /* --batch, 0: not given */
    const char *tag;  /* --tag, NULL: not given; a view, as host */
    const char *host; /* --host */
    bool all;         /* --all */
};
void selection_done(struct selection *s);

/* Completes a selection, whose options have been read, with the IDs in words; exactly one way to
 * say which must have been used. Complains and returns -EINVAL otherwise, -ENOMEM. */
int selection_make(const char *verb, int argc, char **argv, struct selection *io);

struct buf;
/* Its members of a request's params, written into an object that the caller began. */
void selection_to_json(struct buf *b, const struct selection *s);

#endif
