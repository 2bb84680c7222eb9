#include "client/idset.h"

#include <errno.h>
#include <string.h>

#include "common/util.h"

#define PAGE_BITS 4096

struct idset_page {
    uint64_t first; /* a multiple of PAGE_BITS */
    uint64_t *bits;
};

void idset_done(struct idset *s) {
    for (size_t i = 0; i < s->n_pages; i++)
        free(s->pages[i].bits);
    free(s->pages);
    *s = (struct idset){0};
}

/* Where the page that starts at first is, or belongs. */
static size_t page_find(const struct idset *s, uint64_t first) {
    size_t low = 0, high = s->n_pages;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->pages[middle].first < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int page_insert(struct idset *s, size_t at, uint64_t first) {
    struct idset_page *page;

    if (s->n_pages == s->cap) {
        size_t cap = MAX(s->cap * 2, (size_t)16);
        struct idset_page *pages = reallocarray(s->pages, cap, sizeof(*pages));

        if (!pages)
            return -ENOMEM;
        s->pages = pages;
        s->cap = cap;
    }
    page = s->pages + at;
    memmove(page + 1, page, (s->n_pages - at) * sizeof(*page));
    *page = (struct idset_page){.first = first, .bits = calloc(PAGE_BITS / 64, sizeof(uint64_t))};
    if (!page->bits) {
        memmove(page, page + 1, (s->n_pages - at) * sizeof(*page));
        return -ENOMEM;
    }
    s->n_pages++;
    return 0;
}

int idset_add(struct idset *s, uint64_t number) {
    uint64_t first = number - number % PAGE_BITS, bit = UINT64_C(1) << (number % 64);
    size_t at = page_find(s, first);
    uint64_t *word;

    if (at == s->n_pages || s->pages[at].first != first) {
        int r = page_insert(s, at, first);

        if (r < 0)
            return r;
    }
    word = s->pages[at].bits + number % PAGE_BITS / 64;
    if (*word & bit)
        return 0;
    *word |= bit;
    s->n++;
    return 1;
}
