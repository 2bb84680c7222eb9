/*
 * store_image.h - the pages of a queue's files, read without SQLite, so that damage to some does
 * not hide the others.
 *
 * Private to the store; formats: https://www.sqlite.org/fileformat2.html. A page is what the last
 * committed frame of the write-ahead log says, else what the file says. In the log each frame's
 * checksum goes on from the one before, and a reader stops at the first that is wrong: that is the
 * end of what was written when the power failed, for each commit is synced before the next is
 * written. When two commits or more follow behind, it is not: then the log is damaged.
 */
#ifndef DLD_STORE_IMAGE_H
#define DLD_STORE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of all queues: SQLite's default. */
#define IMAGE_PAGE 4096

struct image {
    int fd, log_fd; /* -1: there is none */
    uint32_t n_pages;
    uint32_t *frames; /* owned; by page, from 1: 1 + the frame that holds it, 0: the file does */
    bool log_damaged;
};

/* Reads the log of the file at path and finds all pages. *ret is to be freed by image_done() in any
 * case. 0; -ENOENT: neither file is there; or another negative errno. */
int image_open(struct image *ret, const char *path);
void image_done(struct image *im);

/* The page n, from 1; what the file lacks is zeros. 0 or a negative errno. */
int image_page(const struct image *im, uint32_t n, uint8_t page[IMAGE_PAGE]);

/* Whether the log of the file at path is damaged: 1, 0 (or there is none), or a negative errno. */
int image_log_damaged(const char *path);

/* Big-endian numbers, as everywhere in these files. */
static inline uint32_t image_u16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}
static inline uint32_t image_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
