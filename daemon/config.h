/*
 * config.h - what dld can be told: one table of keys, read from dld.conf, DLD_* and the command
 * line.
 *
 * Later sources beat earlier ones: defaults, the configuration file, FILE.d/ (dld.conf.d/) *.conf
 * in order of name, the environment (DLD_<SECTION>_<KEY>, as DLD_RETRY_BASE; DLD_SOCKET;
 * DLD_STATE_DIR; DLD_CONFIG), the command line (--set section.key=value).
 */
#ifndef DLD_CONFIG_H
#define DLD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/timetable.h"

/* Which ended jobs are kept: those that are not older, and not more of them. */
struct config_keep {
    uint64_t age;   /* usec, 0: of any age */
    uint64_t count; /* 0: any number */
};

/* How a host is treated. */
struct config_host {
    unsigned connections; /* at once */
    uint64_t delay;       /* usec between the starts of two transfers */
    uint64_t rate;        /* bytes a second, 0: no limit */
};

/* A section [host "PATTERN"]: what is given in it beats [host]. */
struct config_host_rule {
    char *pattern;
    unsigned given; /* HOST_GIVEN_... */
    struct config_host values;
};
enum config_host_given {
    HOST_GIVEN_CONNECTIONS = 1,
    HOST_GIVEN_DELAY = 2,
    HOST_GIVEN_RATE = 4,
};

/* A section [rate "NAME"]. */
struct config_window {
    struct rate_window window;
    unsigned given;
    char *place; /* "FILE:LINE" where it begins */
};

/* What dld is started for. */
enum config_task {
    CONFIG_SERVE,
    CONFIG_CHECK_QUEUE,
    CONFIG_RECOVER,
};

struct config {
    enum config_task task;
    char *socket_path; /* --socket, DLD_SOCKET */
    char *state_dir;   /* --state-dir, DLD_STATE_DIR, $STATE_DIRECTORY of systemd */
    struct {
        unsigned workers;    /* processes; 0 in a file is one per core, and never 0 here */
        uint64_t stop_grace; /* usec */
        unsigned crash_limit;
    } master;
    struct {
        unsigned transfers; /* slots in each */
        unsigned max_jobs;  /* 0: any number */
        uint64_t max_rss;   /* bytes, 0: any */
        uint64_t hang_time; /* usec */
    } worker;
    struct {
        char *root;
        unsigned mode, dir_mode; /* permission bits */
    } output;
    struct {
        unsigned fsync;         /* enum fsync_mode */
        uint64_t sync_interval; /* usec, as all times here */
        uint64_t min_free_space; /* bytes */
        uint64_t connect_timeout;
        uint64_t low_speed_limit; /* bytes a second */
        uint64_t low_speed_time;
        unsigned max_redirects;
        unsigned digest; /* the one of config_digest_name() */
        uint64_t segment_min;
        unsigned connections; /* for a file of that size */
        char *known_hosts; /* the file of host keys */
        char *ca_file; /* "": the certificates that the system trusts */
    } transfer;
    struct {
        unsigned count;
        uint64_t base, max;
    } retry;
    struct config_host host;
    struct config_host_rule *host_rules; /* in the order of the files */
    size_t n_host_rules;
    struct {
        uint64_t limit; /* bytes a second of all transfers together, 0: none */
    } rate;
    struct config_window *windows; /* likewise */
    size_t n_windows;
    struct {
        char *deny, *allow; /* networks with blanks between them */
        char *schemes;      /* with blanks between them */
        char *proxy;        /* URL, "": none */
        char *proxy_auth;   /* the name of a credential, "": none */
    } network;
    struct {
        char *dir; /* NULL: none is known, without a home directory */
    } credentials;
    struct {
        unsigned jobs; /* 0: any number */
    } quota;
    struct {
        struct config_keep keep;
    } history;
    struct {
        unsigned mode;     /* of the socket */
        char *group;       /* of the socket, "" for the process's own */
        uint64_t max_line; /* bytes of one request */
    } control;
    struct {
        int level; /* syslog priority */
    } log;
};

/* Fills *ret from defaults, files, environment and argv. --help, --version, --print-config and
 * --check-config are done here. Returns 1: go on; 0: done, exit with 0; -EINVAL: something is
 * wrong, and all that is (up to 20 errors) is on err, each a sentence with the place (file:line,
 * variable or option), the key and what is allowed. All paths in *ret are absolute; nothing is made
 * or opened there, except that ca_file is looked into. To be used
 * by one thread at a time. */
int config_load(struct config *ret, int argc, char **argv, FILE *out, FILE *err);
void config_done(struct config *c);

/* What holds for a host ("name:port"): [host], and the last section [host "PATTERN"] that is for
 * it. Patterns are compared without case, '*' and '?' as in a shell; one with a port is for that
 * port alone. */
void config_host(const struct config *c, const char *host, struct config_host *ret);

/* The documented default file. */
void config_print(FILE *out);

#endif
