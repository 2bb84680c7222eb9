#include "daemon/store_cells.h"

#include <errno.h>
#include <string.h>

#include "common/util.h"

#define FILE_HEADER 100
#define OVERFLOW_BYTES (IMAGE_PAGE - 4)

static bool is_inner(enum page_kind kind) {
    return kind == PAGE_INDEX_INNER || kind == PAGE_TABLE_INNER;
}

int cells_open(struct cells *ret, const struct image *im, uint32_t number) {
    if (number == 0 || number > im->n_pages)
        return 0;
    int r = image_page(im, number, ret->page);
    if (r < 0)
        return r;
    ret->image = im;
    ret->number = number;
    ret->header = number == 1 ? FILE_HEADER : 0;
    ret->kind = (enum page_kind)ret->page[ret->header];
    ret->n = image_u16(ret->page + ret->header + 3);
    unsigned size = is_inner(ret->kind) ? 12 : 8;
    if (!is_inner(ret->kind) && ret->kind != PAGE_INDEX_LEAF && ret->kind != PAGE_TABLE_LEAF)
        return 0;
    return ret->header + size + 2 * ret->n <= IMAGE_PAGE;
}

/* Where cell i is on the page, or 0. */
static unsigned cell_at(const struct cells *c, unsigned i) {
    unsigned pointers = c->header + (is_inner(c->kind) ? 12 : 8);
    unsigned at = image_u16(c->page + pointers + 2 * i);

    return at >= pointers + 2 * c->n && at + 4 <= IMAGE_PAGE ? at : 0;
}

uint32_t cells_child(const struct cells *c, unsigned i) {
    if (i == c->n)
        return image_u32(c->page + c->header + 8);
    unsigned at = cell_at(c, i);
    return at > 0 ? image_u32(c->page + at) : 0;
}

/* Bytes that it took, 0: it goes beyond the end. */
static size_t varint(const uint8_t *p, const uint8_t *end, uint64_t *ret) {
    uint64_t v = 0;

    for (size_t i = 0; i < 9 && p + i < end; i++) {
        if (i == 8) {
            *ret = v << 8 | p[i];
            return 9;
        }
        v = v << 7 | (p[i] & 0x7f);
        if (!(p[i] & 0x80)) {
            *ret = v;
            return i + 1;
        }
    }
    return 0;
}

/* How many of a row's bytes are on the page itself. */
static size_t local_size(enum page_kind kind, uint64_t size) {
    size_t most = kind == PAGE_TABLE_LEAF ? IMAGE_PAGE - 35 : (IMAGE_PAGE - 12) * 64 / 255 - 23;
    size_t least = (IMAGE_PAGE - 12) * 32 / 255 - 23;
    size_t fit = least + (size_t)((size - least) % OVERFLOW_BYTES);

    return size <= most ? (size_t)size : fit <= most ? fit : least;
}

/* The rest of a row, from its chain of pages. 1, 0: the chain is broken. */
static int overflow_read(const struct image *im, uint32_t page, uint8_t *to, size_t n) {
    uint8_t bytes[IMAGE_PAGE];

    while (n > 0) {
        size_t step = MIN(n, (size_t)OVERFLOW_BYTES);

        if (page < 2 || page > im->n_pages)
            return 0;
        int r = image_page(im, page, bytes);
        if (r < 0)
            return r;
        memcpy(to, bytes + 4, step);
        to += step;
        n -= step;
        page = image_u32(bytes);
    }
    return page == 0;
}

/* How long a value is that a record's header describes so; -1: there is no such. */
static int64_t serial_size(uint64_t serial) {
    static const uint8_t sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};

    if (serial >= 12)
        return serial - 12 < 2 * (uint64_t)CELL_BYTES_MAX ? (int64_t)((serial - 12) / 2) : -1;
    return serial < ELEMENTSOF(sizes) ? sizes[serial] : -1;
}

static struct value value_read(uint64_t serial, const uint8_t *p, size_t n) {
    struct value v = {VALUE_NULL, 0, (const char *)p, n};
    uint64_t bits = n > 0 && serial <= 6 && p[0] & 0x80 ? UINT64_MAX : 0;

    if (serial >= 12) {
        v.type = serial & 1 ? VALUE_TEXT : VALUE_BLOB;
    } else if (serial == 7) {
        v.type = VALUE_REAL;
    } else if (serial > 0) {
        v.type = VALUE_INTEGER;
        for (size_t i = 0; i < n; i++)
            bits = bits << 8 | p[i];
        v.integer = serial >= 8 ? (int64_t)serial - 8 : (int64_t)bits;
    }
    return v;
}

/* Takes a record apart: 1, 0: it is none. */
static int record_read(struct row *row, size_t size) {
    const uint8_t *p = row->bytes, *end = p + size, *header_end, *body;
    uint64_t header, serial;
    size_t took = varint(p, end, &header);

    if (took == 0 || header < took || header > size)
        return 0;
    header_end = body = row->bytes + header;
    for (p += took; p < header_end; p += took) {
        took = varint(p, header_end, &serial);
        int64_t n = took > 0 ? serial_size(serial) : -1;
        if (n < 0 || n > end - body || row->n_values == CELL_COLUMNS_MAX)
            return 0;
        row->values[row->n_values++] = value_read(serial, body, (size_t)n);
        body += n;
    }
    return body == end;
}

int cells_row(const struct cells *c, unsigned i, struct row *ret) {
    const uint8_t *p = c->page + cell_at(c, i), *end = c->page + IMAGE_PAGE;
    uint64_t size = 0, rowid = 0;
    size_t took;

    *ret = (struct row){0};
    if (p == c->page || c->kind == PAGE_TABLE_INNER)
        return 0;
    if (c->kind == PAGE_INDEX_INNER)
        p += 4;
    took = varint(p, end, &size);
    p += took;
    if (took > 0 && c->kind == PAGE_TABLE_LEAF) {
        took = varint(p, end, &rowid);
        p += took;
    }
    if (took == 0 || size == 0 || size > CELL_BYTES_MAX)
        return 0;
    size_t local = local_size(c->kind, size);
    if (local + (local < size ? 4 : 0) > (size_t)(end - p))
        return 0;
    ret->rowid = (int64_t)rowid;
    ret->bytes = malloc(size);
    if (!ret->bytes)
        return -ENOMEM;
    memcpy(ret->bytes, p, local);
    if (local < size) {
        int r = overflow_read(c->image, image_u32(p + local), ret->bytes + local, size - local);
        if (r <= 0)
            return r;
    }
    return record_read(ret, size);
}

void row_done(struct row *row) {
    free(row->bytes);
    row->bytes = NULL;
}
