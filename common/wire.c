#include "common/wire.h"

#include <errno.h>
#include <string.h>

#include "common/errors.h"
#include "common/naming.h"
#include "common/ranges.h"

#define WIRE_NULL UINT32_MAX /* the length that stands for a NULL string */
#define RECORD_HEAD 5        /* u8 type, u32 length */

/* ---- put ---- */

static void put_u8(struct buf *b, uint8_t v) {
    buf_add(b, &v, sizeof(v));
}

static void put_u32(struct buf *b, uint32_t v) {
    buf_add(b, &v, sizeof(v));
}

static void put_u64(struct buf *b, uint64_t v) {
    buf_add(b, &v, sizeof(v));
}

static void put_str(struct buf *b, const char *s) {
    if (!s) {
        put_u32(b, WIRE_NULL);
        return;
    }
    size_t n = strlen(s);

    put_u32(b, (uint32_t)n);
    buf_add(b, s, n + 1);
}

/* A record is opened with its type and closed with its length; one that did not fit leaves no
 * trace. */
static size_t record_open(struct buf *b, enum wire_type type) {
    size_t at = buf_size(b);

    put_u8(b, (uint8_t)type);
    put_u32(b, 0);
    return at;
}

static int record_close(struct buf *b, size_t at) {
    size_t n = buf_size(b) - at;
    int r = buf_error(b) == -ENOBUFS ? -EMSGSIZE : buf_error(b);

    if (r == 0 && n > WIRE_RECORD_MAX)
        r = -EMSGSIZE;
    if (r == 0) {
        uint32_t payload = (uint32_t)(n - RECORD_HEAD);

        memcpy(buf_head(b) + at + 1, &payload, sizeof(payload));
    } else {
        b->len = b->start + at;
        b->error = 0;
    }
    return r;
}

static void put_kept(struct buf *b, const struct wire_kept *k) {
    put_u64(b, k->offset);
    put_u64(b, (uint64_t)k->total);
    put_str(b, k->etag);
    put_str(b, k->last_modified);
    put_u64(b, k->file);
    put_u64(b, k->source);
    put_str(b, k->offset > 0 ? k->ranges : NULL);
}

int wire_put_hello(struct buf *b, const struct wire_hello *m) {
    size_t at = record_open(b, WIRE_HELLO);

    put_u32(b, m->wire_version);
    put_str(b, m->program_version);
    return record_close(b, at);
}

int wire_put_config(struct buf *b, const struct wire_config *m) {
    size_t at = record_open(b, WIRE_CONFIG);

    put_u32(b, m->worker);
    put_u32(b, m->transfers);
    put_u8(b, m->fsync);
    put_u64(b, m->sync_interval_usec);
    put_u64(b, m->connect_timeout_usec);
    put_u64(b, m->low_speed_limit);
    put_u64(b, m->low_speed_time_usec);
    put_u32(b, m->max_redirects);
    put_u32(b, m->file_mode);
    put_u32(b, m->dir_mode);
    put_str(b, m->store_id);
    put_u64(b, m->min_free_space);
    put_str(b, m->digest);
    put_str(b, m->ca_file);
    put_str(b, m->schemes);
    put_str(b, m->deny);
    put_str(b, m->allow);
    put_str(b, m->proxy);
    put_str(b, m->known_hosts);
    put_u64(b, m->segment_min);
    put_u32(b, m->connections);
    return record_close(b, at);
}

int wire_put_job(struct buf *b, const struct wire_job *m) {
    size_t at = record_open(b, WIRE_JOB);

    put_u64(b, (uint64_t)m->id);
    put_u32(b, m->attempt);
    put_u8(b, m->on_conflict);
    put_u8(b, m->maybe_published);
    put_u64(b, m->max_size);
    put_u64(b, m->timeout_usec);
    put_u64(b, m->deadline_usec);
    put_u64(b, m->rate);
    put_u32(b, m->host_bucket);
    put_str(b, m->url);
    put_str(b, m->output);
    put_str(b, m->user_agent);
    put_str(b, m->referer);
    put_u64(b, (uint64_t)m->size);
    put_u64(b, m->max_decoded_size);
    put_str(b, m->checksum);
    put_u8(b, m->content_disposition);
    put_u8(b, m->if_modified);
    put_u8(b, m->remote_time);
    put_u8(b, m->compressed);
    put_u32(b, m->connections);
    put_kept(b, &m->kept);
    put_u8(b, m->auth);
    put_str(b, m->user);
    put_str(b, m->secret);
    put_str(b, m->certificate);
    put_str(b, m->proxy);
    put_str(b, m->proxy_user);
    put_str(b, m->proxy_secret);
    put_u32(b, m->n_headers);
    for (uint32_t i = 0; i < m->n_headers; i++)
        put_str(b, m->headers[i]);
    return record_close(b, at);
}

