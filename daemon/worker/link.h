/*
 * link.h - the worker's end of the channel: what the master says becomes calls, what it is to hear
 * becomes messages.
 *
 * The order of things is held here: HELLO first, then CONFIG, once each, then all others. What
 * breaks it, can't be decoded or comes from a master of another version is said on stderr and ends
 * the process with WORKER_PROTOCOL; when the channel ends, so does the process, at once, with
 * WORKER_OK: the publishing thread must not go on without a master. Neither returns to the caller.
 */
#ifndef DLD_WORKER_LINK_H
#define DLD_WORKER_LINK_H

#include <systemd/sd-event.h>

#include "common/wire.h"

struct link;

/* Each returns 0, or -EBADMSG for what makes no sense now. Pointers are valid during the call. */
struct link_handlers {
    int (*config)(void *userdata, const struct wire_config *config);
    int (*job)(void *userdata, const struct wire_job *job);
    int (*cancel)(void *userdata, int64_t id);
    int (*discard)(void *userdata, const struct wire_discard *message);
    int (*release)(void *userdata, int64_t id);
    int (*widened)(void *userdata, const struct wire_widened *widened);
    int (*rate)(void *userdata, const struct wire_rate *rate);
    int (*drain)(void *userdata);
    int (*stop)(void *userdata);
    void *userdata;
};

/* Takes ownership of fd. HELLO is said when the config handler has succeeded. 0 or a negative errno. */
int link_new(struct link **ret, sd_event *event, int fd, const struct link_handlers *handlers);

/* Takes NULL, returns NULL. */
struct link *link_free(struct link *l);

void link_send_fetched(struct link *l, const struct wire_fetched *fetched);
void link_send_discarded(struct link *l, int64_t id);
void link_send_widen(struct link *l, const struct wire_widen *widen);
void link_send_checkpoint(struct link *l, const struct wire_checkpoint *checkpoint);
void link_send_result(struct link *l, const struct wire_result *result);

/* Sends what is not yet sent, waiting at most timeout_usec. 0 or a negative errno. */
int link_flush(struct link *l, uint64_t timeout_usec);

#endif
