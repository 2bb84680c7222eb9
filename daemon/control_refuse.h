/*
 * control_refuse.h - clients that can't be served are told so. Private to control*.c.
 */
#ifndef DLD_CONTROL_REFUSE_H
#define DLD_CONTROL_REFUSE_H

#include <stdbool.h>

/* Sends an answer to no request, with RPC_BUSY and text, and closes fd. Never waits. */
void refuse_client(int fd, const char *text);

/* A descriptor held for when there are no others; -1: there is none. */
int refuse_reserve(void);

/* There is no descriptor for the next client: it gets the reserve, to be told text. Whether there
 * was one to tell; *reserve may be -1 then or not. */
bool refuse_next(int listener, int *reserve, const char *text);

#endif
