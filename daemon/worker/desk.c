#include "daemon/worker/desk.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "common/exitcode.h"
#include "common/log.h"
#include "daemon/worker/dirs.h"
#include "daemon/worker/publish.h"
#include "daemon/worker/queue.h"
#include "daemon/worker/session.h"
#include "daemon/worker/settings.h"
#include "daemon/worker/target.h"
#include "daemon/worker/task.h"
#include "daemon/worker/throttle.h"
#include "daemon/worker/transfer.h"

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

/* Bytes of a transfer under way that are being made durable. */
struct saving {
    struct parcel parcel;
    int64_t job;
    uint64_t serial; /* of the task */
    struct wire_kept kept; /* its strings are the task's */
    struct saving *prev, *next;
};

struct desk {
    sd_event *event;
    struct link *link;
    struct scoreboard *board;
    const struct ratelimit *rates;
    struct wire_config config;

    struct dirs *dirs;
    struct session *session;
    struct asides *asides;
    struct publisher *publisher;
    struct throttle *throttle;
    struct room room;
    struct sink_settings sink;
    struct gate gate;
    struct transfer_settings transfer;

    struct transfer **slots; /* a transfer is made when its slot is first used */
    unsigned *free_slots;    /* the one used last on top: what it needs is still in the caches */
    unsigned n_free;

    struct task *tasks; /* by id */
    struct queue *queue;
    struct task *blocked; /* complete, without room in the publishing stage */
    struct saving *savings;
    uint64_t serial;      /* of the last task */
    bool stopping;
};

/* ---- ends ---- */

static void part_remove(struct desk *d, int64_t job, const char *output) {
    char part[PART_NAME_MAX];
    struct dir *dir = NULL;

    if (dirs_open(d->dirs, output, path_dir_len(output), false, &dir) < 0)
        return;
    part_name(part, job);
    unlinkat(dir->fd, part, 0);
    dir_unref(dir);
}

/* The job has ended and nobody will go on with what is left of an earlier attempt. */
static void part_forget(struct desk *d, struct task *t) {
    if (t->job.kept.offset == 0 && t->kept.offset == 0 && !t->job.maybe_published)
        return;
    t->kept.offset = 0;
    if (path_is_safe(t->job.output))
        part_remove(d, t->job.id, t->job.output);
}

/* The job's last word. Slot and file must be given up already. */
static void task_report(struct desk *d, struct task *t, enum wire_outcome outcome) {
    char path[OUTPUT_MAX_BYTES + 1];
    struct wire_result result;

    if (outcome == OUTCOME_CANCELLED || outcome == OUTCOME_DONE ||
        (outcome == OUTCOME_FAILED && !t->failure.transient))
        part_forget(d, t);
    if (outcome == OUTCOME_DONE)
        target_path(t, path);
    task_result(t, outcome, path, &result);
    link_send_result(d->link, &result);
    HASH_DEL(d->tasks, t);
    task_free(t);
}

static void task_report_ended(struct desk *d, struct task *t) {
    task_report(d, t, t->failure.error == ERR_NONE ? OUTCOME_DONE : OUTCOME_FAILED);
}

/* A job that is not taken in hand at all. */
static void report_untried(struct desk *d, const struct wire_job *job) {
    struct wire_result result = {
        .id = job->id, .outcome = OUTCOME_RELEASED, .size = -1, .kept = job->kept};

    link_send_result(d->link, &result);
}

static void slot_release(struct desk *d, unsigned slot) {
    if (slot == TASK_NO_SLOT)
        return;
    transfer_release(d->slots[slot]);
    d->free_slots[d->n_free++] = slot;
}

static void task_requeue(struct desk *d, struct task *t) {
    task_reset(t);
    if (d->stopping) {
        task_report(d, t, OUTCOME_RELEASED);
        return;
    }
    t->stage = TASK_WAITING;
    t->arrived_usec = now_usec(CLOCK_MONOTONIC);
    queue_push(d->queue, t);
}

/* The file that an earlier attempt published is no longer what it was: it is left to whom it belongs
 * now, and the job is done like any other. */
static void task_again(struct desk *d, struct task *t) {
    parcel_done(&t->parcel);
    t->found_own = t->job.maybe_published = false;
    task_requeue(d, t);
}

/* What came may be the answer to another request. Nobody outside need know. */
static void task_redo(struct desk *d, struct task *t) {
    t->alone = true;
    task_requeue(d, t);
}

/* The slot is free, and the RESULT will take a while. */
static void task_tell_fetched(struct desk *d, struct task *t) {
    if (!t->fetched)
        link_send_fetched(d->link, t->job.id);
    t->fetched = true;
}

/* Without syncing there is nothing to wait for, unless the file has to be read. */
static bool needs_stage(const struct desk *d, const struct task *t) {
    return d->config.fsync != FSYNC_NEVER || t->parcel.unread;
}

