/*
 * line_host.h - the hosts that have sent what nobody asked for, as far as one remembers.
 *
 * A host is a hash of what stands between "//" and the next "/" of a URL. There is one place for
 * each remainder of it: a later host may drive out an earlier one, which is then only believed
 * again until it is caught again.
 */
#ifndef DLD_WORKER_LINE_HOST_H
#define DLD_WORKER_LINE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#define LINE_HOSTS 1024

struct line_hosts {
    uint64_t hash[LINE_HOSTS]; /* 0: none */
};

/* Never 0. */
uint64_t line_host(const char *url);

void line_hosts_note(struct line_hosts *h, uint64_t host);
bool line_hosts_has(const struct line_hosts *h, uint64_t host);

#endif
