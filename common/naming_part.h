/*
 * naming_part.h - names in the making: what naming.c and naming_template.c share.
 *
 * Names here are bytes and a length, without a NUL.
 */
#ifndef DLD_NAMING_PART_H
#define DLD_NAMING_PART_H

#include "common/naming.h"

/* ".", ".." or what starts with ".dld-". */
bool name_is_reserved(const char *s, size_t n);

/* Where the extension starts; n when there is none. */
size_t name_stem(const char *s, size_t n);

/* The n bytes (at most URL_MAX_LENGTH) of a segment of a URL's path percent-decoded, with what may
 * not be in a name encoded again. ret has room for n bytes; returns how many it got. */
size_t segment_decode(const char *s, size_t n, char *ret);

/* Makes a name of s, which has no control characters and no '/' and is not empty: neither reserved
 * nor too long. ret has room for NAME_MAX_BYTES; returns how many it got. */
size_t name_settle(const char *s, size_t n, char *ret);

/* name_from_url() into ret, which has room for NAME_MAX_BYTES. */
size_t url_name(const struct url *u, char *ret);

#endif
