#include "daemon/methods.h"

#include <errno.h>

#include "common/ratelimit.h"
#include "daemon/job_keys.h"
#include "daemon/params.h"

#define RATE_DEFAULT UINT64_MAX /* what is configured */

/* A rate, or RATE_DEFAULT. */
static int read_rate(const json_t *v, uint64_t *ret) {
    json_int_t n;

    if (job_integer(v, &n)) {
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

void method_set(struct request *request, const json_t *params, void *userdata) {
    static const char *const known[] = {"ids", "batch",    "tag",  "host",
                                        "all", "priority", "rate", NULL};
    const json_t *rate_given = json_object_get(params, "rate");
    struct params_error err;
    struct methods *m = userdata;
    bool jobs = params_has_choice(params);
    int64_t priority = INT64_MIN;
    uint64_t rate = 0;

    if (params_only(params, known, &err) < 0 ||
        params_int(params, "priority", -100, 100, &priority, &err) < 0)
        request_fail(request, RPC_INVALID_PARAMS, "%s", err.text);
    else if ((priority != INT64_MIN) + (rate_given != NULL) != 1)
        request_fail(request, RPC_INVALID_PARAMS,
                     "params: expected one of \"priority\" and \"rate\"");
    else if (rate_given && (read_rate(rate_given, &rate) < 0 || (jobs && rate == RATE_DEFAULT)))
        request_fail(request, RPC_INVALID_PARAMS,
                     "params.rate: expected \"none\"%s, or bytes a second from 1K to 1T, as "
                     "20000000 or \"20M\"",
                     jobs ? "" : ", \"default\"");
    else if (rate_given && jobs)
        change_rate(request, params, m, rate);
    else if (rate_given)
        set_all(request, m, rate);
    else
        change_priority(request, params, m, priority);
}
