#include "daemon/worker/desk.h"

#include <errno.h>
#include <sys/resource.h>
#include <utlist.h>

#include "common/fault.h"
#include "daemon/worker/desk_part.h"
#include "daemon/worker/settings.h"

/* Bytes of a body collected before they are written. */
#define COLLECT_MAX (128 * KIB)
#define COLLECT_MIN (16 * KIB)
#define COLLECT_ALL (64 * MIB) /* of all slots together */

/* Files in the publishing stage. Each has up to two descriptors, of all that the process may have.
 */
#define STAGE_MAX 1024u
#define STAGE_MIN 64u
#define STAGE_SHARE 4

/* Transfers given up take a while to end. */
#define ASIDES_PER_SLOT 4

/* ---- what the master says ---- */

int desk_job(struct desk *d, const struct wire_job *job) {
    struct task *t = NULL;

    fault_point(job_received);
    HASH_FIND(hh, d->tasks, &job->id, sizeof(job->id), t);
    if (t || HASH_COUNT(d->tasks) >= DESK_TASKS_MAX || job->host_bucket >= d->rates->n_buckets)
        return -EBADMSG;
    t = d->stopping ? NULL : task_new(job);
    if (t) {
        t->serial = ++d->serial;
        HASH_ADD(hh, d->tasks, job.id, sizeof(t->job.id), t);
        if (!t->hh.tbl)
            t = task_free(t);
    }
    if (!t) {
        report_untried(d, job);
        return 0;
    }
    beat_on(d->beat);
    queue_push(d->queue, t);
    desk_fill(d);
    return 0;
}

int desk_cancel(struct desk *d, int64_t id) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &id, sizeof(id), t);
    fault_point(cancel_received);
    /* Its result may have crossed the message. */
    if (t && t->parcel.work == PARCEL_KEEP && t->stage != TASK_HELD)
        t->outcome = OUTCOME_CANCELLED;
    else if (t && task_withdraw(d, t, false)) {
        task_report(d, t, OUTCOME_CANCELLED);
        desk_fill(d);
    }
    return 0;
}

int desk_discard(struct desk *d, const struct wire_discard *message) {
    struct task *t = NULL;

    fault_point(discard_received);
    HASH_FIND(hh, d->tasks, &message->id, sizeof(message->id), t);
    /* One that is on its way out, cancelled just before, sees to its part itself. */
    if (!t && path_is_safe(message->output))
        part_remove(d, message->id, message->output);
    link_send_discarded(d->link, message->id);
    beat_turned(d->board);
    fault_point(discard_done);
    return 0;
}

int desk_release(struct desk *d, int64_t id) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &id, sizeof(id), t);
    fault_point(release_received);
    if (t && task_withdraw(d, t, true)) {
        task_report(d, t, OUTCOME_RELEASED);
        desk_fill(d);
    }
    return 0;
}

int desk_rate(struct desk *d, const struct wire_rate *rate) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &rate->id, sizeof(rate->id), t);
    if (!t) /* its result has crossed the message */
        return 0;
    t->job.rate = rate->rate;
    if (t->stage == TASK_RUNNING)
        transfer_set_rate(d->slots[t->slot], rate->rate);
    return 0;
}

int desk_widened(struct desk *d, const struct wire_widened *widened) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &widened->id, sizeof(widened->id), t);
    /* Of slots that others wait for none is taken. */
    if (t && t->stage == TASK_RUNNING)
        transfer_widen(d->slots[t->slot], widened, d->n_free);
    return 0;
}

int desk_drain(struct desk *d) {
    struct task *t, *next;

    d->stopping = true;
    HASH_ITER(hh, d->tasks, t, next) {
        if (t->stage == TASK_WAITING && task_withdraw(d, t, true))
            task_report(d, t, OUTCOME_RELEASED);
    }
    desk_end_if_idle(d);
    return 0;
}

int desk_stop(struct desk *d) {
    struct task *t, *next;

    fault_point(stop_received);
    d->stopping = true;
    HASH_ITER(hh, d->tasks, t, next) {
        if (t->stage != TASK_HELD && task_withdraw(d, t, true))
            task_report(d, t, OUTCOME_RELEASED);
    }
    lines_hurry(session_lines(d->session));
    publisher_hurry(d->publisher);
    desk_end_if_idle(d);
    return 0;
}

