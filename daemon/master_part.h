/*
 * master_part.h - what the files of the master share: master.c, which puts the parts together, and
 * master_reload.c, which gives them another configuration. Private to them.
 */
#ifndef DLD_MASTER_PART_H
#define DLD_MASTER_PART_H

#include <sys/stat.h>

#include "daemon/control.h"
#include "daemon/dispatch.h"
#include "daemon/master.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/rates.h"
#include "daemon/state_dir.h"
#include "daemon/store.h"
#include "daemon/watch.h"

struct master {
    struct config *config; /* what is in force */
    int argc;              /* the command line, for reading it again */
    char **argv;
    sd_event *event;
    struct state_lock lock;
    int root_fd;
    struct store *store;
    struct dispatch *dispatch;
    struct pool *pool;
    struct rates *rates;
    struct watches *watches;
    struct control *control;
    struct methods methods;
    struct stat socket; /* what is this process's to remove at the path; st_ino 0: nothing */
    bool ready;         /* the workers are */
    bool failed;
    unsigned stop_signals;
    uint64_t drain_deadline;
    sd_event_source *status; /* timer: tell the service manager */
    sd_event_source *watchdog;
};

/* What the parts are to be told, as the configuration in force says. Strings are views into it. */
void master_pool_settings(const struct master *m, struct pool_settings *ret);
void master_policy(const struct config *c, struct attempt_policy *ret);
void master_access(const struct config *c, struct access_settings *ret);

/* Makes and opens the output root; logs what is wrong. 0 or a negative errno. */
int master_open_root(const struct config *c, int *ret);

/* Reads the configuration again and puts it in force. Logged, and told to the service manager. 0;
 * -EINVAL: it has errors, or the output root can't be opened; -EBUSY: dld is not ready yet, or
 * stopping; -ENOMEM. After an error all is as it was. An output root that was removed, or has
 * another file system on it, is opened again. For struct methods; userdata is the struct master. */
int master_reload(void *userdata, struct reload *ret);

/* Likewise, without anyone to tell. */
int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata);

#endif
