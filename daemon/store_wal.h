/*
 * store_wal.h - SQLite's write-ahead log, written in large pieces.
 *
 * SQLite writes each page of a transaction with two calls, its 24 bytes of header and the page: none
 * of them is aligned, and the kernel handles most pages of the file three times. This VFS is the
 * default one but for logs, whose writes it gathers until one doesn't go on where the last ended,
 * there is no more room, or anything else is done with the log. A commit ends with a sync
 * (synchronous = FULL), so that what is gathered is of a transaction that isn't over; and the error
 * of a write that comes late is that transaction's.
 *
 * https://www.sqlite.org/vfs.html, "VFS shims".
 */
#ifndef DLD_STORE_WAL_H
#define DLD_STORE_WAL_H

#define STORE_WAL_VFS "dld-wal"

/* Makes the VFS known, however often it is called. 0 or -ENOMEM. */
int store_wal_register(void);

#endif
