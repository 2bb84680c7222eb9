/*
 * pool_voice.h - what a worker says on stderr: passed on to the log line by line, and its last
 * words remembered. Private to pool*.c.
 *
 * A worker that writes faster than it can be read loses lines and never waits; one that writes
 * without end is heard no more for a while.
 */
#ifndef DLD_POOL_VOICE_H
#define DLD_POOL_VOICE_H

#include <stddef.h>
#include <systemd/sd-event.h>

#define VOICE_LINE_MAX 1000
#define VOICE_LAST_MAX 400

struct voice {
    int fd; /* -1: none */
    unsigned worker;
    sd_event_source *io;
    size_t n; /* of line */
    char line[VOICE_LINE_MAX + 1];
    char last[VOICE_LAST_MAX + 1]; /* lines, the newest last, with " | " between them */
    uint64_t since;                /* CLOCK_MONOTONIC usec */
    unsigned n_lines;              /* since then */
};

/* Makes *v that of a worker to be started, whose stderr is to be *ret_theirs. 0 or a negative
 * errno. */
int voice_open(struct voice *v, sd_event *event, unsigned worker, int *ret_theirs);

/* Hears what it said before it died. */
void voice_finish(struct voice *v);

/* Forgets all; for one that is not open too. */
void voice_close(struct voice *v);

#endif
