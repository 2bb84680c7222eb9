/*
 * transfer_line.h - whether what a transfer brought is to be believed, by the connection that it
 * came over (line.h). Private to transfer*.c.
 */
#ifndef DLD_WORKER_TRANSFER_LINE_H
#define DLD_WORKER_TRANSFER_LINE_H

#include "daemon/worker/transfer_rest.h"

/* Sets the handle's options for it, once for each handle. 0 or -ENOMEM. */
int transfer_line_init(struct transfer *t);

/* The same, before every transfer. */
int transfer_line_setup(struct transfer *t);

/* Another request is to follow, if it gets a connection: the answer before it is over. */
void transfer_line_next(struct transfer *t);

/* A request is about to be sent, the first or that of a redirect. False: not over this connection. */
bool transfer_line_request(struct transfer *t, const char *ip, int port, int local_port);

/* From now on, until on is false, the lines of a header are looked at before curl takes them in,
 * and one that is folded ends the transfer. */
void transfer_line_guard(struct transfer *t, bool on);

/* The header of an answer is complete: from now on it is seen if curl finds more behind its body,
 * and whether its chunks are right. */
void transfer_line_header(struct transfer *t);

/* So many bytes of the body have come. */
void transfer_line_progress(struct transfer *t, uint64_t received);

/* The request is over. clean: all of its answer came. */
void transfer_line_leave(struct transfer *t, bool clean);

/* The transfer is given up. */
void transfer_line_drop(struct transfer *t);

#endif
