#include "daemon/config_rate.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/ratelimit.h"
#include "common/util.h"
#include "daemon/timetable.h"

#define BLANKS " \t"

static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

bool config_rate_describe(enum config_type type, struct buf *b) {
    switch (type) {
    case CONFIG_RATE:
        buf_adds(b, "bytes a second (or with K, M, G, T) from 1K to 1T, or none");
        return true;
    case CONFIG_CLOCK:
        buf_adds(b, "a time of day from 00:00 to 24:00");
        return true;
    case CONFIG_DAYS:
        buf_adds(b, "days with blanks between them: mon tue wed thu fri sat sun");
        return true;
    default:
        return false;
    }
}

/* "7:30", "24:00" */
static int read_clock(const char *s, uint64_t *ret) {
    unsigned hour = 0, minute = 0;
    int end = 0;

    if (!isdigit((unsigned char)*s) || sscanf(s, "%2u:%2u%n", &hour, &minute, &end) < 2 || s[end] ||
        end < 4 || s[end - 3] != ':' || minute > 59 || hour * 60 + minute > DAY_MINUTES)
        return -EINVAL;
    *ret = (hour * 60 + minute) % DAY_MINUTES;
    return 0;
}

static int read_days(const char *s, uint64_t *ret) {
    uint64_t set = 0;

    for (s += strspn(s, BLANKS); *s; s += strspn(s, BLANKS)) {
        size_t n = strcspn(s, BLANKS), i = 0;

        while (i < ELEMENTSOF(days) && (n != 3 || strncasecmp(s, days[i], n) != 0))
            i++;
        if (i == ELEMENTSOF(days))
            return -EINVAL;
        set |= UINT64_C(1) << i;
        s += n;
    }
    if (set == 0)
        return -EINVAL;
    *ret = set;
    return 0;
}

int config_rate_read(enum config_type type, const char *value, uint64_t *ret) {
    if (type == CONFIG_CLOCK)
        return read_clock(value, ret);
    if (type == CONFIG_DAYS)
        return read_days(value, ret);
    return rate_parse(value, ret) < 0 ? -EINVAL : 0;
}