int wire_put_cancel(struct buf *b, int64_t id) {
    size_t at = record_open(b, WIRE_CANCEL);

    put_u64(b, (uint64_t)id);
    return record_close(b, at);
}

int wire_put_discard(struct buf *b, const struct wire_discard *m) {
    size_t at = record_open(b, WIRE_DISCARD);

    put_u64(b, (uint64_t)m->id);
    put_str(b, m->output);
    return record_close(b, at);
}

int wire_put_discarded(struct buf *b, int64_t id) {
    size_t at = record_open(b, WIRE_DISCARDED);

    put_u64(b, (uint64_t)id);
    return record_close(b, at);
}

int wire_put_release(struct buf *b, int64_t id) {
    size_t at = record_open(b, WIRE_RELEASE);

    put_u64(b, (uint64_t)id);
    return record_close(b, at);
}

int wire_put_widen(struct buf *b, const struct wire_widen *m) {
    size_t at = record_open(b, WIRE_WIDEN);

    put_u64(b, (uint64_t)m->id);
    put_u32(b, m->n);
    return record_close(b, at);
}

int wire_put_widened(struct buf *b, const struct wire_widened *m) {
    size_t at = record_open(b, WIRE_WIDENED);

    put_u64(b, (uint64_t)m->id);
    put_u32(b, m->n);
    put_u32(b, m->n_mirrors);
    for (uint32_t i = 0; i < m->n_mirrors; i++) {
        put_str(b, m->mirrors[i].url);
        put_u32(b, m->mirrors[i].n);
    }
    return record_close(b, at);
}

int wire_put_rate(struct buf *b, const struct wire_rate *m) {
    size_t at = record_open(b, WIRE_RATE);

    put_u64(b, (uint64_t)m->id);
    put_u64(b, m->rate);
    return record_close(b, at);
}

int wire_put_stop(struct buf *b) {
    return record_close(b, record_open(b, WIRE_STOP));
}

int wire_put_drain(struct buf *b) {
    return record_close(b, record_open(b, WIRE_DRAIN));
}

int wire_put_fetched(struct buf *b, const struct wire_fetched *m) {
    size_t at = record_open(b, WIRE_FETCHED);

    put_u64(b, (uint64_t)m->id);
    put_u8(b, m->error);
    put_u8(b, m->elsewhere);
    put_u32(b, m->http_status);
    put_u64(b, m->bytes);
    put_u64(b, m->retry_after_usec);
    return record_close(b, at);
}

int wire_put_checkpoint(struct buf *b, const struct wire_checkpoint *m) {
    size_t at = record_open(b, WIRE_CHECKPOINT);

    put_u64(b, (uint64_t)m->id);
    put_kept(b, &m->kept);
    return record_close(b, at);
}

int wire_put_result(struct buf *b, const struct wire_result *m) {
    size_t at = record_open(b, WIRE_RESULT);

    put_u64(b, (uint64_t)m->id);
    put_u8(b, m->outcome);
    put_u8(b, m->error);
    put_u8(b, m->transient);
    put_u8(b, m->elsewhere);
    put_u8(b, m->skipped);
    put_u8(b, m->not_modified);
    put_u32(b, m->http_status);
    put_u64(b, m->bytes);
    put_u64(b, (uint64_t)m->size);
    put_u64(b, m->started_usec);
    put_u64(b, m->retry_after_usec);
    put_str(b, m->output);
    put_str(b, m->message);
    put_str(b, m->effective_url);
    put_str(b, m->content_type);
    put_str(b, m->digest);
    put_str(b, m->body);
    put_kept(b, &m->kept);
    return record_close(b, at);
}

/* ---- get ---- */

/* A cursor over a payload; the first thing that doesn't fit marks it bad, and what follows reads as
 * 0. */
struct cursor {
    const char *p;
    size_t left;
    bool bad;
};

static void get(struct cursor *c, void *to, size_t n) {
    if (c->bad || n > c->left) {
        c->bad = true;
        memset(to, 0, n);
        return;
    }
    memcpy(to, c->p, n);
    c->p += n;
    c->left -= n;
}

static uint8_t get_u8(struct cursor *c) {
    uint8_t v;

    get(c, &v, sizeof(v));
    return v;
}

static uint32_t get_u32(struct cursor *c) {
    uint32_t v;

    get(c, &v, sizeof(v));
    return v;
}

static uint64_t get_u64(struct cursor *c) {
    uint64_t v;

    get(c, &v, sizeof(v));
    return v;
}

