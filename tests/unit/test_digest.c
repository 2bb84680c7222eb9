/* digest.h and integrity.h: digests of bytes, and the verdict on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/worker/integrity.h"
#include "scratch.h"

#define ALL (DIGEST_BIT(DIGEST_KINDS) - 1)
#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_SHA256_BASE64 "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
#define ABC_MD5_BASE64 "kAFQmDzST7DWlj99KOF/cg=="
#define OTHER_SHA256_BASE64 "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define OTHER_MD5_BASE64 "1B2M2Y8AsgTpgAmY7PhCfg=="

static void sums_of(const char *text, unsigned kinds, struct digest_sums *ret) {
    struct digest d = {.kinds = 0};

    assert_int_equal(digest_begin(&d, kinds), 0);
    for (const char *p = text; *p; p++)
        assert_int_equal(digest_add(&d, p, 1), 0);
    assert_int_equal(digest_end(&d, ret), 0);
    digest_done(&d);
}

static void assert_text(const char *bytes, enum digest_kind kind, const char *text) {
    char made[DIGEST_TEXT_MAX];
    struct digest_sums sums;

    sums_of(bytes, ALL, &sums);
    digest_text(&sums, kind, made);
    assert_string_equal(made, text);
}

static void test_of_nothing(void **state) {
    (void)state;
    assert_text("", DIGEST_SHA256,
                "sha-256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_text("", DIGEST_SHA512,
                "sha-512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
    assert_text("", DIGEST_SHA1, "sha-1:da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_text("", DIGEST_MD5, "md5:d41d8cd98f00b204e9800998ecf8427e");
}

static void test_of_abc(void **state) {
    (void)state;
    assert_text("abc", DIGEST_SHA256, "sha-256:" ABC_SHA256);
    assert_text("abc", DIGEST_SHA512,
                "sha-512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    assert_text("abc", DIGEST_SHA1, "sha-1:a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_text("abc", DIGEST_MD5, "md5:900150983cd24fb0d6963f7d28e17f72");
}

static void test_is_used_again(void **state) {
    struct digest d = {.kinds = 0};
    struct digest_sums sums;
    char text[DIGEST_TEXT_MAX];

    (void)state;
    assert_int_equal(digest_begin(&d, ALL), 0);
    assert_int_equal(digest_add(&d, "given up", 8), 0);
    assert_int_equal(digest_begin(&d, DIGEST_BIT(DIGEST_SHA256)), 0);
    assert_int_equal(digest_add(&d, "abc", 3), 0);
    assert_int_equal(digest_end(&d, &sums), 0);
    assert_int_equal(sums.kinds, DIGEST_BIT(DIGEST_SHA256));
    digest_text(&sums, DIGEST_SHA256, text);
    assert_string_equal(text, "sha-256:" ABC_SHA256);
    digest_done(&d);
}

static void test_of_file(void **state) {
    const struct scratch *s = *state;
    struct digest_sums sums;
    char text[DIGEST_TEXT_MAX];
    int fd = openat(s->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc", 3), 3);
    assert_int_equal(digest_file(fd, DIGEST_BIT(DIGEST_SHA256), &sums), 0);
    digest_text(&sums, DIGEST_SHA256, text);
    assert_string_equal(text, "sha-256:" ABC_SHA256);
    close(fd);
}

static void test_names(void **state) {
    (void)state;
    assert_int_equal(digest_kind_of("SHA-512", 7), DIGEST_SHA512);
    assert_int_equal(digest_kind_of("md5:", 3), DIGEST_MD5);
    assert_int_equal(digest_kind_of("sha-25", 6), DIGEST_KINDS);
    assert_int_equal(digest_kind_of("", 0), DIGEST_KINDS);
}

/* What is said of "abc" with this checksum and one field (both may be NULL). */
static enum dld_error verdict(const char *checksum, const char *name, const char *value,
                              bool *ret_transient) {
    struct failure f = {.error = ERR_NONE};
    struct digest_sums sums;
    struct integrity in;

    integrity_begin(&in, checksum, NULL);
    if (name)
        integrity_field(&in, name, value);
    sums_of("abc", in.kinds, &sums);
    integrity_judge(&in, &sums, &f);
    *ret_transient = f.transient;
    return f.error;
}

