/*
 * chan.h - a SEQPACKET socket on an event loop, carrying wire records in batches.
 *
 * What is sent during one turn of the loop goes out in as few packets as it fits, at the end of
 * that turn. What the socket won't take waits in memory; the callers' credits bound how much that
 * can be.
 */
#ifndef DLD_CHAN_H
#define DLD_CHAN_H

#include <systemd/sd-event.h>

#include "wire.h"

struct chan;

/* One record came in; the payload is valid until the callback returns. 0, or a negative errno:
 * -EBADMSG for what can't be understood. The channel then reports it to on_closed and delivers
 * nothing more. */
typedef int chan_record_fn(void *userdata, uint8_t type, const void *payload, size_t len);

/* The channel ended: error is 0 when the peer closed it, else a negative errno. Called once, and
 * never from within chan_ functions; chan_free() is allowed in it. */
typedef void chan_closed_fn(void *userdata, int error);

/* Takes ownership of fd (also on failure). 0 or a negative errno. */
int chan_new(struct chan **ret, sd_event *event, int fd, chan_record_fn *on_record,
             chan_closed_fn *on_closed, void *userdata);

/* Drops what was not sent. Takes NULL, returns NULL. */
struct chan *chan_free(struct chan *c);

/* The buffer to append one record to with a wire_put_ function; chan_queued() must follow it. */
struct buf *chan_buf(struct chan *c);
void chan_queued(struct chan *c);

/* Delivers all that has come in, up to the peer's end: for when the peer is known to be gone. */
void chan_drain(struct chan *c);

/* Sends what waits now, blocking for at most timeout_usec. 0, -ETIMEDOUT, or another negative
 * errno. */
int chan_flush(struct chan *c, uint64_t timeout_usec);

#endif
