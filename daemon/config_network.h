/*
 * config_network.h - values of the configuration that are about the network: lists of networks,
 * schemes, a proxy, a file of certificates.
 */
#ifndef DLD_CONFIG_NETWORK_H
#define DLD_CONFIG_NETWORK_H

#include "common/buf.h"
#include "daemon/config_keys.h"

/* Appends what is allowed for the types of which this file knows, nothing for others. */
void config_network_describe(enum config_type type, struct buf *b);

/* Checks a value of such a type; all values of other types are right. A file is opened, and read up
 * to its first certificate. 0, or -EINVAL with a sentence appended to why that names the word at
 * fault. */
int config_network_check(enum config_type type, const char *value, struct buf *why);

/* What is wrong with the URL of a proxy, as the end of a sentence, or NULL. A user and a password
 * may stand before the host; libcurl reads them. */
const char *config_proxy_complaint(const char *url);

/* That complaint when out of memory. */
extern const char config_proxy_no_memory[];

#endif
