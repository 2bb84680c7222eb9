/*
 * config_options.h - the command line of dld.
 *
 * It is read in two steps, because it says which file to read and yet beats what the file says:
 * config_options_read() before all else, config_options_apply() after all else.
 */
#ifndef DLD_CONFIG_OPTIONS_H
#define DLD_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "daemon/config_keys.h"

struct config_setting; /* --set and its shorthands */

/* Strings are views into argv. */
struct config_options {
    const char *file, *socket, *state_dir; /* NULL: not given */
    bool check;                            /* --check-config */
    enum config_task task;                 /* --check-queue, --recover */
    struct config_setting *settings;       /* in their order; owned */
    size_t n_settings;
};

/* Fills *ret, which config_options_done() frees also after a failure. Mistakes are reported to e.
 * --help, --version and --print-config are answered on out. 0: go on, 1: answered, -ENOMEM. */
int config_options_read(struct config_options *ret, int argc, char **argv, FILE *out,
                        struct config_errors *e);

/* Puts --set, --workers and --output-root into c; the last of two for one key counts. */
void config_options_apply(const struct config_options *o, struct config *c,
                          struct config_errors *e);

void config_options_done(struct config_options *o);

#endif
