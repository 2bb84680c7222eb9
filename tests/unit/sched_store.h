/*
 * sched_store.h - a store for the scheduler's simulation: rows of jobs in arrays, lanes, and each
 * user's line of them in order of turn. Answers are read when they are asked for, and given later.
 *
 * Rows of a lane lie side by side, in order of rank; a row's index plus 1 is the job's id.
 */
#ifndef DLD_TEST_SCHED_STORE_H
#define DLD_TEST_SCHED_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/util.h"

/* ---- a set of numbers that finds the next one ---- */

#define BITS_LEVELS 5

struct bits {
    uint64_t *level[BITS_LEVELS]; /* a bit for each word of the level below that isn't 0 */
};

static inline void bits_init(struct bits *b, size_t n) {
    for (int i = 0; i < BITS_LEVELS; i++) {
        n = n / 64 + 1;
        b->level[i] = calloc(n, sizeof(uint64_t));
        if (!b->level[i])
            abort();
    }
}

static inline void bits_done(struct bits *b) {
    for (int i = 0; i < BITS_LEVELS; i++)
        free(b->level[i]);
}

static inline void bits_set(struct bits *b, size_t at) {
    for (int i = 0; i < BITS_LEVELS; i++, at /= 64)
        b->level[i][at / 64] |= UINT64_C(1) << at % 64;
}

static inline void bits_clear(struct bits *b, size_t at) {
    for (int i = 0; i < BITS_LEVELS; i++, at /= 64) {
        b->level[i][at / 64] &= ~(UINT64_C(1) << at % 64);
        if (b->level[i][at / 64])
            return;
    }
}

/* The smallest from `at` on; SIZE_MAX: none. */
static inline size_t bits_next(const struct bits *b, size_t at) {
    int i = 0;

    for (; i < BITS_LEVELS; i++, at = at / 64 + 1) {
        uint64_t word = b->level[i][at / 64] >> at % 64;

        if (word) {
            at += (size_t)__builtin_ctzll(word);
            break;
        }
        if (i == BITS_LEVELS - 1)
            return SIZE_MAX;
    }
    for (; i > 0; i--)
        at = at * 64 + (size_t)__builtin_ctzll(b->level[i - 1][at]);
    return at;
}

/* ---- rows, lanes, users ---- */

enum where { ABSENT, WAITING, STORED, HELD, ACTIVE, ENDED };

struct row {
    uint32_t lane;
    int32_t rank;
    int8_t priority;
    uint8_t where, attempts;
};

struct lane {
    uint32_t user, host;
    uint32_t first, n; /* rows */
    uint32_t live;     /* rows stored, held or active */
    uint32_t turn;
    uint32_t failures;
    bool parked, in_line;
    uint64_t due;
    uint64_t entered; /* starts of its user when it entered the window; 0: it has started since */
};

struct user {
    struct bits line;  /* turns */
    uint32_t *lane_at; /* by turn */
    uint32_t next_turn;
    uint64_t starts;
};

struct store {
    struct row *rows;
    struct lane *lanes;
    struct user *users;
    size_t n_rows, n_lanes, n_users;
    uint32_t n_turns; /* for each user */
    struct bits live; /* rows stored, held or active */
};

/* The lane stands in its line if it has anything to do. */
static inline void store_line(struct store *s, uint32_t lane) {
    struct lane *l = &s->lanes[lane];
    struct user *u = &s->users[l->user];
    bool in_line = l->live > 0 && !l->parked;

    if (in_line == l->in_line)
        return;
    l->in_line = in_line;
    if (in_line) {
        u->lane_at[l->turn] = lane;
        bits_set(&u->line, l->turn);
    } else {
        bits_clear(&u->line, l->turn);
    }
}

static inline void store_move(struct store *s, size_t row, enum where where) {
    struct row *r = &s->rows[row];
    bool was = r->where >= STORED && r->where <= ACTIVE, is = where >= STORED && where <= ACTIVE;

    r->where = (uint8_t)where;
    if (was == is)
        return;
    if (is)
        bits_set(&s->live, row);
    else
        bits_clear(&s->live, row);
    s->lanes[r->lane].live += is ? 1 : UINT32_MAX;
    store_line(s, r->lane);
}

/* At the end of the line. */
static inline void store_put_back(struct store *s, uint32_t lane) {
    struct lane *l = &s->lanes[lane];
    bool parked = l->parked;

    l->parked = true;
    store_line(s, lane);
    l->turn = s->users[l->user].next_turn++;
    if (l->turn >= s->n_turns)
        abort();
    l->parked = parked;
    store_line(s, lane);
}

/* The first row behind (rank, id), or SIZE_MAX. */
static inline size_t store_row_after(const struct store *s, uint32_t lane, int64_t rank,
                                     int64_t id) {
    const struct lane *l = &s->lanes[lane];
    size_t low = l->first, high = l->first + l->n, row;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (s->rows[mid].rank < rank || (s->rows[mid].rank == rank && (int64_t)mid + 1 <= id))
            low = mid + 1;
        else
            high = mid;
    }
    row = bits_next(&s->live, low);
    return row < l->first + l->n ? row : SIZE_MAX;
}

/* The first turn behind (turn, lane) in the line, or SIZE_MAX. Turns are never given twice. */
static inline size_t store_turn_after(const struct store *s, uint32_t user, int64_t turn,
                                      int64_t lane) {
    size_t from = turn < 0 ? 0 : (size_t)turn;
    size_t at = bits_next(&s->users[user].line, from);

    if (at == from && turn >= 0 && (int64_t)s->users[user].lane_at[at] + 1 <= lane)
        at = bits_next(&s->users[user].line, at + 1);
    return at;
}

#endif
