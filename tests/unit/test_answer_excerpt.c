/* excerpt.h: any bytes become text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/util.h"
#include "daemon/worker/excerpt.h"

static void check(const char *bytes, size_t n, const char *want) {
    struct excerpt e = {0};
    char *text;

    excerpt_add(&e, bytes, n);
    text = excerpt_text(&e);
    assert_string_equal(text, want);
    free(text);
}

static void test_text(void **state) {
    (void)state;
    check("", 0, "");
    check("plain", 5, "plain");
    check("\r\n a\r\nb\tc \n", 11, "a b c");
    check("\x1b[31m\0\x7f", 7, "\\x1b[31m\\x00\\x7f");
    check("\xc3\xa9\xff\xc3", 4, "\xc3\xa9\\xff\\xc3");
    check("\xe2\x80\xae", 3, "\\xe2\\x80\\xae");
}

static void test_it_ends_at_its_limit(void **state) {
    char many[EXCERPT_MAX * 2], *text;
    struct excerpt e = {0};

    (void)state;
    memset(many, 'a', sizeof(many));
    memcpy(many + EXCERPT_MAX - 1, "\xc3\xa9", 2);
    excerpt_add(&e, many, 100);
    excerpt_add(&e, many + 100, sizeof(many) - 100);
    text = excerpt_text(&e);
    assert_int_equal(strlen(text), EXCERPT_MAX - 1);
    free(text);
}

static void test_any_bytes(void **state) {
    (void)state;
    srand(1);
    for (int i = 0; i < 2000; i++) {
        struct excerpt e = {.n = (size_t)(rand() % (EXCERPT_MAX + 1))};
        char *text;

        for (size_t k = 0; k < e.n; k++)
            e.bytes[k] = (char)rand();
        text = excerpt_text(&e);
        assert_true(text_is_printable(text, strlen(text)));
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_it_ends_at_its_limit),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