static bool get_bool(struct cursor *c) {
    uint8_t v = get_u8(c);

    if (v > 1)
        c->bad = true;
    return v == 1;
}

static const char *get_str_or_null(struct cursor *c) {
    uint32_t n = get_u32(c);
    const char *s = c->p;

    if (c->bad || n == WIRE_NULL)
        return NULL;
    if (n >= c->left || s[n] != '\0' || memchr(s, '\0', n)) {
        c->bad = true;
        return NULL;
    }
    c->p += n + 1;
    c->left -= n + 1;
    return s;
}

static const char *get_str(struct cursor *c) {
    const char *s = get_str_or_null(c);

    if (!s)
        c->bad = true;
    return s;
}

static void get_kept(struct cursor *c, struct wire_kept *ret) {
    struct ranges ranges;

    ret->offset = get_u64(c);
    ret->total = (int64_t)get_u64(c);
    ret->etag = get_str_or_null(c);
    ret->last_modified = get_str_or_null(c);
    ret->file = get_u64(c);
    ret->source = get_u64(c);
    ret->ranges = get_str_or_null(c);
    if (ret->offset > INT64_MAX || ret->total < -1)
        c->bad = true;
    if (ret->ranges && !c->bad &&
        (ret->offset == 0 || ranges_parse(ret->ranges, ret->offset, ret->total, &ranges) < 0))
        c->bad = true;
}

static int cursor_end(const struct cursor *c) {
    return c->bad || c->left > 0 ? -EBADMSG : 0;
}

int wire_get_hello(const void *p, size_t n, struct wire_hello *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->wire_version = get_u32(&c);
    ret->program_version = get_str(&c);
    return cursor_end(&c);
}

int wire_get_config(const void *p, size_t n, struct wire_config *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->worker = get_u32(&c);
    ret->transfers = get_u32(&c);
    ret->fsync = get_u8(&c);
    ret->sync_interval_usec = get_u64(&c);
    ret->connect_timeout_usec = get_u64(&c);
    ret->low_speed_limit = get_u64(&c);
    ret->low_speed_time_usec = get_u64(&c);
    ret->max_redirects = get_u32(&c);
    ret->file_mode = get_u32(&c);
    ret->dir_mode = get_u32(&c);
    ret->store_id = get_str(&c);
    ret->min_free_space = get_u64(&c);
    ret->digest = get_str_or_null(&c);
    ret->ca_file = get_str_or_null(&c);
    ret->schemes = get_str(&c);
    ret->deny = get_str(&c);
    ret->allow = get_str(&c);
    ret->proxy = get_str_or_null(&c);
    ret->known_hosts = get_str(&c);
    ret->segment_min = get_u64(&c);
    ret->connections = get_u32(&c);
    if (ret->fsync >= FSYNC_MAX_ || ret->transfers == 0)
        c.bad = true;
    return cursor_end(&c);
}

/* Who asks, and by which way. */
static void get_access(struct cursor *c, struct wire_job *ret) {
    bool named;

    ret->auth = get_u8(c);
    ret->user = get_str_or_null(c);
    ret->secret = get_str_or_null(c);
    ret->certificate = get_str_or_null(c);
    ret->proxy = get_str_or_null(c);
    ret->proxy_user = get_str_or_null(c);
    ret->proxy_secret = get_str_or_null(c);
    named = ret->auth != WIRE_AUTH_NONE && ret->auth != WIRE_AUTH_BEARER;
    if (ret->auth >= WIRE_AUTH_MAX_ || (ret->auth != WIRE_AUTH_NONE) != (ret->secret != NULL) ||
        named != (ret->user != NULL) || !ret->proxy_user != !ret->proxy_secret)
        c->bad = true;
}

int wire_get_job(const void *p, size_t n, struct wire_job *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->attempt = get_u32(&c);
    ret->on_conflict = get_u8(&c);
    ret->maybe_published = get_bool(&c);
    ret->max_size = get_u64(&c);
    ret->timeout_usec = get_u64(&c);
    ret->deadline_usec = get_u64(&c);
    ret->rate = get_u64(&c);
    ret->host_bucket = get_u32(&c);
    ret->url = get_str(&c);
    ret->output = get_str(&c);
    ret->user_agent = get_str_or_null(&c);
    ret->referer = get_str_or_null(&c);
    ret->size = (int64_t)get_u64(&c);
    ret->max_decoded_size = get_u64(&c);
    ret->checksum = get_str_or_null(&c);
    ret->content_disposition = get_bool(&c);
    ret->if_modified = get_bool(&c);
    ret->remote_time = get_bool(&c);
    ret->compressed = get_bool(&c);
    ret->connections = get_u32(&c);
    get_kept(&c, &ret->kept);
    get_access(&c, ret);
    ret->n_headers = get_u32(&c);
    if (ret->n_headers > WIRE_HEADERS_MAX || ret->on_conflict >= CONFLICT_MAX_ || ret->id <= 0)
        return -EBADMSG;
    for (uint32_t i = 0; i < ret->n_headers; i++)
        ret->headers[i] = get_str(&c);
    return cursor_end(&c);
}

