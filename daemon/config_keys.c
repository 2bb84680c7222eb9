#include "daemon/config_keys.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <syslog.h>

#include "common/paths.h"
#include "common/util.h"
#include "common/wire.h"
#include "daemon/config_network.h"
#include "daemon/config_rate.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC
#define MINUTE (60 * SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static const struct config_choice fsync_choices[] = {
    {"batch", FSYNC_BATCH}, {"always", FSYNC_ALWAYS}, {"never", FSYNC_NEVER}, {NULL, 0}};

static const struct config_choice level_choices[] = {
    {"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
    {"info", LOG_INFO}, {"debug", LOG_DEBUG},     {NULL, 0}};

/* By value; the names of job_checksum.c. */
static const struct config_choice digest_choices[] = {{"none", 0},  {"sha-256", 1}, {"sha-512", 2},
                                                      {"sha-1", 3}, {"md5", 4},     {NULL, 0}};

const char *config_digest_name(unsigned value) {
    return value > 0 && value < ELEMENTSOF(digest_choices) ? digest_choices[value].name : NULL;
}

#define KEY(s, n, t)                                                                               \
    .section = #s, .name = #n, .type = CONFIG_##t, .offset = offsetof(struct config, s.n)

/* clang-format off */
const struct config_key config_keys[] = {
    {KEY(master, workers, COUNT), .min = 0, .max = 256, .standard = "0",
     .help = "Worker processes. 0: one for each core that dld may run on."},
    {KEY(master, stop_grace, DURATION), .min = 0, .max = 10 * MINUTE, .standard = "10s",
     .help = "How long transfers under way get to come to their end when dld stops, or replaces "
             "their worker; then they are broken off, and what they have is kept. 0s: at once."},
    {KEY(master, crash_limit, COUNT), .min = 1, .max = 100, .standard = "3",
     .help = "A job that was in the hands of this many workers as they crashed fails, as `crash`."},

    {KEY(worker, transfers, COUNT), .min = 1, .max = 1024, .standard = "16",
     .help = "Transfers that each worker runs at once."},
    {KEY(worker, max_jobs, COUNT), .min = 0, .max = 1000000000, .standard = "0",
     .help = "A worker that has served so many jobs is replaced, without a break. 0: never for "
             "that."},
    {KEY(worker, max_rss, SIZE), .min = 0, .max = KIB * KIB * MIB, .standard = "1G",
     .help = "A worker that has come to use more memory is replaced likewise. 0: never for that."},
    {KEY(worker, hang_time, DURATION), .min = 1 * SEC, .max = 1 * HOUR, .standard = "1min",
     .help = "A worker that shows no life for so long though it has jobs is killed and replaced. "
             "After half of it there is a warning in the log, with the job that it is at."},

    {KEY(output, root, PATH), .fixed = true, .standard = "/var/lib/dld/downloads",
     .standard_user = "~/Downloads/dld",
     .help = "The directory that all files go beneath. (~/Downloads/dld for a user's own daemon.)"},
    {KEY(output, mode, MODE), .min = 0600, .max = 0777, .standard = "0644",
     .help = "Permissions of downloaded files."},
    {KEY(output, dir_mode, MODE), .min = 0700, .max = 0777, .standard = "0755",
     .help = "Permissions of directories made for them."},

    {KEY(transfer, fsync, CHOICE), .choices = fsync_choices, .standard = "batch",
     .help = "When a finished file is forced to the disk. batch: before its job is called done, "
             "many files together. always: each by itself. never: when the kernel likes, and a "
             "power cut may leave files empty whose jobs are done."},
    {KEY(transfer, sync_interval, DURATION), .min = 1 * MSEC, .max = 10 * SEC, .standard = "100ms",
     .help = "With fsync = batch: the longest that a finished file waits for others to be synced "
             "with."},
    {KEY(transfer, min_free_space, SIZE), .min = 0, .max = KIB * KIB * MIB, .standard = "64M",
     .help = "What downloads leave free of the file system they go to. A job whose file would take "
             "more waits, as `no-space`, until there is room. 0: they may fill it."},
    {KEY(transfer, connect_timeout, DURATION), .min = 1 * MSEC, .max = 1 * HOUR, .standard = "30s",
     .help = "The longest that name lookup, connection and TLS may take together."},
    {KEY(transfer, low_speed_limit, SIZE), .min = 1, .max = KIB * MIB, .standard = "1",
     .help = "Bytes a second. A transfer slower than this for low_speed_time is broken off, as "
             "`stalled`, and tried again. So is one that says nothing for as long: after the "
             "connection is made, after the headers, or in mid-body."},
    {KEY(transfer, low_speed_time, DURATION), .min = 1 * SEC, .max = 1 * DAY, .standard = "60s",
     .help = "See low_speed_limit."},
    {KEY(transfer, max_redirects, COUNT), .min = 0, .max = 100, .standard = "20",
     .help = "Redirects followed for one job. 0: none, a redirect is an error."},
    {KEY(transfer, digest, CHOICE), .choices = digest_choices, .standard = "none",
     .help = "The digest that is made of every file and recorded with its job. none: only where a "
             "job asks for a checksum."},
    {KEY(transfer, ca_file, CA_FILE), .standard = "",
     .help = "A file of certificates (PEM) to trust for https, instead of those that the system "
             "trusts."},
    {KEY(transfer, segment_min, SIZE), .min = 1 * MIB, .max = KIB * KIB * MIB, .standard = "64M",
     .help = "A file of at least so many bytes is fetched over several connections at once, where "
             "its server sends parts of it and the host has connections to spare."},
    {KEY(transfer, connections, COUNT), .min = 1, .max = 16, .standard = "4",
     .help = "How many connections such a file may have, unless its job says so itself "
             "(`connections`). 1: no file has more."},

    {KEY(transfer, known_hosts, PATH), .standard = "/etc/ssh/ssh_known_hosts",
     .standard_user = "~/.ssh/known_hosts",
     .help = "The file of host keys, in OpenSSH's form, that SFTP servers are known by. Nothing is "
             "fetched from one whose key it doesn't have. (~/.ssh/known_hosts for a user's own "
             "daemon.)"},

    {KEY(retry, count, COUNT), .min = 0, .max = 1000, .standard = "5",
     .help = "How often a job is tried again after an error that may pass, unless it says itself "
             "(`retries`)."},
    {KEY(retry, base, DURATION), .min = 1 * MSEC, .max = 1 * DAY, .standard = "1s",
     .help = "Wait before the first retry. It doubles with each, and up to half of it is taken off "
             "at random."},
    {KEY(retry, max, DURATION), .min = 1 * MSEC, .max = 7 * DAY, .standard = "5min",
     .help = "The longest wait, also where base is longer."},

    {KEY(host, connections, COUNT), .min = 1, .max = 4096, .standard = "8",
     .help = "Transfers at once from one host (name and port), over all workers. This and the "
             "following are for each host; for some alone they stand in a section as "
             "[host \"*.example.com\"], of which the last that fits counts."},
    {KEY(host, delay, DURATION), .min = 0, .max = 1 * HOUR, .standard = "0s",
     .help = "The least time between the starts of two transfers from one host."},
    {KEY(host, rate, RATE), .standard = "none",
     .help = "Bytes a second that all transfers from one host may take together."},

    {KEY(rate, limit, RATE), .standard = "none",
     .help = "Bytes a second that all transfers may take together. Other limits for some hours "
             "stand in sections as [rate \"night\"], with the keys from, to, limit and days "
             "(dld.conf(5)); `dlctl set rate=20M` beats both until dld is started again."},

    {KEY(network, deny, NETWORKS),
     .standard = "169.254.0.0/16 fe80::/10 0.0.0.0/8 ::/128 224.0.0.0/4 ff00::/8 "
                 "255.255.255.255/32",
     .help = "Networks to whose addresses no connection is made, redirects included; a job that "
             "leads there fails, as `denied-address`. What is given replaces the default, which "
             "permits loopback and private networks: where strangers choose URLs, deny these as "
             "well (dld.conf(5) has the list)."},
    {KEY(network, allow, NETWORKS), .standard = "",
     .help = "Networks to whose addresses connections are made though deny has them."},
    {KEY(network, schemes, SCHEMES), .standard = "http https ftp ftps sftp",
     .help = "Schemes that a job's URL may have. A redirect leads to http or https alone, if they "
             "are among these."},
    {KEY(network, proxy, PROXY), .standard = "",
     .help = "The proxy through which everything is fetched. It resolves the names, so that deny "
             "judges only addresses written in URLs. A job may name another one."},
    {KEY(network, proxy_auth, CREDENTIAL), .standard = "",
     .help = "The credential for that proxy, whose first line is user:password."},

    {KEY(credentials, dir, PATH), .standard = "/etc/dld/credentials",
     .standard_user = "~/.config/dld/credentials",
     .help = "The directory of the files that hold passwords, tokens, certificates and keys, which "
             "jobs name. Where systemd gives a directory (LoadCredential=), it is the default. "
             "(~/.config/dld/credentials for a user's own daemon.)"},

    {KEY(quota, jobs, COUNT), .min = 0, .max = 4000000000, .standard = "0",
     .help = "Jobs of one user, but for root, that have not ended, at most; what would make more "
             "is refused whole. 0: any number."},

    {KEY(history, keep, KEEP), .standard = "90d 1000000",
     .help = "What is kept of jobs that have ended: for how long, and how many at most. The oldest "
             "are forgotten first, little by little. all: everything, until dlctl purge."},

    {KEY(control, mode, MODE), .fixed = true, .min = 0600, .max = 0666, .standard = "0660",
     .standard_user = "0600",
     .help = "Permissions of the control socket, where dld makes it; under systemd dld.socket "
             "does. Whoever may write to it may do everything. (0600 for a user's own daemon.)"},
    {KEY(control, group, GROUP), .fixed = true, .standard = "",
     .help = "Group of the control socket, where dld makes it. Empty: the group that dld runs as."},
    {KEY(control, max_line, SIZE), .min = 3 * MIB, .max = 64 * MIB, .standard = "4M",
     .help = "The longest request that a client may send. dlctl sends a job and the defaults of its "
             "file, of up to 1 MiB each, in one."},

    {KEY(log, level, CHOICE), .choices = level_choices, .standard = "notice",
     .help = "The least urgent messages that are logged."},
};
/* clang-format on */

const size_t config_n_keys = ELEMENTSOF(config_keys);
_Static_assert(ELEMENTSOF(config_keys) <= CONFIG_KEYS_MAX, "raise CONFIG_KEYS_MAX");

const struct config_key *config_key_find(const char *section, const char *name) {
    for (size_t i = 0; i < config_n_keys; i++)
        if (streq(config_keys[i].section, section) && streq(config_keys[i].name, name))
            return &config_keys[i];
    return NULL;
}

/* In the largest unit that leaves no fraction. */
static void buf_add_duration(struct buf *b, uint64_t usec) {
    static const struct {
        uint64_t usec;
        const char *name;
    } units[] = {{DAY, "d"}, {HOUR, "h"}, {MINUTE, "min"}, {SEC, "s"}, {MSEC, "ms"}, {1, "us"}};
    size_t i = 0;

    if (usec == 0) {
        buf_adds(b, "0s");
        return;
    }
    while (usec % units[i].usec != 0)
        i++;
    buf_addf(b, "%" PRIu64 "%s", usec / units[i].usec, units[i].name);
}

static void buf_add_size(struct buf *b, uint64_t bytes) {
    const char *units = "\0KMGT";
    unsigned i = 0;

    for (; bytes > 0 && bytes % KIB == 0 && i < 4; i++)
        bytes /= KIB;
    buf_addf(b, "%" PRIu64 "%.1s", bytes, units + i);
}

static void describe_choices(const struct config_choice *choices, struct buf *b) {
    for (; choices->name; choices++) {
        buf_adds(b, choices->name);
        if (choices[1].name)
            buf_adds(b, choices[2].name ? ", " : " or ");
    }
}

/* "1ms and 1d" */
static void describe_limits(const struct config_key *k, const char *between, struct buf *b) {
    void (*add)(struct buf *, uint64_t) =
        k->type == CONFIG_DURATION ? buf_add_duration : buf_add_size;

    add(b, k->min);
    buf_adds(b, between);
    add(b, k->max);
}

void config_key_describe(const struct config_key *k, struct buf *b) {
    if (config_rate_describe(k->type, b))
        return;
    switch (k->type) {
    case CONFIG_COUNT:
        buf_addf(b, "a number from %" PRIu64 " to %" PRIu64, k->min, k->max);
        break;
    case CONFIG_DURATION:
        buf_adds(b, "a duration (us, ms, s, min, h, d) from ");
        describe_limits(k, " to ", b);
        break;
    case CONFIG_SIZE:
        buf_adds(b, "a size (bytes, or with K, M, G, T) from ");
        describe_limits(k, " to ", b);
        break;
    case CONFIG_MODE:
        buf_addf(b, "an octal mode with at least %04" PRIo64 " and at most %04" PRIo64, k->min,
                 k->max);
        break;
    case CONFIG_CHOICE:
        describe_choices(k->choices, b);
        break;
    case CONFIG_KEEP:
        buf_adds(b, "a duration (s, min, h, d), a number of jobs, or both; or all");
        break;
    case CONFIG_PATH:
        buf_adds(b, "an absolute path, or one that starts with ~/");
        break;
    case CONFIG_GROUP:
        buf_adds(b, "the name of a group, or nothing");
        break;
    default:
        config_network_describe(k->type, b);
    }
}

/* Why a duration or a size was refused. */
static int refuse_unit(const struct config_key *k, const char *value, int error, struct buf *why) {
    bool duration = k->type == CONFIG_DURATION;

    if (error == -EINVAL)
        buf_addf(why, "\"%s\" is not a %s; write a number %s, between ", value,
                 duration ? "duration" : "size",
                 duration ? "with us, ms, s, min, h or d" : "of bytes, or with K, M, G or T");
    else
        buf_addf(why, "\"%s\" is out of range; write a %s between ", value,
                 duration ? "duration" : "size");
    describe_limits(k, " and ", why);
    return -EINVAL;
}

static int refuse(const struct config_key *k, const char *value, struct buf *why) {
    buf_adds(why, "expected ");
    config_key_describe(k, why);
    buf_addf(why, ", not \"%s\"", value);
    return -EINVAL;
}

static int read_unit(const struct config_key *k, const char *value, uint64_t *ret,
                     struct buf *why) {
    uint64_t n = 0;
    int r = k->type == CONFIG_DURATION ? parse_duration(value, &n) : parse_size(value, &n);

    if (r == 0 && (n < k->min || n > k->max))
        r = -ERANGE;
    if (r < 0)
        return refuse_unit(k, value, r, why);
    *ret = n;
    return 0;
}

/* -EINVAL unless all of s is octal digits, at most five of them. */
static int parse_mode(const char *s, uint64_t *ret) {
    size_t n = strlen(s);

    if (n == 0 || n > 5 || strspn(s, "01234567") != n)
        return -EINVAL;
    *ret = strtoul(s, NULL, 8);
    return 0;
}

static int parse_choice(const struct config_choice *choices, const char *s, uint64_t *ret) {
    for (; choices->name; choices++)
        if (streq(choices->name, s)) {
            *ret = choices->value;
            return 0;
        }
    return -EINVAL;
}

static int read_unsigned(const struct config_key *k, const char *value, unsigned *ret,
                         struct buf *why) {
    uint64_t n = 0;
    int r;

    if (k->type == CONFIG_CLOCK || k->type == CONFIG_DAYS) {
        r = config_rate_read(k->type, value, &n);
    } else if (k->type == CONFIG_CHOICE) {
        r = parse_choice(k->choices, value, &n);
    } else if (k->type == CONFIG_MODE) {
        r = parse_mode(value, &n);
        if (r == 0 && ((n & k->min) != k->min || (n & ~k->max) != 0))
            r = -EINVAL;
    } else {
        r = parse_u64(value, &n);
        if (r == 0 && (n < k->min || n > k->max))
            r = -EINVAL;
    }
    if (r < 0)
        return refuse(k, value, why);
    *ret = (unsigned)n;
    return 0;
}

/* Its words in any order: each is a number, or with a unit a duration. */
static int read_keep(const struct config_key *k, const char *value, struct config_keep *ret,
                     struct buf *why) {
    struct config_keep keep = {0};
    char word[64];
    int used;

    for (const char *s = value; sscanf(s, " %63s%n", word, &used) == 1; s += used) {
        uint64_t n = 0;
        bool number = parse_u64(word, &n) == 0;
        uint64_t *field = number ? &keep.count : &keep.age;

        if (streq(word, "all") && streq(value, word)) {
            *ret = keep;
            return 0;
        }
        if (*field > 0 || (!number && parse_duration(word, &n) < 0) || n == 0)
            return refuse(k, value, why);
        *field = n;
    }
    if (keep.age == 0 && keep.count == 0)
        return refuse(k, value, why);
    *ret = keep;
    return 0;
}

static int read_string(const struct config_key *k, const char *value, char **ret, struct buf *why) {
    if (k->type == CONFIG_PATH && !*value)
        return refuse(k, value, why);
    if (k->type == CONFIG_GROUP && *value && !getgrnam(value)) {
        buf_addf(why, "there is no group \"%s\" on this system", value);
        return -EINVAL;
    }
    if (value[0] == '~' && value[1] == '/') {
        int r = path_absolute(value, ret);
        if (r == -ENXIO) {
            buf_addf(why, "no home directory is known for \"%s\"; set HOME", value);
            return -EINVAL;
        }
        return r;
    }
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

int config_key_set(const struct config_key *k, const char *value, void *c,
                   struct buf *why) {
    void *field = (char *)c + k->offset;

    if (k->type == CONFIG_RATE)
        return config_rate_read(k->type, value, field) < 0 ? refuse(k, value, why) : 0;
    if (k->type == CONFIG_DURATION || k->type == CONFIG_SIZE)
        return read_unit(k, value, field, why);
    if (k->type == CONFIG_KEEP)
        return read_keep(k, value, field, why);
    if (k->type < CONFIG_PATH)
        return read_unsigned(k, value, field, why);

    char *s = NULL;
    int r = read_string(k, value, &s, why);
    if (r == 0)
        r = config_network_check(k->type, s, why);
    if (r < 0) {
        free(s);
        return r;
    }
    free(*(char **)field);
    *(char **)field = s;
    return 0;
}

void config_error(struct config_errors *e, const char *fmt, ...) {
    va_list ap;

    e->count++;
    if (e->count == CONFIG_ERRORS_MAX + 1)
        fprintf(e->err, "dld: there are more errors than these\n");
    if (e->count > CONFIG_ERRORS_MAX)
        return;
    fprintf(e->err, "dld: ");
    va_start(ap, fmt);
    vfprintf(e->err, fmt, ap);
    va_end(ap);
    fprintf(e->err, "\n");
}

void config_key_assign(const struct config_key *k, const char *value, void *c,
                       const char *place, struct config_errors *e) {
    _cleanup_(buf_done) struct buf why = BUF_INIT(64 * KIB);
    int r = config_key_set(k, value, c, &why);

    if (r == -EINVAL) {
        const char *text = buf_cstr(&why);
        config_error(e, "%s: %s", place, text ? text : "invalid value");
    } else if (r < 0) {
        config_error(e, "%s: %s", place, strerror(-r));
    }
}
