/*
 * dlctl - tells dld what to download, and how it went.
 *
 * The files of the client, from the top down:
 *
 *   main.c      global options, the table of verbs
 *   submit.c    submit: job files and URLs into one batch
 *   list.c      list
 *   show.c      show
 *   wait.c      wait
 *   status.c    status
 *   hosts.c     hosts
 *   change.c    cancel, pause, resume, retry
 *   set.c       set
 *   purge.c     purge
 *   drain.c     drain
 *   backup.c    backup
 *   reload.c    reload
 *   upload.c    a batch in chunks, pipelined, sent again when the connection breaks
 *   waiter.c    prints each job once as it ends, then the sum
 *   ended.c     such a job, read from its notification
 *   connect.c   which daemon, and a request with its answer
 *   rpc.c       the connection: JSON-RPC requests, answers, notifications
 *   jobfile.c   a job file of any size into the text of its jobs; jobfile_text.c: its values
 *   idset.c     a set of numbers at about a bit each
 *   options.c   the command line, by tables that also print the help
 *   progress.c  the live line on a terminal
 *   table.c     jobs as lines for people
 *   print.c     stdout and stderr
 *   format.c    bytes, durations, times, printable text
 *
 * Each calls only what stands below it (and common/).
 */
#include "client/dlctl.h"

#include <signal.h>
#include <stdio.h>

#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"
#include "common/util.h"

struct verb {
    const char *name;
    int (*run)(struct dlctl *c, int argc, char **argv);
    const char *help;
};

static const struct verb verbs[] = {
    {"submit", verb_submit, "give jobs to the daemon: job files, URLs"},
    {"list", verb_list, "list jobs"},
    {"show", verb_show, "show all that is known of a job"},
    {"wait", verb_wait, "wait until jobs have ended"},
    {"status", verb_status, "how the daemon and its workers are doing"},
    {"hosts", verb_hosts, "list the hosts that jobs are for, and how they are doing"},
    {"cancel", verb_cancel, "cancel jobs"},
    {"pause", verb_pause, "pause jobs"},
    {"resume", verb_resume, "let paused jobs go on"},
    {"retry", verb_retry, "queue jobs again that failed or were cancelled"},
    {"set", verb_set, "change limits on speed, and priorities"},
    {"purge", verb_purge, "forget jobs that have ended"},
    {"drain", verb_drain, "start nothing new"},
    {"backup", verb_backup, "copy the queue into a file"},
    {"reload", verb_reload, "read the configuration again"},
};

static void print_help(void) {
    printf("Usage: dlctl [OPTION]... VERB [WORD]...\n\n"
           "Tells dld, the download service, what to download, and how it went.\n\nVerbs:\n");
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
        printf("  %-22s %s\n", verbs[i].name, verbs[i].help);
    printf("\nOptions, before or after the verb:\n");
    options_print_global();
    printf("\nExit status: 0 all well, 1 a job failed or was cancelled, 2 the command line or a\n"
           "job file is wrong, 3 the daemon cannot be reached. dlctl VERB --help tells more.\n");
}

static const struct verb *find_verb(const char *name) {
    const char *names[ELEMENTSOF(verbs) + 1] = {NULL};
    const char *near;

    for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
        if (streq(verbs[i].name, name))
            return verbs + i;
        names[i] = verbs[i].name;
    }
    near = nearest(name, names);
    if (near)
        complain("unknown verb '%s'; did you mean %s?", name, near);
    else
        complain("unknown verb '%s'; see dlctl --help", name);
    return NULL;
}

static int run(struct dlctl *c, int argc, char **argv) {
    const char *asked = NULL;
    const struct verb *verb;
    int n = options_parse_global(c, argc, argv, &asked);

    if (n < 0)
        return DLCTL_USAGE;
    if (asked && streq(asked, "--version")) {
        printf("dlctl %s\n", DLD_VERSION);
        return DLCTL_OK;
    }
    if (asked) {
        print_help();
        return DLCTL_OK;
    }
    if (n == argc) {
        complain("no verb was given; see dlctl --help");
        return DLCTL_USAGE;
    }
    verb = find_verb(argv[n]);
    return verb ? verb->run(c, argc - n - 1, argv + n + 1) : DLCTL_USAGE;
}

int main(int argc, char **argv) {
    struct dlctl c = {0};
    int status;

    standard_fds_hold();
    /* a reader of stdout that goes away is told by write(), see print_flush() */
    signal(SIGPIPE, SIG_IGN);
    status = run(&c, MAX(argc - 1, 0), argv + MIN(argc, 1));
    print_flush();
    free(c.socket);
    return status;
}
