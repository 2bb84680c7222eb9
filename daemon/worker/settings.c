#include "daemon/worker/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* All that are strings. */
static size_t list_strings(struct wire_config *c, const char ***ret) {
    const char **strings[] = {&c->store_id, &c->digest, &c->ca_file, &c->schemes,
                              &c->deny,     &c->allow,  &c->proxy,   &c->known_hosts};

    memcpy(ret, strings, sizeof(strings));
    return ELEMENTSOF(strings);
}

int settings_copy(const struct wire_config *from, struct wire_config *ret) {
    struct wire_config c = *from;
    const char **strings[8];
    size_t n = list_strings(&c, strings);

    for (size_t i = 0; i < n; i++) {
        if (!*strings[i])
            continue;
        *strings[i] = strdup(*strings[i]);
        if (*strings[i])
            continue;
        while (i-- > 0)
            free((char *)*strings[i]);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

void settings_done(struct wire_config *c) {
    const char **strings[8];
    size_t n = list_strings(c, strings);

    for (size_t i = 0; i < n; i++)
        free((char *)*strings[i]);
    *c = (struct wire_config){.worker = 0};
}
