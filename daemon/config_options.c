#include "daemon/config_options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "common/util.h"

#define NAME_SIZE 64 /* of "section.key" */

enum {
    OPTION_CONFIG = 256,
    OPTION_STATE_DIR,
    OPTION_OUTPUT_ROOT,
    OPTION_SOCKET,
    OPTION_WORKERS,
    OPTION_SET,
    OPTION_PRINT_CONFIG,
    OPTION_CHECK_CONFIG,
    OPTION_CHECK_QUEUE,
    OPTION_RECOVER,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option options[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"state-dir", required_argument, NULL, OPTION_STATE_DIR},
    {"output-root", required_argument, NULL, OPTION_OUTPUT_ROOT},
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"set", required_argument, NULL, OPTION_SET},
    {"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
    {"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
    {"check-queue", no_argument, NULL, OPTION_CHECK_QUEUE},
    {"recover", no_argument, NULL, OPTION_RECOVER},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

/* An option that is applied after files and environment. */
struct config_setting {
    int option;
    const char *value;
};

static const char usage[] =
    "Usage: dld [OPTION]...\n"
    "The download daemon. It runs in the foreground and takes jobs from dlctl(1).\n"
    "\n"
    "  --config FILE             read FILE and FILE.d/*.conf instead of the default dld.conf\n"
    "  --state-dir DIR           keep the queue in DIR\n"
    "  --output-root DIR         put files beneath DIR (--set output.root=DIR)\n"
    "  --socket PATH             listen at PATH\n"
    "  --workers N               run N workers (--set master.workers=N)\n"
    "  --set SECTION.KEY=VALUE   set any key of dld.conf(5)\n"
    "  --print-config            print the documented default dld.conf\n"
    "  --check-config            read all of the configuration and say what is wrong with it\n"
    "  --check-queue             check all of a queue that no dld uses, and exit\n"
    "  --recover                 make a new queue of what can be read of a damaged one, and exit\n"
    "  --help, --version\n"
    "\n"
    "The command line beats DLD_* in the environment, which beats dld.conf. See dld(8).\n";

static void option_unknown(struct config_errors *e, const char *arg) {
    const char *names[ELEMENTSOF(options)];
    const char *meant;

    for (size_t i = 0; i < ELEMENTSOF(options); i++)
        names[i] = options[i].name;
    meant = strncmp(arg, "--", 2) == 0 ? nearest(arg + 2, names) : NULL;
    if (meant)
        config_error(e, "%s: unknown option; did you mean --%s?", arg, meant);
    else
        config_error(e, "%s: unknown option; see dld --help", arg);
}

/* What getopt_long() refused: the option's name is known but for its argument, or it isn't. */
static void option_refused(struct config_errors *e, int option, const char *arg) {
    if (option == ':')
        config_error(e, "%s: an argument is missing; see dld --help", arg);
    else if (optopt >= OPTION_CONFIG)
        config_error(e, "%s: this option takes no argument", arg);
    else
        option_unknown(e, arg);
}

/* Does what an option asks for at once, or keeps it for later. 0: go on, 1: done. */
static int option_take(struct config_options *o, int option, FILE *out) {
    switch (option) {
    case OPTION_HELP:
        fputs(usage, out);
        return 1;
    case OPTION_VERSION:
        fputs("dld " DLD_VERSION "\n", out);
        return 1;
    case OPTION_PRINT_CONFIG:
        config_print(out);
        return 1;
    case OPTION_CHECK_CONFIG:
        o->check = true;
        break;
    case OPTION_CHECK_QUEUE:
        o->task = CONFIG_CHECK_QUEUE;
        break;
    case OPTION_RECOVER:
        o->task = CONFIG_RECOVER;
        break;
    case OPTION_CONFIG:
        o->file = optarg;
        break;
    case OPTION_SOCKET:
        o->socket = optarg;
        break;
    case OPTION_STATE_DIR:
        o->state_dir = optarg;
        break;
    default:
        o->settings[o->n_settings++] = (struct config_setting){option, optarg};
        break;
    }
    return 0;
}

int config_options_read(struct config_options *ret, int argc, char **argv, FILE *out,
                        struct config_errors *e) {
    int option;

    ret->settings = calloc((size_t)argc + 1, sizeof(*ret->settings));
    if (!ret->settings)
        return -ENOMEM;
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    while (true) {
        int at = optind > 0 ? optind : 1;

        option = getopt_long(argc, argv, "+:", options, NULL);
        if (option < 0)
            break;
        if (option == '?' || option == ':')
            option_refused(e, option, argv[at]);
        else if (option_take(ret, option, out) == 1)
            return 1;
    }
    if (optind < argc)
        config_error(e, "%s: unexpected argument; see dld --help", argv[optind]);
    return 0;
}

static void setting_unknown(const char *setting, const char *name, const char *const *names,
                            struct config_errors *e) {
    const char *meant = nearest(name, names);

    if (meant)
        config_error(e, "--set %s: unknown key; did you mean %s?", setting, meant);
    else
        config_error(e, "--set %s: unknown key; dld.conf(5) lists them", setting);
}

/* "section.key=value" */
static void setting_apply(const char *setting, struct config *c, struct config_errors *e) {
    const char *dot = strchr(setting, '.'), *equals = strchr(setting, '=');
    const char *names[CONFIG_KEYS_MAX + 1];
    char known[CONFIG_KEYS_MAX][NAME_SIZE];
    _cleanup_free_ char *place = NULL;
    char name[NAME_SIZE];
    size_t i;

    if (!dot || !equals || dot > equals) {
        config_error(e, "--set %s: expected section.key=value, as retry.base=2s", setting);
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)MIN(equals - setting, NAME_SIZE), setting);
    for (i = 0; i < config_n_keys; i++) {
        snprintf(known[i], NAME_SIZE, "%s.%s", config_keys[i].section, config_keys[i].name);
        if (streq(known[i], name))
            break;
        names[i] = known[i];
    }
    names[i] = NULL;
    if (i == config_n_keys) {
        setting_unknown(setting, name, names, e);
    } else if (asprintf(&place, "--set %s", setting) < 0) {
        place = NULL;
        config_error(e, "--set: %s", strerror(ENOMEM));
    } else {
        config_key_assign(&config_keys[i], equals + 1, c, place, e);
    }
}

void config_options_apply(const struct config_options *o, struct config *c,
                          struct config_errors *e) {
    for (size_t i = 0; i < o->n_settings; i++) {
        const struct config_setting *s = &o->settings[i];

        if (s->option == OPTION_SET)
            setting_apply(s->value, c, e);
        else if (s->option == OPTION_WORKERS)
            config_key_assign(config_key_find("master", "workers"), s->value, c, "--workers", e);
        else
            config_key_assign(config_key_find("output", "root"), s->value, c, "--output-root", e);
    }
}

void config_options_done(struct config_options *o) {
    free(o->settings);
    *o = (struct config_options){0};
}
