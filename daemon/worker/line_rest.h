/*
 * line_rest.h - what comes over a connection behind the last answer: nothing but TLS taking its
 * leave?
 *
 * Pure: takes bytes as they are received, in pieces of any size.
 */
#ifndef DLD_WORKER_LINE_REST_H
#define DLD_WORKER_LINE_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero at first. */
struct line_rest {
    uint8_t begin[12]; /* of a rest without TLS */
    uint8_t n_begin;
    uint8_t record[5]; /* header of a TLS record */
    uint8_t n_record;
    uint16_t left; /* bytes of that record */
};

/* True: these bytes, or those before, are more than an end. Without TLS every byte is. With it,
 * alerts are not: a record of that type, or, for TLS 1.3, which hides the type, one too short for
 * an answer. */
bool line_rest_add(struct line_rest *r, bool tls, const uint8_t *p, size_t n);

/* Does it begin with a 408 (Request Timeout)? To be asked once line_rest_add() was true. */
bool line_rest_is_timeout(const struct line_rest *r);

#endif
