/*
 * scoreboard.h - shared memory in which a worker shows its progress, so that it costs no messages.
 *
 * One memfd for each worker, a row for each transfer slot. The worker writes, the master reads;
 * each field is atomic by itself, rows are not, and the master trusts none of it: it is for showing
 * only.
 */
#ifndef DLD_SCOREBOARD_H
#define DLD_SCOREBOARD_H

#include <stdatomic.h>
#include <stdint.h>

struct scoreboard_row {
    _Atomic int64_t job;        /* 0: the slot is free */
    _Atomic uint64_t bytes;     /* of body received in this attempt */
    _Atomic int64_t total;      /* announced, -1 unknown */
    _Atomic uint64_t speed;     /* bytes a second, lately */
    _Atomic uint64_t heartbeat; /* CLOCK_MONOTONIC usec of the last byte or change */
};

struct scoreboard {
    uint32_t n_rows;
    uint32_t reserved;
    _Atomic uint64_t heartbeat; /* CLOCK_MONOTONIC usec: the worker's loop turned; moves while it has
                                   jobs, several times a second */
    _Atomic int64_t at;         /* the job that the loop is at, 0: none */
    struct scoreboard_row rows[];
};

#define SCOREBOARD_MAX_ROWS 4096

/* Master: makes a sealed memfd for n_rows and maps it. 0 or a negative errno. */
int scoreboard_create(uint32_t n_rows, struct scoreboard **ret, int *ret_fd);

/* Worker: maps what it inherited; n_rows must be what the memory holds, else -EBADMSG. */
int scoreboard_map(int fd, uint32_t n_rows, struct scoreboard **ret);

/* Takes NULL, returns NULL. n_rows as given when made or mapped. */
struct scoreboard *scoreboard_unmap(struct scoreboard *s, uint32_t n_rows);

#endif
