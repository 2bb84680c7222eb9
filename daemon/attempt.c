#include "daemon/attempt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/backoff.h"
#include "common/url.h"
#include "common/util.h"

/* A server may ask for patience, but not for ever. */
#define RETRY_AFTER_MAX (24 * 3600 * USEC_PER_SEC)

/* A disk may have room again at any time. */
#define ROOM_WAIT_MAX (60 * USEC_PER_SEC)

#define ATTEMPTS_PER_RETRY 10u

static int copy(char **to, const char *from) {
    if (!from)
        return 0;
    *to = strdup(from);
    return *to ? 0 : -ENOMEM;
}

int attempt_keep(struct job_kept *to, const struct wire_kept *from) {
    struct job_kept k = {.offset = from->offset,
                         .total = from->total,
                         .file = from->file,
                         .source = from->source,
                         .leftover = to->leftover && from->offset == 0};

    if (copy(&k.etag, from->etag) < 0 || copy(&k.last_modified, from->last_modified) < 0 ||
        copy(&k.ranges, from->ranges) < 0) {
        job_kept_done(&k);
        return -ENOMEM;
    }
    job_kept_done(to);
    *to = k;
    return 0;
}

int attempt_record(struct job *job, const struct wire_result *result, unsigned worker,
                   uint64_t now) {
    struct job_result r = {
        .http_status = result->http_status,
        .bytes = result->bytes,
        .size = result->size,
        .error = result->error,
        .worker = worker,
        .skipped = result->skipped,
        .not_modified = result->not_modified,
        .started = result->started_usec,
        .finished = now,
    };

    job_result_done(&job->result);
    job->result = (struct job_result){.size = -1};
    if (copy(&r.output, result->output) < 0 || copy(&r.message, result->message) < 0 ||
        copy(&r.effective_url, result->effective_url) < 0 ||
        copy(&r.content_type, result->content_type) < 0 || copy(&r.digest, result->digest) < 0 ||
        copy(&r.answer, result->body) < 0) {
        job_result_done(&r);
        return -ENOMEM;
    }
    job->result = r;
    return attempt_keep(&job->kept, &result->kept);
}

/* ---- mirrors ---- */

/* A failure that no other mirror would spare the job. */
static bool fault_is_ours(unsigned error) {
    return error == ERR_NO_SPACE || error == ERR_OUTPUT || error == ERR_EXISTS ||
           error == ERR_TOO_LARGE;
}

/* Where a URL stands first among the mirrors, which may repeat it. */
static size_t mirror_place(const struct job_spec *spec, const char *url) {
    for (size_t i = 0; i < spec->n_urls; i++)
        if (streq(spec->urls[i], url))
            return i;
    return 0;
}

/* Is mirror i one that may be asked (again)? Each counts once, however often it is named. */
static bool mirror_is_left(const struct job *job, const struct job_spec *spec, size_t i) {
    return !(job->spent & 1u << i) && mirror_place(spec, spec->urls[i]) == i;
}

/* What the failure of the mirror at place leads to. */
struct turn {
    size_t next;     /* mirror; n_urls: none is left */
    uint64_t due;    /* when */
    bool round_over; /* all have had their turn, but those that are still to be waited for */
};

/* The one that may be asked first; of several, the next in turn. Another round begins at next_round
 * only. */
static struct turn mirror_turn(const struct job *job, const struct job_spec *spec, size_t place,
                               uint64_t now, uint64_t next_round) {
    struct turn best = {.next = spec->n_urls, .due = UINT64_MAX};

    for (size_t k = 1; k <= spec->n_urls; k++) {
        size_t i = (place + k) % spec->n_urls;
        uint64_t due = MAX(i > place ? now : next_round, job->mirror_due[i]);

        if (mirror_is_left(job, spec, i) && due < best.due)
            best = (struct turn){.next = i, .due = due, .round_over = i <= place};
    }
    return best;
}

