#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/exitcode.h"
#include "common/fault.h"
#include "daemon/worker/desk_part.h"
#include "daemon/worker/target.h"

/* ---- ends ---- */

void part_remove(struct desk *d, int64_t job, const char *output) {
    char part[PART_NAME_MAX];
    struct dir *dir = NULL;

    if (dirs_open(d->dirs, output, path_dir_len(output), false, &dir) < 0)
        return;
    part_name(part, d->config.store_id, job);
    part_unlink(dir, part);
    dir_unref(dir);
}

/* The job has ended and nobody will go on with what is left of an earlier attempt. */
static void part_forget(struct desk *d, struct task *t) {
    if (t->job.kept.offset == 0 && t->kept.offset == 0 && !t->job.maybe_published)
        return;
    t->kept.offset = 0;
    if (path_is_safe(t->job.output))
        part_remove(d, t->job.id, t->job.output);
    fault_point(part_forgotten);
}

void desk_end_if_idle(struct desk *d) {
    if (d->stopping && !d->tasks)
        sd_event_exit(d->event, WORKER_OK);
}

void task_report(struct desk *d, struct task *t, enum wire_outcome outcome) {
    char path[OUTPUT_MAX_BYTES + 1];
    struct wire_result result;

    fault_point(result_due);
    if (outcome == OUTCOME_CANCELLED || outcome == OUTCOME_DONE ||
        (outcome == OUTCOME_FAILED && !t->failure.transient))
        part_forget(d, t);
    if (outcome == OUTCOME_DONE)
        target_path(t, path);
    task_result(t, outcome, path, &result);
    link_send_result(d->link, &result);
    fault_point(result_queued);
    HASH_DEL(d->tasks, t);
    task_free(t);
    desk_end_if_idle(d);
}

static void task_report_ended(struct desk *d, struct task *t) {
    task_report(d, t, t->failure.error == ERR_NONE ? OUTCOME_DONE : OUTCOME_FAILED);
}

void report_untried(struct desk *d, const struct wire_job *job) {
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
    t->serial = ++d->serial; /* what is being made durable of it is of no use any more */
    if (d->stopping || t->wanted_back) {
        task_report(d, t, OUTCOME_RELEASED);
        return;
    }
    t->stage = TASK_WAITING;
    t->arrived_usec = now_usec(CLOCK_MONOTONIC);
    queue_push(d->queue, t);
}

/* The file that is there, published by an earlier attempt or called current by its server, is not
 * what it should be: it is left to whom it belongs now, and the job is done like any other. */
