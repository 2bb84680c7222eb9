/*
 * cidr.h - lists of networks ("10.0.0.0/8 fe80::/10"), and which addresses a program may connect to
 * by them.
 *
 * An IPv4-mapped IPv6 address (::ffff:10.0.0.1) is that IPv4 address, everywhere: in a list, and in
 * what is judged. An IPv6 network never holds an IPv4 address, so that ::/0 is all of IPv6 and
 * nothing else.
 *
 * Other IPv6 addresses carry an IPv4 address to which a gateway passes on what is sent there:
 * IPv4-compatible ones (::10.0.0.1), those of NAT64 (64:ff9b::/96) and of 6to4 (2002::/16). They
 * are judged as themselves and by what they carry. A translation prefix of a network's own
 * (RFC 6052) can't be known here; it belongs in a list.
 */
#ifndef DLD_CIDR_H
#define DLD_CIDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CIDR_LIST_MAX 256 /* networks in a list */
#define CIDR_TEXT_MAX (INET6_ADDRSTRLEN + 4)

struct ip {
    bool is_v4;
    uint8_t bytes[16]; /* in network order; of an IPv4 address the first 4 */
};

struct cidr {
    struct ip ip;
    unsigned bits; /* of the prefix: those that count */
};

struct cidr_list {
    size_t n;
    struct cidr networks[CIDR_LIST_MAX];
};

/* Reads networks separated by blanks; none is a list too. An address alone is a network of its own.
 * -EINVAL: *ret_why is a static sentence part that says what is wrong with the word of *ret_len
 * bytes at *ret_word (a view into text); -E2BIG: more than CIDR_LIST_MAX. *ret is then of no use.
 */
int cidr_list_parse(const char *text, struct cidr_list *ret, const char **ret_word, size_t *ret_len,
                    const char **ret_why);

/* Reads an address without brackets. -EINVAL. */
int ip_parse(const char *text, struct ip *ret);

/* The address of a socket address; its port counts for nothing. -EAFNOSUPPORT for others than
 * AF_INET and AF_INET6. */
int ip_from_sockaddr(const struct sockaddr *address, struct ip *ret);

/* As a person writes it, at most INET6_ADDRSTRLEN bytes with the NUL. */
void ip_format(const struct ip *ip, char *ret);

bool cidr_list_has(const struct cidr_list *list, const struct ip *ip);

/* Whether deny holds the address, or one that it carries, and allow doesn't hold the same. An
 * address that allow holds itself is never refused. */
bool cidr_refuses(const struct cidr_list *deny, const struct cidr_list *allow, const struct ip *ip);

#endif
