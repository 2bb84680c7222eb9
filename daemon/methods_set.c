#include "daemon/methods.h"

#include <errno.h>
#include <inttypes.h>

#include "common/ratelimit.h"
#include "daemon/params.h"

/* A rate, or RATE_DEFAULT. */
static int read_rate(const json_t *v, uint64_t *ret) {
    json_int_t n = json_integer_value(v);

    if (json_is_integer(v)) {
        *ret = (uint64_t)n;
        return n == 0 || (n >= (json_int_t)RATE_MIN && n <= (json_int_t)RATE_MAX) ? 0 : -EINVAL;
    }
    if (!json_is_string(v))
        return -EINVAL;
    if (streq(json_string_value(v), "default")) {
        *ret = RATE_DEFAULT;
        return 0;
    }
    return rate_parse(json_string_value(v), ret);
}

void rate_to_json(struct buf *b, const struct rates *rates) {
    struct rates_info info;

    rates_now(rates, &info);
    json_begin(b, "rate", '{');
    if (info.limit)
        json_int(b, "limit", (int64_t)info.limit);
    else
        json_none(b, "limit");
    json_str(b, "by", info.set ? "set" : info.window ? "timetable" : "config");
    json_str(b, "window", info.window);
    json_time(b, "until", info.until == USEC_INFINITY ? 0 : info.until);
    json_end(b, '}');
}

static void set_all(struct request *request, struct methods *m, uint64_t rate) {
    struct buf *b;

    if (rate == RATE_DEFAULT)
        rates_reset(m->rates);
    else
        rates_set(m->rates, rate);
    b = request_reply(request);
    json_begin(b, "result", '{');
    rate_to_json(b, m->rates);
    json_end(b, '}');
    request_done(request);
}

static void set_job(struct request *request, struct methods *m, int64_t id, uint64_t rate) {
    int r = dispatch_set_rate(m->dispatch, id, rate, &rate);
    struct buf *b;

    if (r == -ENOENT) {
        request_fail(request, RPC_NOT_FOUND, "job %" PRId64 " is not active", id);
        return;
    }
    if (r < 0) {
        request_fail_memory(request);
        return;
    }
    b = request_reply(request);
    json_begin(b, "result", '{');
    json_int(b, "id", id);
    if (rate)
        json_int(b, "rate", (int64_t)rate);
    else
        json_none(b, "rate");
    json_end(b, '}');
    request_done(request);
}

void method_set(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"id", "rate", NULL};
    struct params_error err;
    struct methods *m = userdata;
    uint64_t rate;
    int64_t id = 0;

    if (params_only(params, known, &err) < 0 ||
        params_int(params, "id", 1, INT64_MAX, &id, &err) < 0)
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
    else if (read_rate(json_object_get(params, "rate"), &rate) < 0)
        request_fail(request, RPC_INVALID_PARAMS,
                     "params.rate: expected \"none\", \"default\", or bytes a second from 1K to "
                     "1T, as 20000000 or \"20M\"");
    else if (id)
        set_job(request, m, id, rate);
    else
        set_all(request, m, rate);
}
