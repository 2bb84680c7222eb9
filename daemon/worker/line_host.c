#include "daemon/worker/line_host.h"

#include <string.h>

uint64_t line_host(const char *url) {
    uint64_t hash = UINT64_C(14695981039346656037);
    const char *p = strstr(url, "//");

    for (p = p ? p + 2 : url; *p && !strchr("/?#", *p); p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

void line_hosts_note(struct line_hosts *h, uint64_t host) {
    h->hash[host % LINE_HOSTS] = host;
}

bool line_hosts_has(const struct line_hosts *h, uint64_t host) {
    return h->hash[host % LINE_HOSTS] == host;
}