/* The parcel has been through the publisher, or through parcel_place(). */
static void task_published(struct desk *d, struct task *t) {
    struct parcel *p = &t->parcel;

    if (p->work == PARCEL_KEEP) {
        if (p->error < 0) {
            t->kept.offset = 0;
            parcel_discard(p);
        }
        task_report(d, t, t->outcome);
        return;
    }
    if (p->work == PARCEL_CHECK && p->error < 0) {
        task_again(d, t);
        return;
    }
    if (p->sums.kinds & DIGEST_BIT(t->integrity.reported) && !p->skipped)
        digest_text(&p->sums, t->integrity.reported, t->digest);
    /* Put together from parts it may be wrong though no part is: the next attempt fetches it whole. */
    if (p->error == -EBADMSG)
        t->failure.transient = true;
    if (p->error < 0)
        failure_set_output(&t->failure, p->error, t->job.output);
    if (p->skipped)
        t->size = -1; /* of the file that was there */
    t->skipped = p->skipped;
    task_report_ended(d, t);
}

/* ---- what is kept of files that are not complete ---- */

/* The transfer is over for now, and the parcel is what came of it. */
static void task_keep(struct desk *d, struct task *t, enum wire_outcome outcome) {
    slot_release(d, t->slot);
    t->outcome = (uint8_t)outcome;
    t->stage = TASK_PUBLISHING;
    if (d->config.fsync == FSYNC_NEVER) {
        task_published(d, t);
        return;
    }
    task_tell_fetched(d, t);
    publisher_put(d->publisher, &t->parcel);
}

static void send_kept(struct desk *d, const struct task *t, const struct wire_kept *kept) {
    struct wire_checkpoint checkpoint = {.id = t->job.id, .kept = *kept};

    link_send_checkpoint(d->link, &checkpoint);
}

static void on_restarted(void *userdata, struct task *t) {
    send_kept(userdata, t, &t->kept);
}

static void saving_done(struct desk *d, struct saving *s) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &s->job, sizeof(s->job), t);
    if (t && t->serial == s->serial && t->stage == TASK_RUNNING) {
        transfer_saved(d->slots[t->slot], s->parcel.error < 0 ? 0 : s->kept.offset);
        if (s->parcel.error == 0)
            send_kept(d, t, &s->kept);
    }
    DL_DELETE(d->savings, s);
    parcel_done(&s->parcel);
    free(s);
}

/* Without memory, descriptors or room for it the next time has to do. */
static void on_save(void *userdata, struct task *t) {
    struct desk *d = userdata;
    struct saving *s;

    if (!publisher_has_room(d->publisher))
        return;
    s = calloc(1, sizeof(*s));
    if (!s || transfer_save(d->slots[t->slot], &s->parcel, &s->kept) < 0) {
        free(s);
        return;
    }
    s->job = t->job.id;
    s->serial = t->serial;
    DL_APPEND(d->savings, s);
    if (d->config.fsync == FSYNC_NEVER)
        saving_done(d, s);
    else
        publisher_put(d->publisher, &s->parcel);
}

/* ---- stages ---- */

static void task_publish(struct desk *d, struct task *t) {
    slot_release(d, t->slot);
    if (!needs_stage(d, t)) {
        parcel_place(&t->parcel);
        task_published(d, t);
        return;
    }
    t->stage = TASK_PUBLISHING;
    task_tell_fetched(d, t);
    publisher_put(d->publisher, &t->parcel);
}

static struct transfer *slot_transfer(struct desk *d, unsigned slot) {
    if (!d->slots[slot])
        d->slots[slot] = transfer_new(&d->transfer, &d->board->rows[slot]);
    return d->slots[slot];
}

static void task_start(struct desk *d, struct task *t) {
    unsigned slot = d->free_slots[d->n_free - 1];
    struct transfer *transfer;

    t->started_usec = now_usec(CLOCK_REALTIME);
    integrity_begin(&t->integrity, t->job.checksum, d->config.digest);
    if (target_settled(d->dirs, d->config.store_id, t)) {
        if (t->parcel.work == PARCEL_CHECK && needs_stage(d, t)) {
            t->stage = TASK_PUBLISHING;
            publisher_put(d->publisher, &t->parcel);
            return;
        }
        task_report_ended(d, t);
        return;
    }
    transfer = slot_transfer(d, slot);
    if (!transfer)
        failure_set(&t->failure, ERR_INTERNAL, "out of memory");
    if (!transfer || !transfer_start(transfer, t)) {
        task_report_ended(d, t);
        return;
    }
    d->n_free--;
    t->slot = slot;
    t->stage = TASK_RUNNING;
}

static void desk_fill(struct desk *d) {
    struct task *t;

    while (d->n_free > 0 && (t = queue_pop(d->queue)))
        task_start(d, t);
}

