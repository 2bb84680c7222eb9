#include "client/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "client/print.h"

struct chunk {
    const struct source *source;
    uint64_t offset; /* index in the batch of its first job */
    size_t n;
    bool last;
    int64_t id;        /* of the request it went out with */
    struct buf params; /* the whole of them once the chunk was sent */
    uint64_t where[UPLOAD_CHUNK_JOBS];
};

static struct chunk *chunk_free(struct chunk *k) {
    if (k)
        buf_done(&k->params);
    free(k);
    return NULL;
}

int upload_init(struct upload *u, struct rpc *rpc) {
    unsigned char random[16];

    *u = (struct upload){.rpc = rpc};
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -errno;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(u->key + 2 * i, 3, "%02x", random[i]);
    return 0;
}

void upload_done(struct upload *u) {
    while (u->n_flight > 0)
        chunk_free(u->flight[--u->n_flight]);
    u->pending = chunk_free(u->pending);
    json_decref(TAKE_PTR(u->answer));
}

static int chunk_begin(struct upload *u, const struct source *source) {
    struct chunk *k = calloc(1, sizeof(*k));

    if (!k)
        return -ENOMEM;
    k->source = source;
    k->offset = u->count;
    k->params = BUF_INIT(4 * MIB);
    buf_addf(&k->params, "{\"submit_key\": \"%s\", \"offset\": %" PRIu64 ", ", u->key, k->offset);
    if (source->n_defaults > 0) {
        buf_adds(&k->params, "\"defaults\": ");
        /* line ends are blanks outside of strings, and inside they were refused */
        for (size_t i = 0; i < source->n_defaults; i++)
            buf_addc(&k->params, source->defaults[i] == '\n' ? ' ' : source->defaults[i]);
        buf_adds(&k->params, ", ");
    }
    buf_adds(&k->params, "\"jobs\": [");
    u->pending = k;
    return 0;
}

static int chunk_send(struct upload *u, struct chunk *k) {
    return rpc_send(u->rpc, "submit", buf_head(&k->params), buf_size(&k->params), &k->id);
}

/* The daemon went away with chunks unanswered: all of them go to its successor. */
static int upload_reconnect(struct upload *u) {
    int r = rpc_recover(u->rpc);

    for (size_t i = 0; r == 0 && i < u->n_flight; i++) {
        u->resent |= u->flight[i]->last;
        r = chunk_send(u, u->flight[i]);
    }
    return r;
}

static void upload_note_refusal(struct upload *u, const struct chunk *k) {
    const struct rpc_error *e = &u->rpc->error;

    if (u->refused.source && u->refused.offset <= k->offset)
        return;
    u->refused.source = k->source;
    u->refused.offset = k->offset;
    u->refused.where = 0;
    u->refused.index = 0;
    snprintf(u->refused.text, sizeof(u->refused.text), "%s", e->text);
    if (e->index >= (int64_t)k->offset && (uint64_t)e->index - k->offset < k->n) {
        u->refused.index = (uint64_t)e->index;
        u->refused.where = k->where[(uint64_t)e->index - k->offset];
    }
}

static int upload_answer(struct upload *u, size_t i, const struct rpc_message *m) {
    struct chunk *k = u->flight[i];

    if (!m->body && u->rpc->error.code == RPC_STOPPING)
        return upload_reconnect(u);
    if (!m->body && u->rpc->error.code != RPC_BAD_PARAMS)
        return -EREMOTEIO;
    if (!m->body)
        upload_note_refusal(u, k);
    else if (k->last)
        u->answer = json_incref(m->body);
    u->n_flight--;
    memmove(u->flight + i, u->flight + i + 1, (u->n_flight - i) * sizeof(k));
    chunk_free(k);
    return 0;
}

static int upload_message(struct upload *u, const struct rpc_message *m) {
    if (m->method)
        return u->notify ? u->notify(u->userdata, m) : 0;
    for (size_t i = 0; i < u->n_flight; i++)
        if (u->flight[i]->id == m->id)
            return upload_answer(u, i, m);
    return m->body || m->id != 0 ? 0 : -EREMOTEIO;
}

/* Takes one message, waiting for it if asked to: 1, or 0 when none was there. */
static int upload_receive(struct upload *u, bool wait) {
    _cleanup_(rpc_message_done) struct rpc_message m = {0};
    int r = rpc_receive(u->rpc, wait ? RPC_ANSWER_MSEC : 0, &m);

    if (r == 0 && !wait)
        return 0;
    if (r > 0)
        r = upload_message(u, &m);
    else if (r == 0 || rpc_lost(r))
        r = upload_reconnect(u);
    return r < 0 ? r : 1;
}

/* Whether an answer is still to come that matters: to any chunk, or to one before a refused one. */
static bool upload_open(const struct upload *u) {
    return u->n_flight > 0 && (!u->refused.source || u->flight[0]->offset < u->refused.offset);
}

int upload_settle(struct upload *u) {
    while (upload_open(u)) {
        int r = upload_receive(u, true);

        if (r < 0)
            return r;
    }
    return u->refused.source ? -EBADMSG : 0;
}

static int upload_send(struct upload *u, bool last) {
    struct chunk *k = u->pending;
    int r = 0;

    while (r >= 0 && u->n_flight == UPLOAD_FLIGHT_MAX && !u->refused.source)
        r = upload_receive(u, true);
    while (r > 0 && !u->refused.source)
        r = upload_receive(u, false);
    if (r < 0)
        return r;
    if (u->refused.source)
        return upload_settle(u);
    k->last = last;
    buf_addf(&k->params, "], \"last\": %s%s}", last ? "true" : "false",
             !last || !u->watch ? ""
             : u->brief         ? ", \"watch\": true, \"brief\": true"
                                : ", \"watch\": true");
    if (buf_error(&k->params))
        return buf_error(&k->params);
    u->flight[u->n_flight++] = TAKE_PTR(u->pending);
    r = chunk_send(u, k);
    while (r >= 0 && (r = upload_receive(u, false)) > 0)
        ;
    return r;
}

int upload_add(struct upload *u, const struct source *source, const char *text, size_t n,
               uint64_t where) {
    struct chunk *k = u->pending;
    int r = 0;

    if (k && (k->source != source || k->n == UPLOAD_CHUNK_JOBS ||
              buf_size(&k->params) + n > UPLOAD_CHUNK_BYTES)) {
        r = upload_send(u, false);
        k = NULL;
    }
    if (r == 0 && !k)
        r = chunk_begin(u, source);
    if (r < 0)
        return r;
    k = u->pending;
    if (k->n > 0)
        buf_addc(&k->params, ',');
    buf_add(&k->params, text, n);
    k->where[k->n++] = where;
    u->count++;
    return buf_error(&k->params);
}

int upload_finish(struct upload *u, const json_t **ret) {
    int r = upload_send(u, true);

    if (r == 0)
        r = upload_settle(u);
    if (r < 0)
        return r;
    if (!u->answer)
        return -EBADMSG;
    *ret = u->answer;
    return 0;
}
