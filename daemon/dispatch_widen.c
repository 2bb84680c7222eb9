/* A large file gets more connections, to its own host and to those of its mirrors. */

#include "common/log.h"
#include "common/url.h"
#include "daemon/access.h"
#include "daemon/dispatch_live.h"

/* Where connections may be had. */
struct source {
    char *host;  /* owned */
    uint32_t *n; /* in the message */
};

struct sources {
    size_t n;
    struct source list[1 + WIRE_MIRRORS_MAX];
};

static void sources_done(struct sources *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i].host);
}

/* A limit of a host's is known to the worker only where the job is the host's own. */
static bool is_unlimited(struct dispatch *d, const char *host) {
    uint32_t bucket = 0;
    bool unlimited = rates_host_take(d->settings.rates, host, &bucket) == 0 && bucket == 0;

    rates_host_drop(d->settings.rates, bucket);
    return unlimited;
}

static void source_add(struct sources *s, const char *host, uint32_t *n) {
    char *copy = strdup(host);

    *n = 0;
    if (copy)
        s->list[s->n++] = (struct source){.host = copy, .n = n};
}

static void mirror_add(struct sources *s, struct dispatch *d, const char *url,
                       struct wire_widened *message) {
    _cleanup_(url_done) struct url u = {0};
    struct wire_mirror *m = &message->mirrors[message->n_mirrors];
    const char *why;
    size_t column;

    if (message->n_mirrors == WIRE_MIRRORS_MAX || url_parse(url, &u, &why, &column) < 0 ||
        !url_scheme_is_web(u.scheme) || !is_unlimited(d, u.host_key))
        return;
    m->url = url;
    message->n_mirrors++;
    source_add(s, u.host_key, &m->n);
}

/* Bytes of two servers are put together only where a digest tells if they fit, and nobody but the
 * job's own host is shown who asks. */
static void find_sources(const struct live_job *l, const struct job_spec *spec,
                         struct wire_widened *message, struct sources *ret) {
    const struct job *row = l->row;
    uint64_t now = now_usec(CLOCK_REALTIME);

    for (size_t i = 0; spec->checksum && access_is_open(spec) && i < spec->n_urls; i++)
        if (!streq(spec->urls[i], row->url) && !(row->spent & 1u << i) && row->mirror_due[i] <= now)
            mirror_add(ret, l->dispatch, spec->urls[i], message);
    source_add(ret, row->host, &message->n);
}

/* One from each in turn, as long as one has any. */
static void share_out(struct live_job *l, struct sources *s, unsigned wanted) {
    bool given = true;

    while (given && wanted > 0) {
        given = false;
        for (size_t i = 0; i < s->n && wanted > 0; i++) {
            if (!sched_widen(l->dispatch->sched, &l->sched, s->list[i].host))
                continue;
            ++*s->list[i].n;
            wanted--;
            given = true;
        }
    }
}

void dispatch_on_widen(void *userdata, struct pool_job *job, unsigned wanted) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    _cleanup_(sources_done) struct sources sources = {.n = 0};
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;
    struct wire_widened message = {.id = l->id};

    if (!l->in_sched || l->sched.wide > 0 || job_spec_parse(l->row->body, &spec) < 0)
        return;
    find_sources(l, &spec, &message, &sources);
    share_out(l, &sources, MIN(wanted, (unsigned)JOB_CONNECTIONS_MAX));
    if (l->sched.wide > 0 && pool_widened(d->pool, job, &message) < 0)
        log_debug("job %lld: no memory to give its file more connections", (long long)l->id);
}