/* When no retry is left: a mirror that has asked for patience and had no turn since gets its last. */
static struct turn mirror_last_turn(const struct job *job, const struct job_spec *spec,
                                    size_t place, uint64_t now) {
    struct turn best = {.next = spec->n_urls, .due = UINT64_MAX};

    for (size_t i = 0; i < spec->n_urls; i++)
        if (i != place && mirror_is_left(job, spec, i) && job->mirror_due[i] > now &&
            job->mirror_due[i] < best.due)
            best = (struct turn){.next = i, .due = job->mirror_due[i]};
    return best;
}

/* false: it stays where it is, for want of memory. */
static bool mirror_go(struct job *job, const struct job_spec *spec, size_t to) {
    _cleanup_(url_done) struct url url = {0};
    const char *why;
    size_t column;

    if (url_parse(spec->urls[to], &url, &why, &column) < 0)
        return false;
    free(job->url);
    free(job->host);
    job->url = TAKE_PTR(url.text);
    job->host = TAKE_PTR(url.host_key);
    if (spec->checksum) { /* it tells in the end whether the bytes of two mirrors fit together */
        free(TAKE_PTR(job->kept.etag));
        free(TAKE_PTR(job->kept.last_modified));
    } else {
        job_kept_drop(&job->kept);
    }
    return true;
}

/* ---- after a failure ---- */

static bool worth_trying(const struct job *job, const struct job_spec *spec,
                         const struct attempt_end *end) {
    const struct job_result *r = &job->result;

    for (size_t i = 0; r->error == ERR_HTTP && i < spec->n_retry_on; i++)
        if (spec->retry_on[i] == r->http_status)
            return true;
    /* The fault may lie in what was there before. */
    if (r->error == ERR_CHECKSUM && end->kept_before > 0)
        return true;
    return end->transient;
}

static void wait_for_room(struct job *job, const struct attempt_policy *policy,
                          const struct attempt_end *end) {
    job->blocked++;
    job->state = JOB_WAITING;
    job->due = end->now + backoff_delay(job->blocked, policy->base, MIN(policy->max, ROOM_WAIT_MAX),
                                        end->random);
}

static unsigned retries_of(const struct job_spec *spec, const struct attempt_policy *policy) {
    return spec->retries >= 0 ? (unsigned)spec->retries : policy->retries;
}

/* No job is endless, whatever it gains. */
static bool used_up(const struct job *job, const struct job_spec *spec, unsigned retries) {
    uint64_t most = MAX(ATTEMPTS_PER_RETRY * MAX((uint64_t)retries, 1u), (uint64_t)spec->n_urls);

    return job->attempts - job->blocked >= most;
}

/* With one URL. */
static void try_again(struct job *job, const struct job_spec *spec,
                      const struct attempt_policy *policy, const struct attempt_end *end,
                      bool transient) {
    unsigned retries = retries_of(spec, policy);
    bool grown = job_kept_bytes(&job->kept) > end->kept_before;
    uint64_t delay;

    job->state = JOB_FAILED;
    if (!transient)
        return;
    if (!grown)
        job->stalls++;
    if (job->stalls > retries || used_up(job, spec, retries))
        return;
    delay = backoff_delay(grown ? 1 : job->stalls, policy->base, policy->max, end->random);
    job->state = JOB_WAITING;
    job->due = end->now + MAX(delay, MIN(end->retry_after, RETRY_AFTER_MAX));
}

