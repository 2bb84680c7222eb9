#include "daemon/worker/pieces.h"

#include <string.h>

#include "common/util.h"

/* Of a small piece that would take so long its owner keeps what it will bring within a second, this
 * at least. */
#define RESCUE_MSEC 4000
#define RESCUE_KEEP (16 * KIB)
#define RESCUES_MAX 16

bool pieces_begin(struct pieces *p, uint64_t offset, uint64_t total, const char *ranges) {
    struct ranges r = {0};
    uint64_t begin = 0, at = offset;

    if (offset > total || (ranges && ranges_parse(ranges, offset, (int64_t)total, &r) < 0))
        return false;
    p->n = p->rescued = 0;
    for (size_t i = 0; i <= r.n; i++) {
        uint64_t end = i < r.n ? r.list[i].begin : total;

        if (p->n == PIECES_MAX)
            p->list[p->n - 1].end = total; /* what is behind it counts as lacking */
        else
            p->list[p->n++] = (struct piece){
                .begin = begin, .at = at, .end = end, .reach = end, .begun = at > begin};
        if (i < r.n) {
            begin = r.list[i].begin;
            at = r.list[i].end;
        }
    }
    pieces_tidy(p);
    return true;
}

bool pieces_whole(const struct pieces *p) {
    for (unsigned i = 0; i < p->n; i++)
        if (p->list[i].at < p->list[i].end)
            return false;
    return true;
}

struct piece *pieces_of(struct pieces *p, const void *owner) {
    for (unsigned i = 0; i < p->n; i++)
        if (p->list[i].owner == owner)
            return &p->list[i];
    return NULL;
}

static void piece_remove(struct pieces *p, unsigned i) {
    p->n--;
    memmove(&p->list[i], &p->list[i + 1], (p->n - i) * sizeof(p->list[0]));
}

/* The bytes from where on become a piece of their own, nobody's. There must be room for it. */
static struct piece *piece_cut(struct pieces *p, struct piece *x, uint64_t where) {
    unsigned i = (unsigned)(x - p->list) + 1;

    memmove(&p->list[i + 1], &p->list[i], (p->n - i) * sizeof(p->list[0]));
    p->n++;
    p->list[i] = (struct piece){.begin = where, .at = where, .end = x->end, .reach = x->end};
    x->end = where;
    return &p->list[i];
}

void pieces_spread(struct pieces *p, struct piece *x, unsigned n) {
    uint64_t part;

    n = MIN(n, PIECES_MAX - p->n + 1);
    n = (unsigned)MIN((uint64_t)n, (x->end - x->at) / PIECE_MIN);
    if (n < 2)
        return;
    part = (x->end - x->at) / n;
    for (unsigned i = 1; i < n; i++)
        x = piece_cut(p, x, x->at + part);
}

/* Where all are slow, for a limit of ours, taking from one another would never end. */
static bool is_rescue(const struct pieces *p, uint64_t rest, uint64_t msec) {
    return rest > 2 * RESCUE_KEEP && msec > RESCUE_MSEC && p->rescued < RESCUES_MAX;
}

struct piece *pieces_pick(struct pieces *p) {
    struct piece *slowest = NULL;
    uint64_t longest = 0, rest, keep;

    for (unsigned i = 0; i < p->n; i++) {
        struct piece *x = &p->list[i];
        uint64_t msec;

        rest = x->end - x->at;
        if (rest > 0 && !x->owner)
            return x;
        msec = (rest / KIB + 1) * 1000 / (x->speed / KIB + 1) + 1;
        if (!x->begun || (rest < 2 * PIECE_MIN && !is_rescue(p, rest, msec)))
            continue;
        if (msec > longest) {
            longest = msec;
            slowest = x;
        }
    }
    if (!slowest || p->n == PIECES_MAX)
        return NULL;
    rest = slowest->end - slowest->at;
    keep = rest / 2;
    if (rest < 2 * PIECE_MIN) {
        keep = MIN(keep, MAX(slowest->speed, RESCUE_KEEP));
        p->rescued++;
    }
    return piece_cut(p, slowest, slowest->at + keep);
}

bool pieces_extend(struct pieces *p, struct piece *x, void **ret_ousted) {
    unsigned i = (unsigned)(x - p->list) + 1;
    const struct piece *next = &p->list[i];

    if (i >= p->n || next->begun || next->end > x->reach)
        return false;
    *ret_ousted = next->owner;
    x->end = next->end;
    piece_remove(p, i);
    return true;
}

void pieces_tidy(struct pieces *p) {
    void *nobody;

    for (unsigned i = 0; i + 1 < p->n;) {
        struct piece *x = &p->list[i], *next = x + 1;

        if (x->at == x->end && !x->owner) {
            next->begun |= x->begun;
            next->begin = x->begin;
            piece_remove(p, i);
        } else if (!next->owner && !next->begun && x->owner && pieces_extend(p, x, &nobody)) {
            continue;
        } else {
            i++;
        }
    }
}

uint64_t pieces_kept(const struct pieces *p, struct ranges *ret) {
    uint64_t front = p->list[0].at;
    unsigned i = 0;

    ret->n = 0;
    while (p->list[i].at == p->list[i].end && i + 1 < p->n)
        front = p->list[++i].at;
    while (++i < p->n) {
        const struct piece *x = &p->list[i];

        if (x->at > x->begin)
            ranges_append(ret, x->begin, x->at);
    }
    return front;
}
