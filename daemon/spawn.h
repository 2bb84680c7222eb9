/*
 * spawn.h - starts worker processes.
 */
#ifndef DLD_SPAWN_H
#define DLD_SPAWN_H

#include <sys/types.h>

/* The path of the program `dld-worker`: beside this program, or in ../libexec/dld/ from there. 0
 * and a new string, or -ENOENT. */
int spawn_find_worker(char **ret);

/* Executes path with fds[i] as descriptor WORKER_FD_CHANNEL + i (n of them; -1 leaves one closed),
 * stdin from /dev/null, stderr_fd as stderr, the signal mask empty, all signals at their defaults,
 * in a process group of its own (so that Ctrl-C in a terminal stops the master alone, which then
 * stops its workers). 0 and the child's pid, or a negative errno. The caller keeps its descriptors.
 */
int spawn_worker(const char *path, const int *fds, int n, int stderr_fd, pid_t *ret);

#endif
