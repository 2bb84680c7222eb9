/*
 * dlctl.h - what the verbs share: the global options, the table of verbs.
 *
 * A verb takes the words after its name, talks to the daemon, writes its results on stdout and its
 * complaints on stderr, and returns the program's exit status (common/exitcode.h).
 */
#ifndef DLD_CLIENT_DLCTL_H
#define DLD_CLIENT_DLCTL_H

#include <stdbool.h>

/* Exit statuses as a shell would give them to what these signals end. */
#define DLCTL_INTERRUPTED 130
#define DLCTL_BROKEN_PIPE 141

#define DLCTL_MAX_IDS 10000 /* that one request may name */

struct dlctl {
    char *socket; /* path; owned. NULL until the options are read */
    bool json;    /* results as JSON, one document a line */
};

int verb_submit(struct dlctl *c, int argc, char **argv);
int verb_list(struct dlctl *c, int argc, char **argv);
int verb_show(struct dlctl *c, int argc, char **argv);
int verb_wait(struct dlctl *c, int argc, char **argv);
int verb_status(struct dlctl *c, int argc, char **argv);
int verb_hosts(struct dlctl *c, int argc, char **argv);
int verb_cancel(struct dlctl *c, int argc, char **argv);
int verb_pause(struct dlctl *c, int argc, char **argv);
int verb_resume(struct dlctl *c, int argc, char **argv);
int verb_retry(struct dlctl *c, int argc, char **argv);
int verb_set(struct dlctl *c, int argc, char **argv);
int verb_purge(struct dlctl *c, int argc, char **argv);
int verb_drain(struct dlctl *c, int argc, char **argv);
int verb_backup(struct dlctl *c, int argc, char **argv);
int verb_reload(struct dlctl *c, int argc, char **argv);

#endif
