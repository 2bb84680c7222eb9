#include "daemon/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/log.h"
#include "daemon/state_dir.h"
#include "daemon/store_repair.h"

static void log_recovered(const struct store_recovered *v) {
    const uint64_t *n = v->counts;

    log_notice("recovered %" PRIu64 " jobs (%" PRIu64 " queued, %" PRIu64 " waiting, %" PRIu64
               " paused, %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " cancelled);"
               " batches: %" PRIu64,
               v->jobs, n[JOB_QUEUED], n[JOB_WAITING], n[JOB_PAUSED], n[JOB_DONE], n[JOB_FAILED],
               n[JOB_CANCELLED], v->batches);
    if (!v->lost_known)
        log_warning("how many were lost can't be told: the numbers of the old queue are lost, too");
    else if (v->lost > 0)
        log_warning("jobs lost, by the numbers of the old queue: %" PRIu64, v->lost);
    else
        log_notice("lost no job, by the numbers of the old queue");
    if (v->unreadable + v->pieced > 0)
        log_warning("pages or rows that made no sense: %" PRIu64
                    "; batches of which only jobs were found: %" PRIu64,
                    v->unreadable, v->pieced);
    log_notice("the damaged queue is kept as %s; start dld", v->kept);
}

static int check(const char *dir) {
    _cleanup_free_ char *why = NULL;
    int r = store_check(dir, &why);

    if (r < 0)
        log_error("%s", why ? why : strerror(-r));
    else
        log_notice("the queue in %s is sound", dir);
    return r;
}

static int recover(const char *dir) {
    _cleanup_free_ char *found = NULL, *why = NULL;
    struct store_recovered recovered;
    int r = store_check(dir, &found);

    if (r == 0)
        log_notice("the queue in %s is sound: there is nothing to recover", dir);
    else if (r != -EUCLEAN)
        log_error("%s", found ? found : strerror(-r));
    if (r != -EUCLEAN)
        return r;
    log_notice("%s", found ? found : strerror(-r));
    r = store_recover(dir, &recovered, &why);
    if (r < 0)
        log_error("%s", why ? why : strerror(-r));
    else
        log_recovered(&recovered);
    return r;
}

int repair_run(const struct config *config) {
    struct state_lock lock;
    int r = state_dir_lock(config->state_dir, &lock);

    if (r < 0)
        return r;
    r = config->task == CONFIG_RECOVER ? recover(config->state_dir) : check(config->state_dir);
    state_dir_unlock(&lock);
    return r;
}
