/*
 * config_rate.h - values of the configuration that are about limits: a rate, a time of day, days.
 */
#ifndef DLD_CONFIG_RATE_H
#define DLD_CONFIG_RATE_H

#include "common/buf.h"
#include "daemon/config_keys.h"

/* Appends what is allowed for the types of which this file knows, and returns whether it is one. */
bool config_rate_describe(enum config_type type, struct buf *b);

/* Reads a value of such a type. 0, or -EINVAL. */
int config_rate_read(enum config_type type, const char *value, uint64_t *ret);

#endif
