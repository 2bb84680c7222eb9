/*
 * timetable.h - which limit is in force at what time: the sections [rate "NAME"] of dld.conf. Pure,
 * but for the time zone (TZ).
 */
#ifndef DLD_TIMETABLE_H
#define DLD_TIMETABLE_H

#include <stddef.h>
#include <stdint.h>

#define DAY_MINUTES (24u * 60)
#define TIMETABLE_ALL_DAYS 0x7fu
#define TIMETABLE_HORIZON_DAYS 8 /* a change that is further off is none */

/* From a minute of the local day up to another, which is that of the next day unless it is later.
 * On days when the clock is put forward or back, the minutes count that it shows. */
struct rate_window {
    char *name;
    unsigned from, to; /* minutes since midnight, below DAY_MINUTES */
    unsigned days;     /* on which it begins: bit 0 Sunday, ... bit 6 Saturday */
    uint64_t limit;    /* bytes a second, 0: none */
};

struct rate_now {
    uint64_t limit;
    const struct rate_window *window; /* NULL: none is open, the standard limit holds */
    uint64_t until;                   /* usec since the epoch when another begins to hold;
                                         USEC_INFINITY: not within TIMETABLE_HORIZON_DAYS */
};

/* What holds at `now` (usec since the epoch): the limit of the last window that is open, or the
 * standard one. */
void timetable_at(const struct rate_window *windows, size_t n, uint64_t standard, uint64_t now,
                  struct rate_now *ret);

#endif
