#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "common/cidr.h"

static void list_of(const char *text, struct cidr_list *ret) {
    const char *word, *why;
    size_t n;

    assert_int_equal(cidr_list_parse(text, ret, &word, &n, &why), 0);
}

static bool holds(const char *networks, const char *address) {
    struct cidr_list list;
    struct ip ip;

    list_of(networks, &list);
    assert_int_equal(ip_parse(address, &ip), 0);
    return cidr_list_has(&list, &ip);
}

static bool refuses(const char *deny, const char *allow, const char *address) {
    struct cidr_list denied, allowed;
    struct ip ip;

    list_of(deny, &denied);
    list_of(allow, &allowed);
    assert_int_equal(ip_parse(address, &ip), 0);
    return cidr_refuses(&denied, &allowed, &ip);
}

/* text is refused because of word, with a reason that has these words in it. */
static void assert_wrong(const char *text, const char *word, const char *reason) {
    struct cidr_list list;
    const char *at = NULL, *why = NULL;
    size_t n = 0;

    assert_int_equal(cidr_list_parse(text, &list, &at, &n, &why), -EINVAL);
    assert_int_equal(n, strlen(word));
    assert_memory_equal(at, word, n);
    assert_non_null(strstr(why, reason));
}

/* ---- lists ---- */

static void test_no_network_holds_nothing(void **state) {
    (void)state;
    assert_false(holds("", "127.0.0.1"));
    assert_false(holds(" \t ", "::1"));
}

static void test_networks_hold_their_addresses(void **state) {
    (void)state;
    assert_true(holds("10.0.0.0/8", "10.255.255.255"));
    assert_false(holds("10.0.0.0/8", "11.0.0.0"));
    assert_true(holds("172.16.0.0/12", "172.31.0.1"));
    assert_false(holds("172.16.0.0/12", "172.32.0.1"));
    assert_true(holds("fe80::/10", "febf::1"));
    assert_false(holds("fe80::/10", "fec0::1"));
}

static void test_every_network_of_a_list_counts(void **state) {
    (void)state;
    assert_true(holds(" 10.0.0.0/8  fe80::/10\t192.168.0.0/16 ", "192.168.7.7"));
    assert_true(holds("10.0.0.0/8 fe80::/10", "fe80::7"));
}

static void test_address_alone_is_a_network(void **state) {
    (void)state;
    assert_true(holds("192.0.2.7", "192.0.2.7"));
    assert_false(holds("192.0.2.7", "192.0.2.6"));
    assert_true(holds("2001:db8::1", "2001:db8::1"));
    assert_false(holds("2001:db8::1", "2001:db8::2"));
}

static void test_prefix_of_no_bits_is_the_family(void **state) {
    (void)state;
    assert_true(holds("0.0.0.0/0", "203.0.113.9"));
    assert_false(holds("0.0.0.0/0", "2001:db8::1"));
    assert_true(holds("::/0", "2001:db8::1"));
    assert_false(holds("::/0", "203.0.113.9"));
}

