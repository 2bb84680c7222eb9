/* ftp_line(): what an FTP server's replies tell of the file, and where they end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "daemon/worker/ftp.h"

static struct ftp after(const char *line) {
    struct ftp f;

    ftp_begin(&f);
    assert_null(ftp_line(&f, line, strlen(line)));
    return f;
}

static void test_size(void **state) {
    (void)state;
    assert_int_equal(after("213 0\r\n").size, 0);
    assert_int_equal(after("213 123456789012\r\n").size, 123456789012);
    assert_int_equal(after("213 5").size, 5);
}

static void test_what_is_no_size(void **state) {
    static const char *const lines[] = {"213 20230102100000\r\n", /* MDTM's */
                                        "213-5\r\n",
                                        "213 \r\n",
                                        "213\r\n",
                                        "213 5 bytes\r\n",
                                        "213 -5\r\n",
                                        "550 5\r\n",
                                        "213 99999999999999999999\r\n",
                                        ""};

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        assert_int_equal(after(lines[i]).size, -1);
}

static void test_size_when_the_transfer_opens(void **state) {
    (void)state;
    assert_int_equal(
        after("150 Opening BINARY mode data connection for a (1) (1234 bytes).\r\n").opening, 1234);
    assert_int_equal(after("125 go (0 bytes)\r\n").opening, 0);
    assert_int_equal(after("150 Opening for a (2 bytes) (x)\r\n").opening, -1);
    assert_int_equal(after("150 go (12 kB)\r\n").opening, -1);
    assert_int_equal(after("150 go (99999999999999999999 bytes)\r\n").opening, -1);
    assert_int_equal(after("226 done (5 bytes)\r\n").opening, -1);
    assert_int_equal(after("150 go (5").opening, -1);
}

static void test_last_line_is_kept_printable(void **state) {
    char line[1000];

    (void)state;
    assert_string_equal(after("550 a\tb\x1b[1m\xff\r\n").line, "550 a?b?[1m?");
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(strlen(after(line).line), FTP_LINE_SHOWN);
}

static void test_replies_have_an_end(void **state) {
    static char line[300 * 1024];
    struct ftp f;
    int n;

    (void)state;
    ftp_begin(&f);
    for (n = 0; !ftp_line(&f, "150-x\r\n", 7); n++)
        ;
    assert_int_equal(n, 1000);
    ftp_begin(&f);
    assert_non_null(ftp_line(&f, line, sizeof(line)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_what_is_no_size),
        cmocka_unit_test(test_size_when_the_transfer_opens),
        cmocka_unit_test(test_last_line_is_kept_printable),
        cmocka_unit_test(test_replies_have_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
