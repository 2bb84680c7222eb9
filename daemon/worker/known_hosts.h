/*
 * known_hosts.h - the host keys that are known of one host, out of an OpenSSH known_hosts file.
 *
 * libssh2 is given these alone: by itself it takes a key known for port 22 for one of every port,
 * and libcurl makes the server show a key of the type of the first hashed line, whosever that is.
 * Here a host on another port than 22 is "[HOST]:PORT" and nothing else; patterns with * and ? and
 * !, hashed names and several names in a line are understood; @revoked keys are no keys, and
 * certificates (@cert-authority) are left out, since libssh2 has none.
 */
#ifndef DLD_WORKER_KNOWN_HOSTS_H
#define DLD_WORKER_KNOWN_HOSTS_H

#include <stdint.h>
#include <stdio.h>

#include "common/url.h"

/* "host" or "[host]:port", as known_hosts files name it, of at most size bytes. */
void known_hosts_name(const struct url *url, char *ret, size_t size);

/* Writes the lines of the host of that name to `to`, in clear, the strongest type of key first.
 * Returns how many there are, or a negative errno. */
int known_hosts_pick(FILE *from, const char *name, FILE *to);

/* The same from a file into memory: *ret_fd is a descriptor that /proc/self/fd leads to. A file
 * that can't be read is an empty one. */
int known_hosts_open(const char *file, const char *name, int *ret_fd);

#endif
