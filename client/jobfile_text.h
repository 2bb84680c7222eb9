/*
 * jobfile_text.h - the lower half of jobfile.c: bytes, values of JSON, and where they stand.
 *
 * Functions that return int return 0, or a negative errno: -EBADMSG with f->error filled, -ENOMEM.
 * The text_fail ones always fail. For jobfile.c alone.
 */
#ifndef DLD_CLIENT_JOBFILE_TEXT_H
#define DLD_CLIENT_JOBFILE_TEXT_H

#include "client/jobfile.h"

#define TEXT_BUFFER_SIZE (64 * KIB) /* of f->data */
#define TEXT_END (-1)               /* of the file, or it can't be read: f->read_error */

/* The next byte, not taken; TEXT_END. */
int text_peek(struct jobfile *f);

/* The same, after taking the blanks before it; keep: they go into raw. */
int text_peek_word(struct jobfile *f, bool keep);

/* Takes the byte that was peeked at. */
void text_advance(struct jobfile *f, unsigned char c);

/* Takes the next word if it is the character c; else what was expected is the error. */
int text_take(struct jobfile *f, int c, const char *what);

/* raw is empty, and what goes into it starts at the next byte of the file. */
void text_begin_value(struct jobfile *f);

/* Appends the value that starts at the next byte to raw. Only where it ends is sure, not its
 * syntax. */
int text_scan_value(struct jobfile *f);

/* Parses raw, which must be one value. */
int text_check(struct jobfile *f);

/* The three of them: the next value, correct, in raw. */
int text_read_value(struct jobfile *f);

/* The string that raw holds from offset on, a new one; NULL when it is none, or out of memory. */
char *text_decode(struct jobfile *f, size_t offset);

/* "FILE:LINE:COLUMN: " and the message. */
int text_fail_at(struct jobfile *f, uint64_t line, uint64_t column, const char *fmt, ...)
    _printf_(4, 5);

/* "expected WHAT, found ..." at the next byte. */
int text_fail_expected(struct jobfile *f, const char *what);

/* The value in raw, or what comes next, is wrong. What jansson says of raw and the next byte is the
 * better reason than the one given (NULL: none), unless it only wants more. */
int text_fail_value(struct jobfile *f, const char *reason);

/* raw has an error (buf.h). */
int text_fail_raw(struct jobfile *f);

/* The file can't be read. */
int text_fail_read(struct jobfile *f);

#endif
