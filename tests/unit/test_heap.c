/* heap.h: always the first, whatever is added, removed and reordered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/heap.h"
#include "common/util.h"

#define ITEMS 200

struct item {
    int key;
    size_t place;
};

static bool item_before(const void *a, const void *b) {
    return ((const struct item *)a)->key < ((const struct item *)b)->key;
}

static void check_first(const struct heap *h, const struct item *items) {
    const struct item *first = heap_first(h);
    size_t n = 0;

    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(heap_has(h, &items[i]), items[i].place != 0);
        if (items[i].place == 0)
            continue;
        n++;
        assert_true(first->key <= items[i].key);
    }
    assert_int_equal(n, h->n);
}

static void test_first_is_the_smallest(void **state) {
    struct item items[ITEMS] = {0};
    struct heap h;
    unsigned seed = 1;

    (void)state;
    heap_init(&h, item_before, offsetof(struct item, place));
    assert_int_equal(heap_reserve(&h, ITEMS), 0);
    for (int i = 0; i < 5000; i++) {
        struct item *item = &items[(seed = seed * 1103515245 + 12345) / 65536 % ITEMS];

        if (!heap_has(&h, item)) {
            item->key = (int)(seed >> 8) % 100;
            heap_add(&h, item);
        } else if (seed % 3) {
            item->key = (int)(seed >> 8) % 100;
            heap_reorder(&h, item);
        } else {
            heap_remove(&h, item);
        }
        check_first(&h, items);
    }
    heap_done(&h);
}

static void test_what_is_not_in_it_can_be_removed(void **state) {
    struct item item = {0};
    struct heap h;

    (void)state;
    heap_init(&h, item_before, offsetof(struct item, place));
    heap_remove(&h, &item);
    heap_reorder(&h, &item);
    assert_null(heap_first(&h));
    heap_done(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_is_the_smallest),
        cmocka_unit_test(test_what_is_not_in_it_can_be_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
