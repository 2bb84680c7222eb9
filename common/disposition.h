/*
 * disposition.h - the file name in a Content-Disposition field (RFC 6266, RFC 8187).
 *
 * Pure, and made for what strangers send: filename* is preferred to filename, each may be given
 * once, and a field that can't be read to its end gives no name at all.
 */
#ifndef DLD_DISPOSITION_H
#define DLD_DISPOSITION_H

/* The name that the field's value asks for, made safe by name_make_safe(); only what follows the
 * last '/' or '\' counts. A new string; NULL when there is none or it comes out empty, with errno
 * 0, or when out of memory, with ENOMEM. */
char *disposition_name(const char *value);

#endif
