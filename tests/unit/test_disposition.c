/* disposition.h: names out of what strangers send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/disposition.h"
#include "common/naming.h"
#include "common/util.h"

static void check(const char *value, const char *want) {
    char *copy = strdup(value), *name = disposition_name(copy);

    if (want) {
        assert_non_null(name);
        assert_string_equal(name, want);
    } else {
        assert_null(name);
    }
    free(name);
    free(copy);
}

static void test_plain_names(void **state) {
    (void)state;
    check("attachment; filename=\"a b.txt\"", "a b.txt");
    check("attachment; filename=a.txt", "a.txt");
    check("attachment;FileName = a.txt", "a.txt");
    check("inline; size=3; filename=\"a;b=\\\"c\\\".txt\"; x=y", "a;b=\"c\".txt");
    check("attachment; filename=\"a.tar.gz\";", "a.tar.gz");
    check("attachment; filename=caf\xc3\xa9.txt", "caf\xc3\xa9.txt");
    check("attachment; filename=\"caf\xe9.txt\"", "caf\xc3\xa9.txt");
    check("; filename=a", "a");
}

static void test_extended_names(void **state) {
    (void)state;
    check("attachment; filename*=UTF-8''%e2%82%ac%20rates", "\xe2\x82\xac rates");
    check("attachment; filename=\"EURO\"; filename*=utf-8'en'%e2%82%ac.txt", "\xe2\x82\xac.txt");
    check("attachment; filename*=iso-8859-1''%a3.txt; filename=b", "\xc2\xa3.txt");
    check("attachment; filename*=UTF-8''%zz; filename=b", "b");
    check("attachment; filename*=UTF-16''a; filename=b", "b");
    check("attachment; filename*=a; filename=b", "b");
    check("attachment; filename*=UTF-8''%2", NULL);
    check("attachment; filename*=UTF-8''..%2f..%2fetc%2fpasswd", "passwd");
}

static void test_paths_and_traps(void **state) {
    (void)state;
    check("attachment; filename=\"../../etc/passwd\"", "passwd");
    check("attachment; filename=\"C:\\\\Windows\\\\win.ini\"", "win.ini");
    check("attachment; filename=\"/\"", NULL);
    check("attachment; filename=\"..\"", NULL);
    check("attachment; filename=\".\"", NULL);
    check("attachment; filename=\"\"", NULL);
    check("attachment; filename=\"a/\"", NULL);
    check("attachment; filename=\" \"", NULL);
    check("attachment; filename=\".dld-5.part\"", "%2Edld-5.part");
    check("attachment; filename*=UTF-8''a%00b%1b.txt", "a_b_.txt");
    check("attachment; filename*=UTF-8''a%ff.txt", "a_.txt");
    check("attachment; filename*=UTF-8''%e2%80%aegnp.exe", "_gnp.exe");
    check("attachment; filename=\"{id}.txt\"", "{id}.txt");
    check("attachment; filename=\"a.txt. . \"", "a.txt");
}

static void test_fields_that_give_no_name(void **state) {
    static const char *const none[] = {
        "",
        "attachment",
        "filename=a",
        "attachment; filename=\"open",
        "attachment; filename=a; filename=b",
        "attachment; filename*=UTF-8''a; filename*=UTF-8''b",
        "attachment; filename=a b c",
        "attachment; filename",
        "attachment; =a",
        "attachment; filename=a\"b\"",
        "attachment filename=a",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(none); i++)
        check(none[i], NULL);
}

static void test_long_names(void **state) {
    char value[4000];
    char *name;

    (void)state;
    memset(value, 'a', sizeof(value));
    memcpy(value, "attachment; filename=", 21);
    memcpy(value + sizeof(value) - 5, ".jpg", 5);
    name = disposition_name(value);
    assert_int_equal(strlen(name), NAME_MAX_BYTES);
    assert_string_equal(name + NAME_MAX_BYTES - 4, ".jpg");
    free(name);
}

/* Whatever comes, a name that is given is safe. */
static void test_random_fields(void **state) {
    static const char *const parts[] = {"attachment", ";",   " ",    "filename", "filename*",
                                        "=",          "\"",  "\\",   "/",        "..",
                                        "UTF-8''",    "%2f", "%00",  "%",        "\xff",
                                        "a",          ".",   "\x1b", "\xc3\xa9", ".dld-"};

    (void)state;
    srand(1);
    for (int i = 0; i < 100000; i++) {
        char value[512] = "attachment; filename=";
        char *copy, *name;

        for (int k = rand() % 20; k > 0; k--)
            strcat(value, parts[(size_t)rand() % ELEMENTSOF(parts)]);
        copy = strdup(value);
        name = disposition_name(copy);
        if (name) {
            assert_true(path_is_safe(name));
            assert_null(strchr(name, '/'));
        }
        free(name);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_names),     cmocka_unit_test(test_extended_names),
        cmocka_unit_test(test_paths_and_traps), cmocka_unit_test(test_fields_that_give_no_name),
        cmocka_unit_test(test_long_names),      cmocka_unit_test(test_random_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
