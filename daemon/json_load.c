#include "daemon/json_load.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static _Thread_local bool lacking;

static void *noting_malloc(size_t n) {
    void *p = malloc(n);

    lacking |= p == NULL;
    return p;
}

json_t *json_load_all(const char *text, size_t n, size_t flags, json_error_t *error) {
    json_t *value;

    json_set_alloc_funcs(noting_malloc, free);
    lacking = false;
    value = json_loadb(text, n, flags, error);
    if (lacking) {
        json_decref(value);
        value = NULL;
    }
    errno = lacking ? ENOMEM : 0;
    return value;
}