/* A transfer has ended, and its word counts. */
static void task_fetched(struct desk *d, struct task *t) {
    if (t->parcel.work == PARCEL_KEEP) {
        task_keep(d, t, OUTCOME_FAILED);
    } else if (t->failure.error != ERR_NONE || t->not_modified) {
        slot_release(d, t->slot);
        task_report_ended(d, t);
    } else if (!needs_stage(d, t) || publisher_has_room(d->publisher)) {
        task_publish(d, t);
    } else {
        t->stage = TASK_BLOCKED;
        DL_APPEND(d->blocked, t);
    }
}

static void on_transfer_ended(void *userdata, CURL *easy, CURLcode code) {
    struct desk *d = userdata;
    struct transfer *transfer = transfer_of(easy);
    struct task *t = transfer_task(transfer);

    transfer_finish(transfer, code);
    switch (transfer_trust(transfer, code)) {
    case TRANSFER_TRUSTED:
        task_fetched(d, t);
        break;
    case TRANSFER_HELD:
        slot_release(d, t->slot);
        t->slot = TASK_NO_SLOT;
        t->stage = TASK_HELD;
        task_tell_fetched(d, t);
        break;
    case TRANSFER_WRONG:
        slot_release(d, t->slot);
        task_redo(d, t);
        break;
    }
    desk_fill(d);
}

static void desk_end_if_idle(struct desk *d) {
    if (d->stopping && !d->tasks)
        sd_event_exit(d->event, WORKER_OK);
}

static void on_verdict(void *userdata, struct line_item *item, enum line_verdict verdict) {
    struct desk *d = userdata;
    struct task *t = ((struct task_hold *)item)->task;

    if (verdict == LINE_UNCLEAR && t->stage == TASK_HELD && t->failure.transient)
        verdict = LINE_RIGHT; /* another attempt follows anyway */
    t->misled |= verdict != LINE_RIGHT;
    if (t->stage != TASK_HELD)
        return; /* a redirect's; it counts when the transfer has ended */
    if (t->misled)
        task_redo(d, t);
    else if (t->holds[0].item.line || t->holds[1].item.line)
        return;
    else
        task_fetched(d, t);
    desk_fill(d);
    desk_end_if_idle(d);
}

static void on_published(void *userdata, struct parcel *p) {
    if (p->work == PARCEL_SAVE) {
        saving_done(userdata, (struct saving *)((char *)p - offsetof(struct saving, parcel)));
        return;
    }
    task_published(userdata, (struct task *)((char *)p - offsetof(struct task, parcel)));
}

static void on_stage_room(void *userdata) {
    struct desk *d = userdata;

    while (d->blocked && publisher_has_room(d->publisher)) {
        struct task *t = d->blocked;

        DL_DELETE(d->blocked, t);
        task_publish(d, t);
    }
    desk_fill(d);
    desk_end_if_idle(d);
}

static void on_expired(void *userdata, struct task *t) {
    task_report(userdata, t, OUTCOME_RELEASED);
}

/* ---- what the master says ---- */

int desk_job(struct desk *d, const struct wire_job *job) {
    struct task *t = NULL;

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
    queue_push(d->queue, t);
    desk_fill(d);
    return 0;
}

/* Takes the job out of wherever it is; false: it is being published, and what comes of that counts;
 * or what came of it is being kept, and it is reported as RELEASED then. */
static bool task_withdraw(struct desk *d, struct task *t, bool keep) {
    switch (t->stage) {
    case TASK_WAITING:
        queue_remove(d->queue, t);
        return true;
    case TASK_RUNNING:
        transfer_abort(d->slots[t->slot], keep);
        if (t->parcel.work == PARCEL_KEEP) {
            task_keep(d, t, OUTCOME_RELEASED);
            return false;
        }
        slot_release(d, t->slot);
        return true;
    case TASK_HELD:
        if (t->parcel.fd >= 0)
            parcel_discard(&t->parcel);
        return true;
    case TASK_BLOCKED:
        DL_DELETE(d->blocked, t);
        parcel_discard(&t->parcel);
        slot_release(d, t->slot);
        return true;
    case TASK_PUBLISHING:
        break;
    }
    return false;
}

int desk_cancel(struct desk *d, int64_t id) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &id, sizeof(id), t);
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

    HASH_FIND(hh, d->tasks, &message->id, sizeof(message->id), t);
    /* One that is on its way out, cancelled just before, sees to its part itself. */
    if (!t && path_is_safe(message->output))
        part_remove(d, message->id, message->output);
    link_send_discarded(d->link, message->id);
    return 0;
}

int desk_release(struct desk *d, int64_t id) {
    struct task *t = NULL;

    HASH_FIND(hh, d->tasks, &id, sizeof(id), t);
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

int desk_stop(struct desk *d) {
    struct task *t, *next;

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
    };
    d->transfer = (struct transfer_settings){
        .session = d->session,
        .asides = d->asides,
        .config = &d->config,
        .sink = &d->sink,
        .restarted = on_restarted,
        .save = on_save,
        .userdata = d,
        .gate = &d->gate,
        .rates = d->rates,
        .throttle = d->throttle,
    };
    return 0;
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
        session_set_heartbeat(d->session, &d->board->heartbeat);
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
