/*
 * header.h - the lines of an answer's header that libcurl takes too lightly.
 *
 * Pure functions over one line as curl's header callback gives it: n bytes, usually ending in CR
 * LF.
 */
#ifndef DLD_WORKER_HEADER_H
#define DLD_WORKER_HEADER_H

#include <stdbool.h>
#include <stddef.h>

/* Begins with "HTTP/": the first line of an answer, of which there is one for each redirect and
 * each 1xx. */
bool header_is_status_line(const char *line, size_t n);

/* Is the status line as RFC 9112 section 4 has it: a version and three digits, the first of them 1
 * to 9? (libcurl takes some others for a 200.) A missing reason phrase is all right, with the blank
 * before it. */
bool header_status_line_is_valid(const char *line, size_t n);

/* Does a Location field lead where common/url would go too? True for every other field. A reference
 * with a scheme or an authority of its own must be a URL that a job could have; one without keeps
 * to the host. */
bool header_location_is_valid(const char *line, size_t n);

#endif
