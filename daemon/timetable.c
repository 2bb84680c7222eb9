#include "daemon/timetable.h"

#include <stdbool.h>
#include <time.h>

#include "common/util.h"

static bool is_open(const struct rate_window *w, int weekday, unsigned minute) {
    bool today = w->days & 1u << weekday, yesterday = w->days & 1u << (weekday + 6) % 7;

    if (w->from < w->to)
        return today && minute >= w->from && minute < w->to;
    return (today && minute >= w->from) || (yesterday && minute < w->to);
}

static const struct rate_window *last_open(const struct rate_window *windows, size_t n, time_t at) {
    struct tm tm;

    if (!localtime_r(&at, &tm))
        return NULL;
    while (n-- > 0)
        if (is_open(&windows[n], tm.tm_wday, (unsigned)(tm.tm_hour * 60 + tm.tm_min)))
            return &windows[n];
    return NULL;
}

/* Minute by minute, so that whatever is done to the clock, nothing has to be known of it. */
static time_t next_change(const struct rate_window *windows, size_t n, time_t now,
                          const struct rate_window *open) {
    struct tm tm;
    time_t minute;

    if (n == 0 || !localtime_r(&now, &tm))
        return 0;
    minute = now - tm.tm_sec;
    for (unsigned i = 0; i < TIMETABLE_HORIZON_DAYS * DAY_MINUTES; i++) {
        minute += 60;
        if (last_open(windows, n, minute) != open)
            return minute;
    }
    return 0;
}

void timetable_at(const struct rate_window *windows, size_t n, uint64_t standard, uint64_t now,
                  struct rate_now *ret) {
    time_t at = (time_t)(now / USEC_PER_SEC), next;

    tzset();
    ret->window = last_open(windows, n, at);
    ret->limit = ret->window ? ret->window->limit : standard;
    next = next_change(windows, n, at, ret->window);
    ret->until = next ? (uint64_t)next * USEC_PER_SEC : USEC_INFINITY;
}
