/*
 * notify.h - tells the service manager how things are, without ever waiting for it.
 *
 * sd_notify(3) blocks while the manager's queue is full, and with it would the loop and all
 * clients. What doesn't fit now is dropped here: the next message says the same again.
 */
#ifndef DLD_NOTIFY_H
#define DLD_NOTIFY_H

#include <systemd/sd-event.h>

#include "common/util.h"

/* Sends assignments as of sd_notify(3), if $NOTIFY_SOCKET is set and its reader keeps up. */
void notify_send(const char *fmt, ...) _printf_(1, 2);

/* Pings the manager's watchdog at half its interval from now on, if it wants that ($WATCHDOG_USEC).
 * *ret is the timer, NULL where there is none. 0 or a negative errno. */
int notify_watchdog(sd_event *event, sd_event_source **ret);

#endif