int wire_get_id(const void *p, size_t n, int64_t *ret) {
    struct cursor c = {.p = p, .left = n};

    *ret = (int64_t)get_u64(&c);
    return cursor_end(&c);
}

int wire_get_widen(const void *p, size_t n, struct wire_widen *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->n = get_u32(&c);
    return cursor_end(&c);
}

int wire_get_fetched(const void *p, size_t n, struct wire_fetched *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->error = get_u8(&c);
    ret->elsewhere = get_bool(&c);
    ret->http_status = get_u32(&c);
    ret->bytes = get_u64(&c);
    ret->retry_after_usec = get_u64(&c);
    if (ret->error >= ERR_MAX_ || ret->http_status > 999 || ret->bytes > INT64_MAX)
        c.bad = true;
    return cursor_end(&c);
}

int wire_get_widened(const void *p, size_t n, struct wire_widened *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->n = get_u32(&c);
    ret->n_mirrors = get_u32(&c);
    if (ret->n_mirrors > WIRE_MIRRORS_MAX)
        return -EBADMSG;
    for (uint32_t i = 0; i < ret->n_mirrors; i++) {
        ret->mirrors[i].url = get_str(&c);
        ret->mirrors[i].n = get_u32(&c);
    }
    return cursor_end(&c);
}

int wire_get_rate(const void *p, size_t n, struct wire_rate *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->rate = get_u64(&c);
    return cursor_end(&c);
}

int wire_get_empty(const void *p, size_t n) {
    struct cursor c = {.p = p, .left = n};

    return cursor_end(&c);
}

int wire_get_discard(const void *p, size_t n, struct wire_discard *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->output = get_str(&c);
    return cursor_end(&c);
}

int wire_get_checkpoint(const void *p, size_t n, struct wire_checkpoint *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    get_kept(&c, &ret->kept);
    return cursor_end(&c);
}

int wire_get_result(const void *p, size_t n, struct wire_result *ret) {
    struct cursor c = {.p = p, .left = n};

    ret->id = (int64_t)get_u64(&c);
    ret->outcome = get_u8(&c);
    ret->error = get_u8(&c);
    ret->transient = get_bool(&c);
    ret->elsewhere = get_bool(&c);
    ret->skipped = get_bool(&c);
    ret->not_modified = get_bool(&c);
    ret->http_status = get_u32(&c);
    ret->bytes = get_u64(&c);
    ret->size = (int64_t)get_u64(&c);
    ret->started_usec = get_u64(&c);
    ret->retry_after_usec = get_u64(&c);
    ret->output = get_str_or_null(&c);
    ret->message = get_str_or_null(&c);
    ret->effective_url = get_str_or_null(&c);
    ret->content_type = get_str_or_null(&c);
    ret->digest = get_str_or_null(&c);
    ret->body = get_str_or_null(&c);
    get_kept(&c, &ret->kept);
    if (ret->outcome >= OUTCOME_MAX_ || ret->error >= ERR_MAX_ || ret->http_status > 999 ||
        ret->bytes > INT64_MAX || ret->size < -1 ||
        (ret->outcome == OUTCOME_FAILED) != (ret->error != ERR_NONE) ||
        (ret->outcome == OUTCOME_DONE) != (ret->output != NULL) ||
        (ret->output && !path_is_safe(ret->output)))
        c.bad = true;
    return cursor_end(&c);
}

int wire_next(const void *packet, size_t n, size_t *pos, uint8_t *ret_type,
              const void **ret_payload, size_t *ret_len) {
    const char *p = (const char *)packet + *pos;
    size_t left = n - *pos;
    uint32_t len;

    if (left == 0)
        return 0;
    if (left < RECORD_HEAD)
        return -EBADMSG;
    memcpy(&len, p + 1, sizeof(len));
    if (len > left - RECORD_HEAD || len > WIRE_RECORD_MAX)
        return -EBADMSG;
    *ret_type = (uint8_t)*p;
    *ret_payload = p + RECORD_HEAD;
    *ret_len = len;
    *pos += RECORD_HEAD + len;
    return 1;
}
