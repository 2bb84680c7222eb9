/*
 * said.h - what a server said of a file with its first answer, kept with the part that came of it:
 * answers with the rest need not say it again (RFC 9110 section 15.3.7). It lies in the extended
 * attribute "user.dld.said" of the part file; a file system without such forgets it.
 */
#ifndef DLD_WORKER_SAID_H
#define DLD_WORKER_SAID_H

#include <curl/curl.h>

#include "daemon/worker/integrity.h"

#define SAID_MAX 2048 /* bytes; what doesn't fit is left out */

/* Keeps what the answer of easy, which was with the whole file, says of digests, coding, name and
 * time. */
void said_keep(int fd, CURL *easy);

/* Takes in the digests that were promised for the whole file. */
void said_digests(int fd, struct integrity *in);

/* The value of a field, in value; NULL: it was not said. */
const char *said_field(int fd, const char *name, char value[static SAID_MAX]);

/* Was the file said to come in no Content-Encoding? False also where it is not known. */
bool said_plain(int fd);

/* The file is complete. */
void said_forget(int fd);

#endif
