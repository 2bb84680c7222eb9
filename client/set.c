#include "client/dlctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/connect.h"
#include "client/format.h"
#include "client/options.h"
#include "client/print.h"
#include "common/exitcode.h"

/* What can be set: KEY=VALUE. */
struct setting {
    const char *key;
    bool (*valid)(const char *value);
    const char *expected;
    bool of_all; /* also without a job */
};

static bool rate_is_valid(const char *value) {
    uint64_t n;

    return streq(value, "none") || streq(value, "default") || parse_size(value, &n) == 0;
}

static const struct setting settings[] = {
    {"rate", rate_is_valid, "bytes a second, as 20M, or none, or default", true},
};

#define SETTINGS_MAX ELEMENTSOF(settings)

/* The words of one command line. */
struct words {
    int64_t ids[DLCTL_MAX_IDS];
    size_t n_ids;
    const char *values[SETTINGS_MAX]; /* by setting, NULL: not given */
    size_t n_values;
};

static int take_setting(struct words *w, const char *word, const char *equals) {
    const char *names[SETTINGS_MAX + 1] = {NULL};
    size_t n = (size_t)(equals - word), i = 0;

    for (; i < SETTINGS_MAX; i++) {
        names[i] = settings[i].key;
        if (strlen(settings[i].key) == n && memcmp(settings[i].key, word, n) == 0)
            break;
    }
    if (i == SETTINGS_MAX) {
        const char *near;
        _cleanup_free_ char *name = strndup(word, n);

        near = name ? nearest(name, names) : NULL;
        complain("'%s': %s%s; see dlctl set --help", word,
                 near ? "unknown; did you mean " : "there is nothing of that name to be set",
                 near ? near : "");
        return -EINVAL;
    }
    if (!settings[i].valid(equals + 1)) {
        complain("'%s': expected %s", word, settings[i].expected);
        return -EINVAL;
    }
    w->n_values += w->values[i] == NULL;
    w->values[i] = equals + 1;
    return 0;
}

static int take_words(struct words *w, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        int r;

        if (!equals && w->n_ids == DLCTL_MAX_IDS) {
            complain("more than %d jobs", DLCTL_MAX_IDS);
            return -EINVAL;
        }
        r = equals ? take_setting(w, argv[i], equals) : options_ids(1, argv + i, &w->ids[w->n_ids]);
        if (r < 0)
            return r;
        w->n_ids += !equals;
    }
    if (w->n_values == 0) {
        complain("nothing is given to be set; see dlctl set --help");
        return -EINVAL;
    }
    for (size_t i = 0; w->n_ids == 0 && i < SETTINGS_MAX; i++)
        if (w->values[i] && !settings[i].of_all) {
            complain("%s= needs a job", settings[i].key);
            return -EINVAL;
        }
    return 0;
}

/* "Job 41: 1.0 MB/s." or "2.0 MB/s for all." */
static void report(const struct dlctl *c, int64_t id, const json_t *result) {
    const json_t *rate = json_object_get(result, "rate");
    char text[FORMAT_MAX];
    int64_t n = json_is_object(rate) ? get_int(rate, "limit", 0) : get_int(result, "rate", 0);

    if (c->json) {
        print_json(result);
        return;
    }
    if (id)
        printf("Job %" PRId64 ": ", id);
    else
        printf("All transfers together: ");
    if (n > 0)
        printf("%s/s.\n", format_bytes((uint64_t)n, text));
    else
        printf("no limit.\n");
}

/* id 0: for all. */
static int set_one(struct dlctl *c, struct rpc *rpc, const struct words *w, int64_t id) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    json_t *result = NULL;
    int r;

    json_begin(&b, NULL, '{');
    if (id)
        json_int(&b, "id", id);
    for (size_t i = 0; i < SETTINGS_MAX; i++)
        if (w->values[i])
            json_str(&b, settings[i].key, w->values[i]);
    r = client_call(c, rpc, "set", &b, &result);
    rpc_close(rpc);
    if (r != 0)
        return r;
    report(c, id, result);
    json_decref(result);
    return DLCTL_OK;
}

int verb_set(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "set", "[ID...] rate=RATE",
        "Change what jobs, or all transfers together, may take: RATE is bytes a second, as 20M,\n"
        "or none, or default (what the job, or the configuration, says). It holds at once; for\n"
        "jobs until their attempt ends, for all until the daemon does.\n"};
    const struct option_spec specs[] = {{0}};
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_free_ struct words *w = calloc(1, sizeof(*w));
    int r, worst = DLCTL_OK;

    if (!w)
        return complain_memory();
    r = options_parse(c, &usage, specs, &argc, argv);
    if (r == 0)
        r = take_words(w, argc, argv);
    if (r != 0)
        return options_status(r);
    for (size_t i = 0; i < MAX(w->n_ids, (size_t)1); i++) {
        r = set_one(c, &rpc, w, w->n_ids > 0 ? w->ids[i] : 0);
        worst = MAX(worst, r);
        if (r > DLCTL_JOB_FAILED)
            break;
    }
    print_flush();
    return worst;
}
