#include "common/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "common/util.h"

#define BLANKS " \t\r\n"
#define MAPPED_BITS 96

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64_prefix[12] = {0x00, 0x64, 0xff, 0x9b};
static const uint8_t compatible_prefix[12] = {0};
static const uint8_t six_to_four_prefix[2] = {0x20, 0x02};

static struct ip ip_v4(const uint8_t *bytes) {
    struct ip ip = {.is_v4 = true};

    memcpy(ip.bytes, bytes, 4);
    return ip;
}

static bool ip_is_mapped(const struct ip *ip) {
    return !ip->is_v4 && memcmp(ip->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static void ip_unmap(struct ip *ip) {
    if (ip_is_mapped(ip))
        *ip = ip_v4(ip->bytes + 12);
}

/* As written: a mapped address stays one. */
static int ip_read(const char *text, struct ip *ret) {
    struct ip ip = {.is_v4 = !strchr(text, ':')};

    if (inet_pton(ip.is_v4 ? AF_INET : AF_INET6, text, ip.bytes) != 1)
        return -EINVAL;
    *ret = ip;
    return 0;
}

int ip_parse(const char *text, struct ip *ret) {
    int r = ip_read(text, ret);

    if (r == 0)
        ip_unmap(ret);
    return r;
}

int ip_from_sockaddr(const struct sockaddr *address, struct ip *ret) {
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        *ret = ip_v4((const uint8_t *)&in->sin_addr);
        return 0;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

        *ret = (struct ip){.is_v4 = false};
        memcpy(ret->bytes, &in6->sin6_addr, sizeof(ret->bytes));
        ip_unmap(ret);
        return 0;
    }
    return -EAFNOSUPPORT;
}

void ip_format(const struct ip *ip, char *ret) {
    if (!inet_ntop(ip->is_v4 ? AF_INET : AF_INET6, ip->bytes, ret, INET6_ADDRSTRLEN))
        *ret = '\0';
}

/* ---- lists ---- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

static bool has_host_bits(const struct cidr *c) {
    unsigned all = c->ip.is_v4 ? 32 : 128;

    for (unsigned i = c->bits; i < all; i++)
        if (c->ip.bytes[i / 8] & (0x80 >> i % 8))
            return true;
    return false;
}

/* One to three digits, at most max. */
static int read_bits(const char *text, unsigned max, unsigned *ret) {
    uint64_t n;

    if (strlen(text) > 3 || parse_u64(text, &n) < 0 || n > max)
        return -EINVAL;
    *ret = (unsigned)n;
    return 0;
}

/* NULL, or what is wrong with it. */
static const char *read_network(char *word, struct cidr *ret) {
    char *slash = strchr(word, '/');

    if (slash)
        *slash = '\0';
    if (ip_read(word, &ret->ip) < 0)
        return "is no IPv4 or IPv6 address";
    ret->bits = ret->ip.is_v4 ? 32 : 128;
    if (slash && read_bits(slash + 1, ret->bits, &ret->bits) < 0)
        return ret->ip.is_v4 ? "has no prefix length from 0 to 32 behind its '/'"
                             : "has no prefix length from 0 to 128 behind its '/'";
    if (has_host_bits(ret))
        return "is no network: it has bits set behind its prefix";
    if (ip_is_mapped(&ret->ip) && ret->bits >= MAPPED_BITS) {
        ip_unmap(&ret->ip);
        ret->bits -= MAPPED_BITS;
    }
    return NULL;
}

int cidr_list_parse(const char *text, struct cidr_list *ret, const char **ret_word, size_t *ret_len,
                    const char **ret_why) {
    char word[CIDR_TEXT_MAX];

    ret->n = 0;
    for (;;) {
        text += strspn(text, BLANKS);
        size_t n = strcspn(text, BLANKS);

        if (n == 0)
            return 0;
        if (ret->n == CIDR_LIST_MAX)
            return -E2BIG;
        *ret_word = text;
        *ret_len = n;
        *ret_why = "is no IPv4 or IPv6 address";
        if (n >= sizeof(word))
            return -EINVAL;
        memcpy(word, text, n);
        word[n] = '\0';
        *ret_why = read_network(word, &ret->networks[ret->n]);
        if (*ret_why)
            return -EINVAL;
        ret->n++;
        text += n;
    }
}

bool cidr_list_has(const struct cidr_list *list, const struct ip *ip) {
    for (size_t i = 0; i < list->n; i++) {
        const struct cidr *c = &list->networks[i];

        if (c->ip.is_v4 == ip->is_v4 && bits_equal(c->ip.bytes, ip->bytes, c->bits))
            return true;
    }
    return false;
}

/* ---- judging ---- */

/* :: and ::1 look like IPv4-compatible addresses, and are none. */
static bool is_special(const struct ip *ip) {
    static const uint8_t zeros[15] = {0};

    return memcmp(ip->bytes, zeros, sizeof(zeros)) == 0 && ip->bytes[15] <= 1;
}

/* The IPv4 address within an IPv6 address, if there is one. */
static bool ip_carries(const struct ip *ip, struct ip *ret) {
    if (ip->is_v4 || is_special(ip))
        return false;
    if (memcmp(ip->bytes, six_to_four_prefix, sizeof(six_to_four_prefix)) == 0)
        *ret = ip_v4(ip->bytes + 2);
    else if (memcmp(ip->bytes, nat64_prefix, sizeof(nat64_prefix)) == 0 ||
             memcmp(ip->bytes, compatible_prefix, sizeof(compatible_prefix)) == 0)
        *ret = ip_v4(ip->bytes + 12);
    else
        return false;
    return true;
}

bool cidr_refuses(const struct cidr_list *deny, const struct cidr_list *allow,
                  const struct ip *ip) {
    struct ip carried;

    if (cidr_list_has(allow, ip))
        return false;
    if (cidr_list_has(deny, ip))
        return true;
    return ip_carries(ip, &carried) && cidr_list_has(deny, &carried) &&
           !cidr_list_has(allow, &carried);
}