static void test_mapped_addresses_are_ipv4(void **state) {
    (void)state;
    assert_true(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
    assert_true(holds("0.0.0.0/0", "::ffff:7f00:1"));
    assert_false(holds("::/0", "::ffff:127.0.0.1"));
}

static void test_mapped_networks_are_ipv4(void **state) {
    (void)state;
    assert_true(holds("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_true(holds("::ffff:0:0/96", "192.0.2.1"));
    assert_true(holds("::ffff:192.0.2.1", "192.0.2.1"));
}

/* Every prefix length, against a comparison bit by bit. */
static void test_all_prefix_lengths(void **state) {
    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++) {
        struct in6_addr network = {0}, inside, outside;
        char text[CIDR_TEXT_MAX], address[INET6_ADDRSTRLEN];

        for (unsigned i = 0; i < bits; i++)
            network.s6_addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
        inside = outside = network;
        for (unsigned i = bits; i < 128; i++)
            inside.s6_addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
        inet_ntop(AF_INET6, &network, address, sizeof(address));
        snprintf(text, sizeof(text), "%s/%u", address, bits);
        inet_ntop(AF_INET6, &inside, address, sizeof(address));
        assert_true(holds(text, address));
        if (bits == 0)
            continue;
        outside.s6_addr[(bits - 1) / 8] ^= (uint8_t)(0x80 >> (bits - 1) % 8);
        inet_ntop(AF_INET6, &outside, address, sizeof(address));
        assert_false(holds(text, address));
    }
}

static void test_what_is_no_network_is_named(void **state) {
    (void)state;
    assert_wrong("10.0.0.0/8 nonsense ::/0", "nonsense", "no IPv4 or IPv6 address");
    assert_wrong("example.com", "example.com", "no IPv4 or IPv6 address");
    assert_wrong("10.0.0/8", "10.0.0/8", "no IPv4 or IPv6 address");
    assert_wrong("[::1]", "[::1]", "no IPv4 or IPv6 address");
    assert_wrong("fe80::%eth0/10", "fe80::%eth0/10", "no IPv4 or IPv6 address");
    assert_wrong("10.0.0.0/8,127.0.0.0/8", "10.0.0.0/8,127.0.0.0/8", "prefix length from 0 to 32");
    assert_wrong("10.0.0.0/33", "10.0.0.0/33", "prefix length from 0 to 32");
    assert_wrong("10.0.0.0/", "10.0.0.0/", "prefix length from 0 to 32");
    assert_wrong("10.0.0.0/-1", "10.0.0.0/-1", "prefix length from 0 to 32");
    assert_wrong("10.0.0.0/0008", "10.0.0.0/0008", "prefix length from 0 to 32");
    assert_wrong("::/129", "::/129", "prefix length from 0 to 128");
}

static void test_bits_behind_the_prefix_are_refused(void **state) {
    (void)state;
    assert_wrong("10.1.0.0/8", "10.1.0.0/8", "behind its prefix");
    assert_wrong("fe80::1/10", "fe80::1/10", "behind its prefix");
    assert_wrong("0.0.0.1/0", "0.0.0.1/0", "behind its prefix");
}

static void test_word_too_long_for_any_network(void **state) {
    char text[200];

    (void)state;
    memset(text, '1', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_wrong(text, text, "no IPv4 or IPv6 address");
}

static void test_lists_have_an_end(void **state) {
    char text[(CIDR_LIST_MAX + 1) * 8 + 1] = "";
    struct cidr_list list;
    const char *word, *why;
    size_t n;

    (void)state;
    for (unsigned i = 0; i < CIDR_LIST_MAX; i++)
        strcat(text, "1.1.1.1 ");
    list_of(text, &list);
    assert_int_equal(list.n, CIDR_LIST_MAX);
    strcat(text, "1.1.1.1");
    assert_int_equal(cidr_list_parse(text, &list, &word, &n, &why), -E2BIG);
}

/* ---- judging ---- */

static void test_allow_beats_deny(void **state) {
    (void)state;
    assert_true(refuses("10.0.0.0/8", "", "10.1.2.3"));
    assert_false(refuses("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3"));
    assert_true(refuses("10.0.0.0/8", "10.1.0.0/16", "10.2.2.3"));
    assert_false(refuses("", "10.1.0.0/16", "192.0.2.1"));
}

static void test_carried_addresses_are_judged(void **state) {
    (void)state;
    assert_true(refuses("127.0.0.0/8", "", "::ffff:127.0.0.1"));
    assert_true(refuses("127.0.0.0/8", "", "::127.0.0.1"));
    assert_true(refuses("127.0.0.0/8", "", "64:ff9b::127.0.0.1"));
    assert_true(refuses("169.254.0.0/16", "", "2002:a9fe:a9fe::1"));
    assert_false(refuses("127.0.0.0/8", "", "64:ff9b::192.0.2.1"));
    assert_false(refuses("127.0.0.0/8", "", "64:ff9b:1::127.0.0.1"));
    assert_false(refuses("127.0.0.0/8", "", "2003:7f00:1::1"));
}

static void test_loopback_of_ipv6_carries_nothing(void **state) {
    (void)state;
    assert_false(refuses("0.0.0.0/8", "", "::1"));
    assert_false(refuses("0.0.0.0/8", "", "::"));
    assert_true(refuses("0.0.0.0/8", "", "::2"));
}

static void test_allow_of_carried_addresses(void **state) {
    (void)state;
    assert_false(refuses("127.0.0.0/8", "127.0.0.1", "64:ff9b::127.0.0.1"));
    assert_false(refuses("127.0.0.0/8", "64:ff9b::/96", "64:ff9b::127.0.0.1"));
    /* That the IPv4 address is allowed opens no way through IPv6. */
    assert_true(refuses("::/0", "192.0.2.1", "64:ff9b::192.0.2.1"));
}

/* ---- addresses ---- */

static void test_socket_addresses(void **state) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr other = {.sa_family = AF_UNIX};
    char text[INET6_ADDRSTRLEN];
    struct ip ip;

    (void)state;
    assert_int_equal(ip_from_sockaddr((struct sockaddr *)&in, &ip), 0);
    ip_format(&ip, text);
    assert_string_equal(text, "127.0.0.1");
    inet_pton(AF_INET6, "::ffff:10.0.0.1", &in6.sin6_addr);
    assert_int_equal(ip_from_sockaddr((struct sockaddr *)&in6, &ip), 0);
    ip_format(&ip, text);
    assert_string_equal(text, "10.0.0.1");
    inet_pton(AF_INET6, "2001:db8::7", &in6.sin6_addr);
    assert_int_equal(ip_from_sockaddr((struct sockaddr *)&in6, &ip), 0);
    ip_format(&ip, text);
    assert_string_equal(text, "2001:db8::7");
    assert_int_equal(ip_from_sockaddr(&other, &ip), -EAFNOSUPPORT);
}

static void test_what_is_no_address(void **state) {
    static const char *const wrong[] = {"",          "1.2.3",     "0x7f.0.0.1", "127.0.0.1.",
                                        "1.2.3.4/8", "localhost", "[::1]",      "::1%lo"};
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_int_equal(ip_parse(wrong[i], &ip), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_network_holds_nothing),
        cmocka_unit_test(test_networks_hold_their_addresses),
        cmocka_unit_test(test_every_network_of_a_list_counts),
        cmocka_unit_test(test_address_alone_is_a_network),
        cmocka_unit_test(test_prefix_of_no_bits_is_the_family),
        cmocka_unit_test(test_mapped_addresses_are_ipv4),
        cmocka_unit_test(test_mapped_networks_are_ipv4),
        cmocka_unit_test(test_all_prefix_lengths),
        cmocka_unit_test(test_what_is_no_network_is_named),
        cmocka_unit_test(test_bits_behind_the_prefix_are_refused),
        cmocka_unit_test(test_word_too_long_for_any_network),
        cmocka_unit_test(test_lists_have_an_end),
        cmocka_unit_test(test_allow_beats_deny),
        cmocka_unit_test(test_carried_addresses_are_judged),
        cmocka_unit_test(test_loopback_of_ipv6_carries_nothing),
        cmocka_unit_test(test_allow_of_carried_addresses),
        cmocka_unit_test(test_socket_addresses),
        cmocka_unit_test(test_what_is_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
