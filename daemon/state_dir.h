/*
 * state_dir.h - the directories that the daemon needs, and the locks that say whose they are.
 */
#ifndef DLD_STATE_DIR_H
#define DLD_STATE_DIR_H

/* Makes the directory and those above it that are missing. 0 or a negative errno. */
int make_directories(const char *path, unsigned mode);

/* Both are advisory (flock) and last as long as the descriptor, or a copy of it, is open. */
struct state_lock {
    int master;  /* this process's alone */
    int workers; /* inherited by every worker: free only when all of them are gone */
};

/* Locks state_dir for this daemon. Workers whose master died end at once, but not in no time: they
 * are waited for, so that no file is ever written by an old and a new worker. 0; -EBUSY where
 * another daemon lives, with its pid in the log; or another negative errno. All errors are logged.
 */
int state_dir_lock(const char *state_dir, struct state_lock *ret);
void state_dir_unlock(struct state_lock *lock);

#endif
