/*
 * json_load.h - JSON that is read whole or not at all.
 *
 * Where memory runs out in the midst of a string, jansson drops characters of it and says nothing.
 */
#ifndef DLD_JSON_LOAD_H
#define DLD_JSON_LOAD_H

#include <jansson.h>
#include <stddef.h>

/* json_loadb(), with these differences: NULL also when any memory was lacking, and errno tells: it
 * is ENOMEM then, and 0 otherwise. error may be NULL. */
json_t *json_load_all(const char *text, size_t n, size_t flags, json_error_t *error);

#endif
