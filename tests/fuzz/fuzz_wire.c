/*
 * Messages between master and worker, in both directions: what is understood is written again as
 * the same bytes. The first byte is a record's type, and the rest its payload; or it is 0, and the
 * rest a packet of records.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "common/errors.h"
#include "common/naming.h"
#include "common/wire.h"

#define RECORD_HEAD 5

/* Decodes a record and encodes it again: 0, -EBADMSG; or 1 for a type that there is none of. */
static int again_down(struct buf *b, uint8_t type, const void *p, size_t n) {
    struct wire_config config;
    struct wire_job job;
    struct wire_discard discard;
    struct wire_rate rate;
    int r;

    switch (type) {
    case WIRE_CONFIG:
        r = wire_get_config(p, n, &config);
        fuzz_check(r < 0 || (config.transfers > 0 && config.store_id && config.schemes));
        return r < 0 ? r : wire_put_config(b, &config);
    case WIRE_JOB:
        r = wire_get_job(p, n, &job);
        fuzz_check(r < 0 || (job.id > 0 && job.url && job.output && job.auth < WIRE_AUTH_MAX_ &&
                             job.n_headers <= WIRE_HEADERS_MAX));
        return r < 0 ? r : wire_put_job(b, &job);
    case WIRE_DISCARD:
        r = wire_get_discard(p, n, &discard);
        return r < 0 ? r : wire_put_discard(b, &discard);
    case WIRE_RATE:
        r = wire_get_rate(p, n, &rate);
        return r < 0 ? r : wire_put_rate(b, &rate);
    case WIRE_STOP:
        r = wire_get_empty(p, n);
        return r < 0 ? r : wire_put_stop(b);
    default:
        return 1;
    }
}

static int again_up(struct buf *b, uint8_t type, const void *p, size_t n) {
    struct wire_hello hello;
    struct wire_fetched fetched;
    struct wire_checkpoint checkpoint;
    struct wire_result result;
    int r;

    switch (type) {
    case WIRE_HELLO:
        r = wire_get_hello(p, n, &hello);
        return r < 0 ? r : wire_put_hello(b, &hello);
    case WIRE_FETCHED:
        r = wire_get_fetched(p, n, &fetched);
        fuzz_check(r < 0 || fetched.error < ERR_MAX_);
        return r < 0 ? r : wire_put_fetched(b, &fetched);
    case WIRE_CHECKPOINT:
        r = wire_get_checkpoint(p, n, &checkpoint);
        fuzz_check(r < 0 || checkpoint.kept.total >= -1);
        return r < 0 ? r : wire_put_checkpoint(b, &checkpoint);
    case WIRE_RESULT:
        r = wire_get_result(p, n, &result);
        fuzz_check(r < 0 || !result.output || path_is_safe(result.output));
        fuzz_check(r < 0 || (result.outcome < OUTCOME_MAX_ && result.error < ERR_MAX_));
        return r < 0 ? r : wire_put_result(b, &result);
    default:
        return 1;
    }
}

static int again_id(struct buf *b, uint8_t type, const void *p, size_t n) {
    int64_t id;
    int r = wire_get_id(p, n, &id);

    if (r < 0)
        return r;
    switch (type) {
    case WIRE_CANCEL:
        return wire_put_cancel(b, id);
    case WIRE_RELEASE:
        return wire_put_release(b, id);
    case WIRE_DISCARDED:
        return wire_put_discarded(b, id);
    default:
        return 1;
    }
}

static void take_record(uint8_t type, const void *payload, size_t n) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(WIRE_PACKET_MAX);
    _cleanup_free_ void *copy = fuzz_copy(payload, n);
    int r = again_down(&b, type, copy, n);

    if (r == 1)
        r = again_up(&b, type, copy, n);
    if (r == 1)
        r = again_id(&b, type, copy, n);
    fuzz_check(r == 0 || r == 1 || r == -EBADMSG || (r == -EMSGSIZE && n > WIRE_RECORD_MAX / 2));
    if (r != 0) {
        fuzz_check(buf_size(&b) == 0);
        return;
    }
    fuzz_check(buf_size(&b) == RECORD_HEAD + n && (uint8_t)buf_head(&b)[0] == type);
    fuzz_check(memcmp(buf_head(&b) + RECORD_HEAD, copy, n) == 0);
}

static void take_packet(const uint8_t *data, size_t size) {
    _cleanup_free_ uint8_t *packet = fuzz_copy(data, size);
    size_t pos = 0, before = 0, n;
    const void *payload;
    uint8_t type;
    int r;

    while ((r = wire_next(packet, size, &pos, &type, &payload, &n)) == 1) {
        fuzz_check(pos == before + RECORD_HEAD + n && pos <= size && packet[before] == type);
        before = pos;
        take_record(type, payload, n);
    }
    fuzz_check(r == 0 ? pos == size : r == -EBADMSG && pos == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t type = fuzz_byte(&data, &size);

    if (type == 0)
        take_packet(data, size);
    else
        take_record(type, data, size);
    return 0;
}
