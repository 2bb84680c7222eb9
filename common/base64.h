/*
 * base64.h - bytes as text (RFC 4648 section 4, with padding), for the control socket.
 */
#ifndef DLD_BASE64_H
#define DLD_BASE64_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What n bytes become. */
#define BASE64_LENGTH(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LENGTH(n) characters, no NUL. */
void base64_encode(char *ret, const uint8_t *data, size_t n);

/* The bytes that n characters stand for, of which ret has room for n / 4 * 3; their number, or
 * -EINVAL where it isn't in canonical form. */
ssize_t base64_decode_text(uint8_t *ret, const char *s, size_t n);

#endif
