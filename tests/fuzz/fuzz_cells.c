/*
 * Pages of a damaged queue, as recovery reads them without SQLite: whatever is on them, what comes
 * out lies within the row that was read.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "daemon/store_cells.h"

#define PAGES_MAX 4

static void check_row(const struct row *row) {
    fuzz_check(row->n_values <= CELL_COLUMNS_MAX);
    for (size_t i = 0; i < row->n_values; i++) {
        const struct value *v = &row->values[i];
        unsigned sum = 0;

        if (v->type != VALUE_TEXT && v->type != VALUE_BLOB)
            continue;
        fuzz_check(v->n <= CELL_BYTES_MAX);
        for (size_t k = 0; k < v->n; k++)
            sum += (unsigned char)v->text[k]; /* all of it can be read */
        fuzz_check(sum <= 255 * v->n);
    }
}

static void check_page(const struct image *image, uint32_t number) {
    struct cells c;
    int r = cells_open(&c, image, number);

    fuzz_check(r == 0 || r == 1);
    if (r == 0)
        return;
    fuzz_check(c.n <= IMAGE_PAGE / 2);
    for (unsigned i = 0; i < c.n; i++) {
        struct row row = {.n_values = 0};

        if (c.kind != PAGE_TABLE_INNER && cells_row(&c, i, &row) == 1)
            check_row(&row);
        row_done(&row);
    }
    if (c.kind == PAGE_TABLE_INNER || c.kind == PAGE_INDEX_INNER)
        for (unsigned i = 0; i <= c.n; i++)
            cells_child(&c, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t n = (uint32_t)((size + IMAGE_PAGE - 1) / IMAGE_PAGE);
    struct image image = {.fd = memfd_create("fuzz", MFD_CLOEXEC), .log_fd = -1, .n_pages = n};

    if (n > PAGES_MAX) {
        close(image.fd);
        return -1;
    }
    image.frames = calloc(n + 1, sizeof(*image.frames));
    fuzz_check(image.frames && image.fd >= 0 && write(image.fd, data, size) == (ssize_t)size);
    for (uint32_t i = 1; i <= n; i++)
        check_page(&image, i);
    image_done(&image);
    return 0;
}
