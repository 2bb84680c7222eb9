/*
 * store_cells.h - what is on the pages of a queue's tables, as far as it makes sense.
 *
 * Private to the store; reads an image that may be damaged in any way, and trusts nothing in it.
 */
#ifndef DLD_STORE_CELLS_H
#define DLD_STORE_CELLS_H

#include <sys/types.h>

#include "daemon/store_image.h"

/* The byte that a page begins with. */
enum page_kind {
    PAGE_INDEX_INNER = 0x02, /* rows, of tables WITHOUT ROWID, and children */
    PAGE_TABLE_INNER = 0x05, /* children */
    PAGE_INDEX_LEAF = 0x0a,
    PAGE_TABLE_LEAF = 0x0d,
};

#define CELL_COLUMNS_MAX 64
#define CELL_BYTES_MAX (4 * 1024 * 1024) /* of a row: a job may have 1 MiB */

struct value {
    enum { VALUE_NULL, VALUE_INTEGER, VALUE_REAL, VALUE_TEXT, VALUE_BLOB } type;
    int64_t integer;
    const char *text; /* of n bytes, no NUL behind; a view */
    size_t n;
};

struct row {
    int64_t rowid; /* of a table's leaf, else 0 */
    struct value values[CELL_COLUMNS_MAX];
    size_t n_values;
    uint8_t *bytes; /* owned; what the values are views of */
};

/* A page, and the number of cells that it says it has. */
struct cells {
    const struct image *image;
    uint32_t number;
    enum page_kind kind;
    unsigned n;
    unsigned header; /* where the page's own begins: behind the file's on page 1 */
    uint8_t page[IMAGE_PAGE];
};

/* 1, or 0: it is no page of a tree, or what it says of itself can't be; or a negative errno. */
int cells_open(struct cells *ret, const struct image *im, uint32_t number);

/* The row of cell i of a page that has rows: 1, 0: it is damaged; or a negative errno. Freed by
 * row_done() in any case. */
int cells_row(const struct cells *c, unsigned i, struct row *ret);
void row_done(struct row *row);

/* The child to the left of cell i of an inner page, and for i = n the rightmost; 0: it is none. */
uint32_t cells_child(const struct cells *c, unsigned i);

#endif
