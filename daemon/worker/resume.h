/*
 * resume.h - going on with a file of which the first bytes are there.
 *
 * Bytes of two versions of a file must never be put together. So bytes are kept only where the
 * server names the version with a strong validator (RFC 9110 section 8.8), the rest is asked for
 * with If-Range, and what comes must fit what is there in every way that can be seen. Bytes of two
 * servers are put together only where a digest of the whole tells in the end whether they fit, for
 * what the one calls its version is not for the other to say.
 */
#ifndef DLD_WORKER_RESUME_H
#define DLD_WORKER_RESUME_H

#include <curl/curl.h>
#include <stdbool.h>

#include "common/wire.h"

#define VERSION_ETAG_MAX 256
#define VERSION_DATE_MAX 64

/* How the server names what it sends; "" for what it doesn't say, or not in a strong way. */
struct version {
    char etag[VERSION_ETAG_MAX];
    char modified[VERSION_DATE_MAX];
};

/* '"...", without the W/ of a weak one. */
bool etag_is_strong(const char *etag);

/* By two fields of one answer: changes within the same second would not show in a Last-Modified
 * that is younger than VERSION_AGE seconds (section 8.8.2.2). */
#define VERSION_AGE 60
bool date_is_strong(const char *modified, const char *date);

/* Reads the answer's validators. False when none is strong. */
bool version_read(CURL *easy, struct version *ret);

/* Can the rest be asked for? Also without a condition, of another mirror, where the job has a
 * checksum and the size is known. */
bool resume_may(const struct wire_kept *kept, bool has_checksum);

/* For If-Range; NULL: the version can't be told, so that nothing can be continued. */
const char *resume_condition(const struct wire_kept *kept);

/* "bytes 5-9/10" -> 5, 9, 10; "bytes * /10" (without the blank) -> -1, -1, 10; an unknown total is
 * -1. False when malformed. */
struct content_range {
    int64_t first, last, total;
};
bool content_range_parse(const char *s, struct content_range *ret);

/* Is this 206 the rest of the file, from kept->offset to its end? NULL: yes, and *ret_total is the
 * size of the whole; else what is wrong with it. */
const char *resume_misfit(CURL *easy, const struct wire_kept *kept, int64_t *ret_total);

/* Likewise the part of it up to (not with) that byte, of a file of kept->total, which must be named
 * as the version is that is kept, if that has a name. */
const char *resume_part_misfit(CURL *easy, const struct wire_kept *kept, uint64_t end);

/* Does an answer that is to be the whole file (200) have a Content-Range that makes it a part? It
 * means nothing there, but such a server is not to be trusted. */
bool resume_is_part(CURL *easy);

/* Does this 416 say that what is kept is all there is? */
bool resume_is_whole(CURL *easy, const struct wire_kept *kept);

#endif