static void task_again(struct desk *d, struct task *t) {
    t->stale |= t->not_modified;
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
    const struct wire_fetched fetched = {
        .id = t->job.id,
        .error = (uint8_t)t->failure.error,
        .elsewhere = t->failure.elsewhere,
        .http_status = t->http_status,
        .bytes = t->bytes,
        .retry_after_usec = t->failure.retry_after_usec,
    };

    if (!t->fetched)
        link_send_fetched(d->link, &fetched);
    t->fetched = true;
    fault_point(fetched_queued);
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
    /* A directory in which nothing is to be seen yet may be removed by anyone; once it is made again. */
    if (p->unnamed && p->error == -ENOENT && t->redone++ == 0) {
        task_requeue(d, t);
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
    if (d->config.fsync == FSYNC_NEVER && !t->parcel.reserved) {
        task_published(d, t);
        return;
    }
    task_tell_fetched(d, t);
    publisher_put(d->publisher, &t->parcel);
}

static void send_kept(struct desk *d, const struct task *t, const struct wire_kept *kept) {
    struct wire_checkpoint checkpoint = {.id = t->job.id, .kept = *kept};

    fault_point(checkpoint_due);
    link_send_checkpoint(d->link, &checkpoint);
}

void on_restarted(void *userdata, struct task *t) {
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
void on_save(void *userdata, struct task *t) {
    struct desk *d = userdata;
    struct saving *s;

    if (!publisher_has_room(d->publisher))
        return;
    s = calloc(1, sizeof(*s));
    if (!s || transfer_save(d->slots[t->slot], &s->parcel, &s->kept, s->ranges) < 0) {
        free(s);
        return;
    }
    s->job = t->job.id;
    s->serial = t->serial;
    DL_APPEND(d->savings, s);
    if (d->config.fsync == FSYNC_NEVER && !s->parcel.reserved)
        saving_done(d, s);
    else
        publisher_put(d->publisher, &s->parcel);
}

void on_widen(void *userdata, struct task *t, unsigned n) {
    struct desk *d = userdata;
    struct wire_widen widen = {.id = t->job.id, .n = n};

    if (!t->fetched) /* else its connections aren't counted any more */
        link_send_widen(d->link, &widen);
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

    beat_at(d->board, t->job.id);
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

void desk_fill(struct desk *d) {
    struct task *t;

    while (d->n_free > 0 && (t = queue_pop(d->queue)))
        task_start(d, t);
}

/* The server says that the file that is there is current; whether it has the job's checksum no
 * server knows. */
static void task_check(struct desk *d, struct task *t) {
    if (!target_open(d->dirs, t)) {
        task_again(d, t);
        return;
    }
    t->stage = TASK_PUBLISHING;
    task_tell_fetched(d, t);
    publisher_put(d->publisher, &t->parcel);
}

/* A transfer has ended, and its word counts. */
static void task_fetched(struct desk *d, struct task *t) {
    if (t->parcel.work == PARCEL_KEEP) {
        task_keep(d, t, OUTCOME_FAILED);
    } else if (t->not_modified && t->integrity.job.given) {
        slot_release(d, t->slot);
        task_check(d, t);
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

/* Each would else wait for the next one's attempt to connect, and the last for all of them. */
static void tell_not_connected(struct desk *d, const struct transfer *failed) {
    for (unsigned i = 0; i < d->config.transfers; i++)
        if (d->slots[i] && d->slots[i] != failed)
            transfer_not_connected(d->slots[i], failed);
}

void on_transfer_ended(void *userdata, CURL *easy, CURLcode code) {
    struct desk *d = userdata;
    struct transfer *transfer = transfer_over(transfer_of(easy), &code);
    struct task *t;

    if (!transfer)
        return;
    t = transfer_task(transfer);
    beat_at(d->board, t->job.id);
    if (transfer_failed_to_connect(transfer, code))
        tell_not_connected(d, transfer);
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

void on_verdict(void *userdata, struct line_item *item, enum line_verdict verdict) {
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
}

void on_published(void *userdata, struct parcel *p) {
    if (p->work == PARCEL_SAVE) {
        saving_done(userdata, (struct saving *)((char *)p - offsetof(struct saving, parcel)));
        return;
    }
    task_published(userdata, (struct task *)((char *)p - offsetof(struct task, parcel)));
}

void on_stage_room(void *userdata) {
    struct desk *d = userdata;

    while (d->blocked && publisher_has_room(d->publisher)) {
        struct task *t = d->blocked;

        DL_DELETE(d->blocked, t);
        task_publish(d, t);
    }
    desk_fill(d);
}

void on_expired(void *userdata, struct task *t) {
    task_report(userdata, t, OUTCOME_RELEASED);
}

bool task_withdraw(struct desk *d, struct task *t, bool keep) {
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
    case TASK_HELD: /* all of it has come */
        t->wanted_back = true;
        if (keep)
            break;
        if (t->parcel.fd >= 0)
            parcel_discard(&t->parcel);
        return true;
    case TASK_BLOCKED:
        if (keep)
            break;
        DL_DELETE(d->blocked, t);
        parcel_discard(&t->parcel);
        slot_release(d, t->slot);
        return true;
    case TASK_PUBLISHING:
        break;
    }
    return false;
}
