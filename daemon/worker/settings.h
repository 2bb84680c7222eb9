/*
 * settings.h - the master's CONFIG message, kept for as long as the worker lives.
 */
#ifndef DLD_WORKER_SETTINGS_H
#define DLD_WORKER_SETTINGS_H

#include "common/wire.h"

/* Copies the message with its strings. 0, or -ENOMEM with nothing to free. */
int settings_copy(const struct wire_config *from, struct wire_config *ret);
void settings_done(struct wire_config *c);

#endif