static void try_mirrors(struct job *job, const struct job_spec *spec,
                        const struct attempt_policy *policy, const struct attempt_end *end,
                        bool transient) {
    unsigned retries = retries_of(spec, policy), stalls = job->stalls + 1;
    size_t place = mirror_place(spec, job->url);
    bool grown = job_kept_bytes(&job->kept) > end->kept_before;
    struct turn turn;
    uint64_t delay;

    job->state = JOB_FAILED;
    if (!transient)
        job->spent |= 1u << place;
    /* The last turns are for those that asked before. */
    job->mirror_due[place] = end->retry_after > 0 && job->stalls <= retries
                                 ? end->now + MIN(end->retry_after, RETRY_AFTER_MAX)
                                 : 0;
    delay = backoff_delay(grown ? 1 : stalls, policy->base, policy->max, end->random);
    turn = mirror_turn(job, spec, place, end->now, end->now + delay);
    grown = grown && (turn.next == place || spec->checksum);
    if (turn.round_over && !grown)
        job->stalls = stalls;
    if (job->stalls > retries)
        turn = mirror_last_turn(job, spec, place, end->now);
    if (turn.next == spec->n_urls || used_up(job, spec, retries))
        return;
    if (turn.next != place && !mirror_go(job, spec, turn.next))
        turn.due = MAX(turn.due, end->now + delay);
    job->state = JOB_WAITING;
    job->due = turn.due;
}

/* What came last is told by the message. */
static void fail_deadline(struct job *job) {
    struct job_result *r = &job->result;
    char *last = r->message;

    if (asprintf(&r->message, "the deadline leaves no time for another attempt; the last: %s: %s",
                 error_name(r->error), last ? last : error_sentence(r->error)) < 0)
        r->message = NULL;
    free(last);
    r->error = ERR_DEADLINE;
    job->state = JOB_FAILED;
}

void attempt_failed(struct job *job, const struct job_spec *spec,
                    const struct attempt_policy *policy, const struct attempt_end *end) {
    bool transient = worth_trying(job, spec, end);
    uint64_t goes_on;

    if (job->result.error == ERR_CHECKSUM)
        job_kept_done(&job->kept);
    if (job->result.error == ERR_NO_SPACE)
        wait_for_room(job, policy, end);
    else if (spec->n_urls > 1 && !fault_is_ours(job->result.error))
        try_mirrors(job, spec, policy, end, transient);
    else
        try_again(job, spec, policy, end, transient);
    goes_on = job->state == JOB_WAITING ? job->due : end->now;
    if (spec->deadline > 0 && goes_on >= spec->deadline && (transient || job->state == JOB_WAITING))
        fail_deadline(job);
}

bool attempt_may_go_on(const struct job *job) {
    /* What the worker judged to be for good it has removed already. */
    return job->state == JOB_FAILED && job->result.error != ERR_DEADLINE &&
           job->result.error != ERR_CRASH;
}

enum sched_says attempt_says(const struct wire_result *result) {
    if (result->outcome == OUTCOME_DONE)
        return SCHED_SAYS_FINE;
    if (result->outcome != OUTCOME_FAILED)
        return SCHED_SAYS_NOTHING;
    if (result->elsewhere) /* the host has answered: others that it redirects to may be well */
        return SCHED_SAYS_FINE;
    if (result->error == ERR_HTTP && (result->http_status == 429 || result->http_status == 503))
        return SCHED_SAYS_BUSY;
    if (result->http_status > 0 || result->bytes > 0)
        return SCHED_SAYS_FINE;
    if (result->error == ERR_DNS || result->error == ERR_CONNECT)
        return SCHED_SAYS_UNREACHED;
    if (result->error == ERR_TIMEOUT || result->error == ERR_STALLED)
        return SCHED_SAYS_SLOW;
    return SCHED_SAYS_NOTHING;
}

uint64_t attempt_timeout(const struct job_spec *spec, uint64_t now) {
    uint64_t left;

    if (spec->deadline == 0)
        return spec->timeout_usec;
    left = spec->deadline > now ? spec->deadline - now : 1;
    return spec->timeout_usec > 0 ? MIN(spec->timeout_usec, left) : left;
}

void attempt_crashed(struct job *job, const struct attempt_policy *policy, uint64_t now) {
    job->crashes++;
    if (job->crashes < policy->crash_limit) {
        job->state = JOB_QUEUED;
        return;
    }
    job->state = JOB_FAILED;
    job_result_done(&job->result);
    job->result = (struct job_result){.size = -1, .error = ERR_CRASH, .finished = now};
    if (asprintf(&job->result.message, "%u workers died while they ran this job", job->crashes) < 0)
        job->result.message = NULL;
}
