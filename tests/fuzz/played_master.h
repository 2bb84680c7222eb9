/*
 * played_master.h - a store, a dispatcher and workers for the methods of the control socket: they
 * answer at once, and always the same.
 *
 * The store has one batch, 17, of the jobs 41 and 42, one done and one queued, and what was last
 * submitted. Its answers come out of played_answer(), as the real one's come out of the loop. What
 * it is given has to be as store.h says.
 */
#ifndef DLD_FUZZ_PLAYED_MASTER_H
#define DLD_FUZZ_PLAYED_MASTER_H

#include <stdbool.h>

/* Runs the callback of the oldest request; false: there is none. */
bool played_answer(void);

/* The store is as at first. */
void played_forget(void);

#endif