static void test_checksum_of_job(void **state) {
    bool transient;

    (void)state;
    assert_int_equal(verdict("sha-256:" ABC_SHA256, NULL, NULL, &transient), ERR_NONE);
    assert_int_equal(verdict("md5:d41d8cd98f00b204e9800998ecf8427e", NULL, NULL, &transient),
                     ERR_CHECKSUM);
    assert_false(transient);
    assert_int_equal(verdict("md5:d41d8cd9", NULL, NULL, &transient), ERR_CHECKSUM);
}

static void test_promises_of_server(void **state) {
    static const struct {
        const char *name, *value;
        enum dld_error error;
    } cases[] = {
        {"Repr-Digest", "sha-256=:" ABC_SHA256_BASE64 ":", ERR_NONE},
        {"repr-digest", "sha-256=:" OTHER_SHA256_BASE64 ":", ERR_CHECKSUM},
        {"Repr-Digest", "crc32c=:AAAA:, sha-256=:" OTHER_SHA256_BASE64 ":;x=1", ERR_CHECKSUM},
        {"Repr-Digest", "md5=:" OTHER_MD5_BASE64 ":", ERR_NONE},
        {"Repr-Digest", "sha-256=" OTHER_SHA256_BASE64, ERR_NONE},
        {"Repr-Digest", "sha-256=:AAAA:", ERR_NONE},
        {"Repr-Digest", "sha-256=:", ERR_NONE},
        {"Repr-Digest", "sha-256", ERR_NONE},
        {"Repr-Digest", "", ERR_NONE},
        {"Digest", "SHA-256=" ABC_SHA256_BASE64, ERR_NONE},
        {"Digest", "md5=AAAA,SHA-256=" OTHER_SHA256_BASE64 " ", ERR_CHECKSUM},
        {"Digest", "sha-256=====", ERR_NONE},
        {"Content-MD5", ABC_MD5_BASE64, ERR_NONE},
        {"Content-MD5", OTHER_MD5_BASE64, ERR_CHECKSUM},
        {"Content-MD5", "nonsense", ERR_NONE},
        {"Content-Digest", "sha-256=:" ABC_SHA256_BASE64 ":", ERR_NONE},
        {"Content-Digest", "sha-256=:" OTHER_SHA256_BASE64 ":", ERR_CHECKSUM},
        {"ETag", OTHER_MD5_BASE64, ERR_NONE},
    };
    bool transient;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(verdict(NULL, cases[i].name, cases[i].value, &transient), cases[i].error);
        assert_int_equal(transient, cases[i].error != ERR_NONE);
    }
}

static void test_job_knows_better_than_server(void **state) {
    const char *wrong = "sha-256=:" OTHER_SHA256_BASE64 ":";
    bool transient;

    (void)state;
    assert_int_equal(verdict("sha-256:" ABC_SHA256, "Repr-Digest", wrong, &transient), ERR_NONE);
    assert_int_equal(
        verdict("md5:d41d8cd98f00b204e9800998ecf8427e", "Repr-Digest", wrong, &transient),
        ERR_CHECKSUM);
    assert_true(transient); /* both are wrong: damaged on its way */
}

static void test_record_of_every_file(void **state) {
    struct integrity in;

    (void)state;
    integrity_begin(&in, NULL, "sha-512");
    assert_int_equal(in.kinds, DIGEST_BIT(DIGEST_SHA512));
    assert_int_equal(in.reported, DIGEST_SHA512);
    integrity_begin(&in, "md5:d41d8cd98f00b204e9800998ecf8427e", "sha-256");
    assert_int_equal(in.kinds, DIGEST_BIT(DIGEST_SHA256) | DIGEST_BIT(DIGEST_MD5));
    assert_int_equal(in.reported, DIGEST_SHA256);
    integrity_begin(&in, NULL, NULL);
    assert_int_equal(in.kinds, 0);
    assert_int_equal(in.reported, DIGEST_KINDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_nothing),
        cmocka_unit_test(test_of_abc),
        cmocka_unit_test(test_is_used_again),
        cmocka_unit_test_setup_teardown(test_of_file, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_checksum_of_job),
        cmocka_unit_test(test_promises_of_server),
        cmocka_unit_test(test_job_knows_better_than_server),
        cmocka_unit_test(test_record_of_every_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
