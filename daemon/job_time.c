#include "daemon/job_keys.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "common/util.h"

#define TIME_MAX_SEC 253402300799.0 /* 9999-12-31T23:59:59Z */

/* n digits at *s, a number from min to max, which *s is moved behind; -1: something else. */
static int take_number(const char **s, size_t n, int min, int max) {
    int v = 0;

    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)(*s)[i]))
            return -1;
        v = v * 10 + ((*s)[i] - '0');
    }
    *s += n;
    return v >= min && v <= max ? v : -1;
}

static bool take_char(const char **s, const char *any) {
    if (!**s || !strchr(any, **s))
        return false;
    ++*s;
    return true;
}

/* "Z" or "+01:30" and the end, in seconds east of Greenwich. */
static int parse_offset(const char *s, int *ret) {
    int sign = *s == '-' ? -1 : 1, hours, minutes;

    if (take_char(&s, "Zz")) {
        *ret = 0;
        return *s ? -EINVAL : 0;
    }
    if (!take_char(&s, "+-") || (hours = take_number(&s, 2, 0, 23)) < 0 || !take_char(&s, ":") ||
        (minutes = take_number(&s, 2, 0, 59)) < 0 || *s)
        return -EINVAL;
    *ret = sign * (hours * 3600 + minutes * 60);
    return 0;
}

static int days_of_month(int year, int month) {
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return month == 2 ? 28 + leap : 30 + (month + (month > 7)) % 2;
}

/* RFC 3339 section 5.6, to the day in its month; a leap second is the one after it. */
static int parse_timestamp(const char *s, double *ret_sec) {
    struct tm tm = {0};
    double fraction = 0;
    int offset;

    if ((tm.tm_year = take_number(&s, 4, 1970, 9999)) < 0 || !take_char(&s, "-") ||
        (tm.tm_mon = take_number(&s, 2, 1, 12)) < 0 || !take_char(&s, "-") ||
        (tm.tm_mday = take_number(&s, 2, 1, 31)) < 0 || !take_char(&s, "Tt ") ||
        (tm.tm_hour = take_number(&s, 2, 0, 23)) < 0 || !take_char(&s, ":") ||
        (tm.tm_min = take_number(&s, 2, 0, 59)) < 0 || !take_char(&s, ":") ||
        (tm.tm_sec = take_number(&s, 2, 0, 60)) < 0)
        return -EINVAL;
    if (take_char(&s, ".")) {
        double digit = 0.1;

        if (!isdigit((unsigned char)*s))
            return -EINVAL;
        for (; isdigit((unsigned char)*s); s++) {
            fraction += (*s - '0') * digit;
            digit /= 10;
        }
    }
    if (tm.tm_mday > days_of_month(tm.tm_year, tm.tm_mon) || parse_offset(s, &offset) < 0)
        return -EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_sec = (double)(timegm(&tm) - offset) + fraction;
    return 0;
}

int job_time_parse(const json_t *v, uint64_t *ret_msec) {
    const char *s = json_string_value(v);
    double sec = json_number_value(v);
    uint64_t usec;

    if (s && *s == '+') {
        if (parse_duration(s + 1, &usec) < 0)
            return -EINVAL;
        sec = (double)now_usec(CLOCK_REALTIME) / 1e6 + (double)usec / 1e6;
    } else if (s && parse_timestamp(s, &sec) < 0) {
        return -EINVAL;
    }
    if (!(sec >= 0.001 && sec <= TIME_MAX_SEC))
        return -EINVAL;
    *ret_msec = (uint64_t)llround(sec * 1000);
    return 0;
}
