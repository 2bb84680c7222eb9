/*
 * head.h - what the header of an answer says of its body, read more strictly than libcurl does.
 *
 * The lines come one by one, as curl's header callback gives them. Refused is what RFC 9110 and RFC
 * 9112 leave without one meaning: a field line without a colon, or with a NUL or CR in it; of a
 * field that frames the body or says where to go, one with blanks before the colon, and a folded
 * line (nor may the first line be one); Content-Length fields that are not one and the same number;
 * a Transfer-Encoding other than "chunked" (or "identity", which is none); Location or
 * Content-Range fields that differ. Taken is what servers send that mean well: a length given
 * twice, also in one field; a length beside "chunked", which answer.h then compares; fields of
 * other names that are no token, which say nothing. And what has no end: more than HEAD_LINES_MAX
 * lines or HEAD_BYTES_MAX bytes, those of 1xx answers before it included. Fields that come after a
 * chunked body (trailers) mean nothing here and are only counted.
 *
 * Pure: no I/O. A head is all zero when a transfer starts.
 */
#ifndef DLD_WORKER_HEAD_H
#define DLD_WORKER_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_LINES_MAX 1000
#define HEAD_BYTES_MAX (256 * KIB)

/* Of these the first value is kept as a hash, to see whether another one differs. */
enum head_field { HEAD_LOCATION, HEAD_CONTENT_RANGE, HEAD_SINGLE_MAX_ };

struct head {
    unsigned status; /* of the last answer, 0: none yet */
    bool ended;      /* its empty line has come */
    bool http10;
    bool http1; /* 1.0 or 1.1: without a length the body ends with the connection */
    bool framing; /* the line before was a field that must not be folded */
    unsigned n_lines;
    size_t n_bytes;
    bool has_length, is_chunked;
    bool is_identity; /* libcurl passes over the length then, and waits for the connection's end */
    bool has_digest; /* there is a field that may say what the body's digest is; else none need be looked for */
    uint64_t length; /* the Content-Length field's; is_chunked beats it */
    struct {
        bool seen;
        uint64_t hash;
    } single[HEAD_SINGLE_MAX_];
};

/* Takes in the next line. NULL, or what is wrong with it: the end of a sentence that begins with
 * the server's name. */
const char *head_line(struct head *h, const char *line, size_t n);

#endif
