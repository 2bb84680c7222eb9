#include "daemon/sched_host.h"

#include "common/backoff.h"
#include "common/util.h"

void sched_health_init(struct sched_health *h, const struct sched_policy *policy) {
    *h = (struct sched_health){.state = SCHED_HOST_OPEN, .limit = policy->connections};
}

void sched_health_adapt(struct sched_health *h, const struct sched_policy *old,
                        const struct sched_policy *policy) {
    if (h->limit >= old->connections || h->limit > policy->connections)
        h->limit = policy->connections;
}

void sched_health_restore(struct sched_health *h, unsigned failures, uint64_t wait, uint64_t now) {
    if (h->troubled || h->ever_fine || (failures == 0 && wait == 0))
        return;
    h->state = SCHED_HOST_BACKOFF;
    h->until = now + wait;
    h->failures = h->unreached = h->backoffs = failures;
    h->unreached_since = failures > 0 ? now : 0;
    h->trouble = now;
    h->troubled = true;
}

static uint64_t spacing_over(const struct sched_health *h, const struct sched_policy *policy) {
    return h->paced && policy->delay > 0 ? h->last_start + policy->delay : 0;
}

uint64_t sched_health_wake(const struct sched_health *h, const struct sched_policy *policy,
                           unsigned n_active) {
    unsigned limit = h->state == SCHED_HOST_OPEN ? h->limit : policy->connections;

    if (h->state == SCHED_HOST_PROBE || n_active >= limit)
        return USEC_INFINITY;
    if (h->state == SCHED_HOST_OPEN)
        return spacing_over(h, policy);
    return MAX(h->until, spacing_over(h, policy));
}

bool sched_health_down(const struct sched_health *h, const struct sched_policy *policy,
                       uint64_t now) {
    return h->state == SCHED_HOST_BACKOFF && h->unreached >= MAX(policy->patience, 1u) &&
           now < h->until;
}

bool sched_health_start(struct sched_health *h, uint64_t now) {
    h->start_before = h->last_start;
    h->paced_before = h->paced;
    h->last_start = now;
    h->paced = true;
    if (h->state != SCHED_HOST_BACKOFF)
        return false;
    h->state = SCHED_HOST_PROBE;
    return true;
}

/* The probe told nothing: the next job is one. */
static void probe_again(struct sched_health *h) {
    h->state = SCHED_HOST_BACKOFF;
}

void sched_health_unstart(struct sched_health *h, bool probe, uint64_t started) {
    if (h->paced && h->last_start == started) {
        h->last_start = h->start_before;
        h->paced = h->paced_before;
    }
    if (probe)
        probe_again(h);
}

static void end_fine(struct sched_health *h, const struct sched_policy *policy, bool probe) {
    h->limit = probe ? MIN(2u, policy->connections) : MIN(h->limit + 1, policy->connections);
    h->state = SCHED_HOST_OPEN;
    h->failures = h->unreached = h->backoffs = 0;
    h->unreached_since = 0;
}

static void end_slow(struct sched_health *h, bool probe) {
    h->limit = probe ? 1 : MAX(h->limit / 2, 1u);
    h->state = SCHED_HOST_OPEN;
    h->unreached = h->backoffs = 0;
    h->unreached_since = 0;
}

static void back_off(struct sched_health *h, const struct sched_policy *policy,
                     uint64_t retry_after, uint64_t now) {
    uint64_t wait;

    h->backoffs++;
    wait = backoff_delay(h->backoffs, policy->base, policy->max, UINT32_MAX);
    if (retry_after > 0)
        wait = MIN(retry_after, MAX(policy->max, HOST_WAIT_MAX));
    h->state = SCHED_HOST_BACKOFF;
    h->limit = 1;
    h->until = now + wait;
}

static void end_unreached(struct sched_health *h, const struct sched_policy *policy, bool probe,
                          uint64_t now) {
    if (h->unreached++ == 0)
        h->unreached_since = now;
    if (!probe && h->ever_fine && h->limit > 1)
        h->limit /= 2;
    else
        back_off(h, policy, 0, now);
}

static void end_busy(struct sched_health *h, const struct sched_policy *policy,
                     uint64_t retry_after, uint64_t now) {
    h->unreached = 0;
    h->unreached_since = 0;
    back_off(h, policy, retry_after, now);
}

/* An end that tells nothing new; but how long to stay away is what the host said last, also when
 * it had been open again. */
static void end_late(struct sched_health *h, const struct sched_policy *policy,
                     const struct sched_end *end, uint64_t now) {
    uint64_t wait = MIN(end->retry_after, MAX(policy->max, HOST_WAIT_MAX));

    if (end->says != SCHED_SAYS_BUSY || h->state == SCHED_HOST_PROBE)
        return;
    if (h->state == SCHED_HOST_OPEN) {
        if (end->retry_after == 0)
            return;
        h->state = SCHED_HOST_BACKOFF;
        h->until = now;
    }
    h->until = MAX(h->until, now + wait);
}

void sched_health_end(struct sched_health *h, const struct sched_policy *policy,
                      const struct sched_end *end, uint64_t now) {
    bool trouble = end->says != SCHED_SAYS_FINE;
    bool late =
        !end->probe && (h->state != SCHED_HOST_OPEN || (h->troubled && end->started <= h->trouble));

    if (end->says == SCHED_SAYS_NOTHING) {
        if (end->probe)
            probe_again(h);
        return;
    }
    if (trouble)
        h->error = end->error;
    h->ever_fine = h->ever_fine || !trouble || end->says == SCHED_SAYS_SLOW;
    if (late) {
        end_late(h, policy, end, now);
        return;
    }
    if (!trouble) {
        end_fine(h, policy, end->probe);
        return;
    }
    h->failures++;
    h->troubled = true;
    h->trouble = now;
    if (end->says == SCHED_SAYS_BUSY)
        end_busy(h, policy, end->retry_after, now);
    else if (end->says == SCHED_SAYS_SLOW)
        end_slow(h, end->probe);
    else
        end_unreached(h, policy, end->probe, now);
}

bool sched_health_blank(const struct sched_health *h, const struct sched_policy *policy,
                        uint64_t now) {
    return h->state == SCHED_HOST_OPEN && h->failures == 0 && h->limit >= policy->connections &&
           spacing_over(h, policy) <= now;
}
