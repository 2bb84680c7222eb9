/*
 * status.h - what HTTP statuses are called (RFC 9110 section 15 and the IANA registry).
 *
 * The server's own phrase is not shown: HTTP/2 has none, and it may say anything.
 */
#ifndef DLD_WORKER_STATUS_H
#define DLD_WORKER_STATUS_H

/* "Not Found"; "" for a status that has no name. */
const char *status_reason(long status);

#endif
