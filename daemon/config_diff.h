/*
 * config_diff.h - what is different in a configuration that was read again, and what of it can hold
 * without a restart.
 */
#ifndef DLD_CONFIG_DIFF_H
#define DLD_CONFIG_DIFF_H

#include "daemon/config.h"

/* name is "retry.base", or "[host "*.example.com"]" for a section with a name; live: it can hold at
 * once. Valid during the call. */
typedef void config_differs_fn(void *userdata, const char *name, bool live);

/* Calls fn for each key and each section with a name that is not the same, or only in one of both,
 * or behind another one than it was.
 * The paths of the socket and the state directory are not compared: they come from where they can't
 * have changed. */
void config_differences(const struct config *a, const struct config *b, config_differs_fn *fn,
                        void *userdata);

/* Exchanges the values of those keys of which differences can't hold without a restart. */
void config_exchange_fixed(struct config *a, struct config *b);

#endif
