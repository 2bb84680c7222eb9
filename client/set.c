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
    bool of_all; /* also of no job in particular */
};

static bool rate_is_valid(const char *value) {
    uint64_t n;

    return streq(value, "none") || streq(value, "default") || parse_size(value, &n) == 0;
}

static bool priority_is_valid(const char *value) {
    uint64_t n;

    return parse_u64(value + (*value == '-'), &n) == 0 && n <= 100;
}

static const struct setting settings[] = {
    {"rate", rate_is_valid, "bytes a second, as 20M, or none, or default", true},
    {"priority", priority_is_valid, "a number from -100 to 100", false},
};

/* One KEY=VALUE of the command line. */
struct value {
    const struct setting *setting;
    const char *text;
};

static int setting_find(const char *word, size_t n, const struct setting **ret) {
    const char *names[ELEMENTSOF(settings) + 1] = {NULL}, *near;
    _cleanup_free_ char *name = strndup(word, n);

    for (size_t i = 0; i < ELEMENTSOF(settings); i++) {
        names[i] = settings[i].key;
        if (name && streq(settings[i].key, name)) {
            *ret = &settings[i];
            return 0;
        }
    }
    near = name ? nearest(name, names) : NULL;
    complain("'%s': %s%s; see dlctl set --help", word,
             near ? "unknown; did you mean " : "there is nothing of that name to be set",
             near ? near : "");
    return -EINVAL;
}

static int value_read(const char *word, struct value *ret) {
    const char *equals = strchr(word, '=');
    int r = setting_find(word, (size_t)(equals - word), &ret->setting);

    if (r < 0)
        return r;
    ret->text = equals + 1;
    if (ret->setting->valid(ret->text))
        return 0;
    complain("'%s': expected %s", word, ret->setting->expected);
    return -EINVAL;
}

/* Takes KEY=VALUE out of the words; what stays are IDs. */
static int values_take(int *argc, char **argv, struct value *ret, size_t *ret_n) {
    int left = 0;

    for (int i = 0; i < *argc; i++) {
        if (!strchr(argv[i], '=')) {
            argv[left++] = argv[i];
            continue;
        }
        if (*ret_n == ELEMENTSOF(settings)) {
            complain("'%s': something is set twice", argv[i]);
            return -EINVAL;
        }
        if (value_read(argv[i], &ret[*ret_n]) < 0)
            return -EINVAL;
        ++*ret_n;
    }
    *argc = left;
    if (*ret_n > 0)
        return 0;
    complain("nothing is given to be set; see dlctl set --help");
    return -EINVAL;
}

/* "Changed 3 jobs.", or "All transfers together: 2.0 MB/s." */
static int report(const struct dlctl *c, const json_t *result) {
    const json_t *rate = json_object_get(result, "rate"), *id;
    int64_t n = get_int(result, "changed", 0), limit = get_int(rate, "limit", 0);
    const json_t *missing = json_object_get(result, "missing");
    const json_t *ended = json_object_get(result, "ended");
    char text[FORMAT_MAX];
    size_t i;

    if (c->json)
        print_json(result);
    else if (!rate)
        printf("Changed %" PRId64 " job%s.\n", n, n == 1 ? "" : "s");
    else if (limit > 0)
        printf("All transfers together: %s/s.\n", format_bytes((uint64_t)limit, text));
    else
        printf("All transfers together: no limit.\n");
    print_flush();
    json_array_foreach(missing, i, id)
        complain("job %" JSON_INTEGER_FORMAT " does not exist", json_integer_value(id));
    json_array_foreach(ended, i, id)
        complain("job %" JSON_INTEGER_FORMAT " had ended already", json_integer_value(id));
    return json_array_size(missing) + json_array_size(ended) > 0 ? DLCTL_JOB_FAILED : DLCTL_OK;
}

/* jobs NULL: for all transfers together. */
static int set_one(struct dlctl *c, const struct value *value, const struct selection *jobs) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(MIB);
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    json_t *result = NULL;
    int r;

    json_begin(&b, NULL, '{');
    if (jobs)
        selection_to_json(&b, jobs);
    if (streq(value->setting->key, "priority"))
        json_int(&b, value->setting->key, strtol(value->text, NULL, 10));
    else
        json_str(&b, value->setting->key, value->text);
    r = client_call(c, &rpc, "set", &b, &result);
    if (r != 0)
        return r;
    r = report(c, result);
    json_decref(result);
    return r;
}

static bool names_jobs(int argc, const struct selection *jobs) {
    return argc > 0 || jobs->batch > 0 || jobs->tag || jobs->host || jobs->all;
}

int verb_set(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "set", "[ID... | OPTION] KEY=VALUE...",
        "Change jobs that have not ended, at once:\n"
        "  rate=RATE       what each may take: bytes a second, as 20M, or none\n"
        "  priority=N      -100 to 100, their place in the queue\n"
        "Without jobs rate= is the limit of all transfers together, until the daemon starts\n"
        "again; default makes it what the configuration says.\n"};
    _cleanup_(selection_done) struct selection jobs = {0};
    const struct option_spec specs[] = {
        {"--batch", OPTION_NUMBER, &jobs.batch, "B", "the jobs of batch B"},
        {"--tag", OPTION_TEXT, &jobs.tag, "T", "those with this tag"},
        {"--host", OPTION_TEXT, &jobs.host, "H:P", "those for this host and port"},
        {"--all", OPTION_FLAG, &jobs.all, NULL, "all jobs that have not ended"},
        {0},
    };
    struct value values[ELEMENTSOF(settings)];
    size_t n = 0;
    int worst = DLCTL_OK, r = options_parse(c, &usage, specs, &argc, argv);
    bool some;

    if (r == 0)
        r = values_take(&argc, argv, values, &n);
    some = r == 0 && names_jobs(argc, &jobs);
    if (some)
        r = selection_make("set", argc, argv, &jobs);
    for (size_t i = 0; r == 0 && i < n && !some; i++)
        if (!values[i].setting->of_all) {
            complain("%s= needs to be told which jobs; see dlctl set --help",
                     values[i].setting->key);
            r = -EINVAL;
        }
    if (r != 0)
        return options_status(r);
    for (size_t i = 0; i < n && worst <= DLCTL_JOB_FAILED; i++) {
        r = set_one(c, &values[i], some ? &jobs : NULL);
        worst = MAX(worst, r);
    }
    return worst;
}
