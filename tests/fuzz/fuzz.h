/*
 * fuzz.h - what every fuzz target has: its entry, and checks that end the process.
 *
 * A target is one file, fuzz_NAME.c, with LLVMFuzzerTestOneInput(). It gives the input to the code
 * that reads such things in earnest, and checks what that promises: bounds, round trips, two ways
 * that must come to the same. Inputs are copied into memory of just their size, so that
 * AddressSanitizer sees the first byte beyond.
 */
#ifndef DLD_FUZZ_H
#define DLD_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says what does not hold, and ends the process. */
#define fuzz_check(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The bytes in memory of their own, at least one byte of it. */
static inline void *fuzz_copy(const void *data, size_t size) {
    void *copy = calloc(1, size ? size : 1);

    fuzz_check(copy);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* The bytes up to the first NUL as a string. */
static inline char *fuzz_text(const void *data, size_t size) {
    char *text = size > 0 ? strndup(data, size) : strdup("");

    fuzz_check(text);
    return text;
}

/* Takes the first line out of the input: a new string, without its end. */
static inline char *fuzz_line(const uint8_t **data, size_t *size) {
    const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
    size_t n = end ? (size_t)(end - *data) : *size, taken = end ? n + 1 : n;
    char *line = fuzz_text(*data, n);

    *data += taken;
    *size -= taken;
    return line;
}

/* Takes the first byte; 0 at the end. */
static inline uint8_t fuzz_byte(const uint8_t **data, size_t *size) {
    if (*size == 0)
        return 0;
    (*size)--;
    return *(*data)++;
}

#endif
