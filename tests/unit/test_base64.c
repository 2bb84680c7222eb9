#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base64.h"
#include "common/util.h"

/* RFC 4648 section 10. */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void test_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(vectors); i++) {
        const char *plain = vectors[i][0], *coded = vectors[i][1];
        char text[16] = "";
        uint8_t data[16] = {0};

        base64_encode(text, (const uint8_t *)plain, strlen(plain));
        assert_string_equal(text, coded);
        assert_int_equal(BASE64_LENGTH(strlen(plain)), strlen(coded));
        assert_int_equal(base64_decode_text(data, coded, strlen(coded)), (ssize_t)strlen(plain));
        assert_memory_equal(data, plain, strlen(plain));
    }
}

static void test_all_bytes(void **state) {
    uint8_t data[256], back[258];
    char text[BASE64_LENGTH(256)];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(255 - i);
    for (size_t n = 0; n <= sizeof(data); n++) {
        base64_encode(text, data, n);
        assert_int_equal(base64_decode_text(back, text, BASE64_LENGTH(n)), (ssize_t)n);
        assert_memory_equal(back, data, n);
    }
}

static void test_what_is_none(void **state) {
    static const char *const wrong[] = {"Zg=",  "Zg",   "Z===", "====", "Zg==Zg==", "Zm9-",
                                        "Zm 9", "Zh==", "Zm9=", "=m9v", "Zm=v"};
    uint8_t data[16];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_int_equal(base64_decode_text(data, wrong[i], strlen(wrong[i])), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