/* ---- life ---- */

static unsigned stage_capacity(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return STAGE_MIN;
    return (unsigned)MAX(MIN(limit.rlim_cur / STAGE_SHARE, STAGE_MAX), STAGE_MIN);
}

static int setup_publisher(struct desk *d) {
    struct publisher_settings settings = {
        .mode = d->config.fsync,
        .interval_usec = d->config.sync_interval_usec,
        .capacity = stage_capacity(),
        .dirs = d->dirs,
        .on_done = on_published,
        .on_room = on_stage_room,
        .userdata = d,
    };

    return publisher_new(&d->publisher, d->event, &settings);
}

static int setup_slots(struct desk *d) {
    unsigned n = d->config.transfers;

    d->slots = calloc(n, sizeof(*d->slots));
    d->free_slots = calloc(n, sizeof(*d->free_slots));
    if (!d->slots || !d->free_slots)
        return -ENOMEM;
    while (d->n_free < n) {
        d->free_slots[d->n_free] = n - 1 - d->n_free;
        d->n_free++;
    }
    d->room.min_free = d->config.min_free_space;
    d->sink = (struct sink_settings){
        .room = &d->room,
        .dirs = d->dirs,
        .file_mode = d->config.file_mode,
        .store_id = d->config.store_id,
        .buffer = MAX(MIN(COLLECT_ALL / n, COLLECT_MAX), COLLECT_MIN),
        .unnamed = d->config.fsync == FSYNC_NEVER,
    };
    d->transfer = (struct transfer_settings){
        .session = d->session,
        .asides = d->asides,
        .config = &d->config,
        .sink = &d->sink,
        .restarted = on_restarted,
        .save = on_save,
        .widen = on_widen,
        .userdata = d,
        .gate = &d->gate,
        .rates = d->rates,
        .throttle = d->throttle,
        .board = d->board,
    };
    return 0;
}

static bool has_tasks(void *userdata) {
    const struct desk *d = userdata;

    return d->tasks != NULL;
}

static int desk_setup(struct desk *d, int root_fd) {
    int r;

    r = gate_init(&d->gate, &d->config);
    if (r == 0)
        r = dirs_new(&d->dirs, root_fd, d->config.dir_mode);
    if (r == 0)
        r = queue_new(&d->queue, d->event, on_expired, d);
    if (r == 0)
        r = session_new(&d->session, d->event, d->config.transfers, on_transfer_ended,
                        on_verdict, d);
    if (r == 0)
        r = asides_new(&d->asides, d->event, d->config.transfers * ASIDES_PER_SLOT,
                       on_transfer_ended, d);
    if (r == 0)
        r = throttle_new(&d->throttle, d->event, transfer_go_on);
    if (r == 0)
        r = setup_slots(d);
    if (r == 0)
        r = setup_publisher(d);
    if (r == 0)
        r = beat_new(&d->beat, d->event, d->board, has_tasks, d);
    if (r == 0)
        session_set_board(d->session, d->board);
    return r;
}

int desk_new(struct desk **ret, sd_event *event, struct link *link, struct scoreboard *board,
             const struct ratelimit *rates, int root_fd, const struct wire_config *config) {
    struct desk *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return -ENOMEM;
    d->event = event;
    d->link = link;
    d->board = board;
    d->rates = rates;
    r = settings_copy(config, &d->config);
    if (r == 0)
        r = desk_setup(d, root_fd);
    if (r < 0) {
        desk_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

struct desk *desk_free(struct desk *d) {
    struct saving *s, *next_saving;
    struct task *t, *next;

    if (!d)
        return NULL;
    publisher_free(d->publisher);
    HASH_ITER(hh, d->tasks, t, next) {
        task_withdraw(d, t, false);
        HASH_DEL(d->tasks, t);
        task_free(t);
    }
    for (unsigned i = 0; d->slots && i < d->config.transfers; i++)
        transfer_free(d->slots[i]);
    DL_FOREACH_SAFE(d->savings, s, next_saving) {
        parcel_done(&s->parcel);
        free(s);
    }
    beat_free(d->beat);
    asides_free(d->asides);
    throttle_free(d->throttle);
    session_free(d->session);
    queue_free(d->queue);
    dirs_free(d->dirs);
    free(d->slots);
    free(d->free_slots);
    settings_done(&d->config);
    free(d);
    return NULL;
}
