#include "daemon/sched_cursor.h"

#include "common/util.h"

static bool before(int64_t a, int64_t a_id, int64_t b, int64_t b_id) {
    return a != b ? a < b : a_id < b_id;
}

void sched_cursor_init(struct sched_cursor *c) {
    *c = (struct sched_cursor){.at = INT64_MIN, .more = true};
}

/* Something between low and high, both included, is to be read. */
static void note(struct sched_cursor *c, int64_t low, int64_t low_id, int64_t high,
                 int64_t high_id) {
    int64_t after = low, after_id = low_id - 1;

    if (low_id == CURSOR_ANY_ID) {
        after = low == INT64_MIN ? INT64_MIN : low - 1;
        after_id = low == INT64_MIN ? 0 : INT64_MAX;
    }
    if (before(c->at, c->at_id, high, high_id)) {
        c->more = true;
        if (before(c->at, c->at_id, low, low_id))
            return;
        high = c->at;
        high_id = c->at_id;
    }
    if (!c->again || before(after, after_id, c->low, c->low_id)) {
        c->low = after;
        c->low_id = after_id;
    }
    if (!c->again || before(c->high, c->high_id, high, high_id)) {
        c->high = high;
        c->high_id = high_id;
    }
    c->again = true;
}

void sched_cursor_ready(struct sched_cursor *c, int64_t first, int64_t first_id, int64_t last,
                        int64_t last_id) {
    if (last_id == CURSOR_ANY_ID)
        last_id = INT64_MAX;
    if (c->reads == CURSOR_IDLE) {
        note(c, first, first_id, last, last_id);
        return;
    }
    if (!c->seen || before(first, first_id, c->seen_low, c->seen_low_id)) {
        c->seen_low = first;
        c->seen_low_id = first_id;
    }
    if (!c->seen || before(c->seen_high, c->seen_high_id, last, last_id)) {
        c->seen_high = last;
        c->seen_high_id = last_id;
    }
    c->seen = true;
}

bool sched_cursor_missed(const struct sched_cursor *c, int64_t key, int64_t id) {
    return c->seen && !before(key, id, c->seen_low, c->seen_low_id) &&
           !before(c->seen_high, c->seen_high_id, key, id);
}

/* What lies behind `at` will be read anyway. */
static void clip(struct sched_cursor *c) {
    if (c->again && !before(c->low, c->low_id, c->at, c->at_id))
        c->again = false;
    if (before(c->at, c->at_id, c->high, c->high_id)) {
        c->high = c->at;
        c->high_id = c->at_id;
    }
}

void sched_cursor_back(struct sched_cursor *c, int64_t key, int64_t id) {
    if (c->reads != CURSOR_IDLE) {
        sched_cursor_ready(c, key, id, key, id);
        return;
    }
    c->more = true;
    if (before(c->at, c->at_id, key, id))
        return;
    c->at = key;
    c->at_id = id - 1;
    clip(c);
}

bool sched_cursor_pending(const struct sched_cursor *c) {
    return c->more || c->again || c->reads != CURSOR_IDLE;
}

void sched_cursor_begin(struct sched_cursor *c, int64_t *ret_after, int64_t *ret_id) {
    if (c->again) {
        c->reads = CURSOR_READS_AGAIN;
        *ret_after = c->low;
        *ret_id = c->low_id;
    } else {
        c->reads = CURSOR_READS_ON;
        c->more = false;
        *ret_after = c->at;
        *ret_id = c->at_id;
    }
}

static void answered_again(struct sched_cursor *c, bool more, int64_t last, int64_t last_id) {
    if (before(c->at, c->at_id, last, last_id)) {
        c->at = last;
        c->at_id = last_id;
        c->more = more;
    }
    c->again = more && before(last, last_id, c->high, c->high_id);
    c->low = last;
    c->low_id = last_id;
    clip(c);
}

void sched_cursor_answered(struct sched_cursor *c, bool more, int64_t last, int64_t last_id) {
    if (c->reads == CURSOR_READS_AGAIN) {
        answered_again(c, more, last, last_id);
    } else {
        c->at = last;
        c->at_id = last_id;
        c->more = more;
    }
    c->reads = CURSOR_IDLE;
    if (c->seen) {
        c->seen = false;
        note(c, c->seen_low, c->seen_low_id, c->seen_high, c->seen_high_id);
    }
}

void sched_cursor_give_up(struct sched_cursor *c) {
    if (!c->again || c->reads != CURSOR_IDLE)
        return;
    c->again = false;
    c->at = c->low;
    c->at_id = c->low_id;
    c->more = true;
}
