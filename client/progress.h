/*
 * progress.h - one live line at the bottom of a terminal.
 *
 * It goes to stderr, and only if that is a terminal that can redraw a line. Whoever prints
 * something else clears it first; the next redraw brings it back.
 */
#ifndef DLD_CLIENT_PROGRESS_H
#define DLD_CLIENT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_MSEC 250 /* between redraws */

struct progress {
    bool on;       /* there is such a terminal */
    bool shown;    /* the line stands there now */
    uint64_t next; /* usec of CLOCK_MONOTONIC when it is due again */
};

void progress_init(struct progress *p);

/* Draws text, cut to the width of the terminal, in place of what was there. */
void progress_show(struct progress *p, const char *text);

void progress_clear(struct progress *p);

/* Columns of the terminal on fd; 0: it is none. */
unsigned terminal_width(int fd);

#endif
