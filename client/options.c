#include "client/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/print.h"
#include "common/exitcode.h"
#include "common/text.h"

#define MAX_NAMES 32 /* of options that one command line can know */

static int option_socket(struct dlctl *c, const char *path) {
    char *copy;

    if (!*path) {
        complain("--socket needs a path");
        return -EINVAL;
    }
    copy = strdup(path);
    if (!copy) {
        complain_memory();
        return -EINVAL;
    }
    free(c->socket);
    c->socket = copy;
    return 0;
}

static int store_number(const struct option_spec *spec, const char *value) {
    uint64_t n;

    if (parse_u64(value, &n) < 0 || n == 0 || n > INT64_MAX) {
        complain("%s needs a number from 1, not '%s'", spec->name, value);
        return -EINVAL;
    }
    *(uint64_t *)spec->target = n;
    return 0;
}

/* It goes into JSON. */
static int check_utf8(const struct option_spec *spec, const char *value) {
    if (text_is_utf8(value))
        return 0;
    complain("%s needs a value in UTF-8, not '%s'", spec->name, value);
    return -EINVAL;
}

static int store_text(const struct option_spec *spec, const char *value) {
    *(const char **)spec->target = value;
    return check_utf8(spec, value);
}

static int store_many(const struct option_spec *spec, const char *value) {
    struct option_list *list = spec->target;

    if (check_utf8(spec, value) < 0)
        return -EINVAL;
    if (list->n == OPTION_LIST_MAX) {
        complain("%s can be given %d times at most", spec->name, OPTION_LIST_MAX);
        return -EINVAL;
    }
    list->items[list->n++] = value;
    return 0;
}

static int option_store(const struct option_spec *spec, const char *value) {
    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)spec->target = true;
        return 0;
    case OPTION_TEXT:
        return store_text(spec, value);
    case OPTION_PATH:
        *(const char **)spec->target = value;
        return 0;
    case OPTION_NUMBER:
        return store_number(spec, value);
    case OPTION_MANY:
        return store_many(spec, value);
    }
    return -EINVAL;
}

static void complain_unknown(const char *word, size_t n, const struct option_spec *const *tables,
                             const char *verb) {
    const char *names[MAX_NAMES + 1];
    const char *near;
    size_t n_names = 0;
    char name[64];

    for (; *tables; tables++)
        for (const struct option_spec *s = *tables; s->name && n_names < MAX_NAMES; s++)
            names[n_names++] = s->name;
    names[n_names] = NULL;
    snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name)), word);
    near = nearest(name, names);
    if (near)
        complain("unknown option '%s'; did you mean %s?", name, near);
    else
        complain("unknown option '%s'; see dlctl %s%s--help", name, verb, *verb ? " " : "");
}

/* Takes the option at argv[0]: returns how many words it took, or -EINVAL. */
static int option_take(const struct option_spec *const *tables, const char *verb, int argc,
                       char **argv) {
    const char *word = streq(argv[0], "-h") ? "--help" : argv[0];
    size_t n = strcspn(word, "=");
    const char *value = word[n] == '=' ? word + n + 1 : NULL;
    const struct option_spec *spec = NULL;
    int taken = 1;

    for (const struct option_spec *const *t = tables; *t && !spec; t++)
        for (const struct option_spec *s = *t; s->name && !spec; s++)
            if (strlen(s->name) == n && memcmp(s->name, word, n) == 0)
                spec = s;
    if (!spec) {
        complain_unknown(word, n, tables, verb);
        return -EINVAL;
    }
    if (spec->kind == OPTION_FLAG && value) {
        complain("%s takes no value", spec->name);
        return -EINVAL;
    }
    if (spec->kind != OPTION_FLAG && !value) {
        if (argc < 2) {
            complain("%s needs a value: %s %s", spec->name, spec->name, spec->value);
            return -EINVAL;
        }
        value = argv[1];
        taken = 2;
    }
    return option_store(spec, value) < 0 ? -EINVAL : taken;
}

/* What the global options are read into. */
struct globals {
    bool json, help, version;
    const char *socket;
};

#define GLOBAL_SPECS(g)                                                                            \
    {                                                                                              \
        {"--socket", OPTION_PATH, &(g)->socket, "PATH",                                            \
         "the daemon's control socket (default: $DLD_SOCKET, else\n"                               \
         "$XDG_RUNTIME_DIR/dld/control.sock or /run/dld/control.sock)"},                           \
            {"--json", OPTION_FLAG, &(g)->json, NULL, "results as JSON, one document a line"},     \
            {"--help", OPTION_FLAG, &(g)->help, NULL, "show this help"}, {0},                      \
    }

static int globals_apply(struct dlctl *c, const struct globals *g) {
    c->json |= g->json;
    return g->socket ? option_socket(c, g->socket) : 0;
}

static void print_spec(const struct option_spec *s) {
    char left[64];
    const char *help = s->help;

    snprintf(left, sizeof(left), "%s%s%s", s->name, s->value ? " " : "", s->value ? s->value : "");
    printf("  %-22s ", left);
    for (;;) {
        size_t n = strcspn(help, "\n");

        printf("%.*s\n", (int)n, help);
        if (!help[n])
            return;
        printf("%25s", "");
        help += n + 1;
    }
}

static void usage_print(const struct usage *u, const struct option_spec *const *tables) {
    printf("Usage: dlctl %s [OPTION]... %s\n\n%s\nOptions:\n", u->verb, u->words, u->text);
    for (; *tables; tables++)
        for (const struct option_spec *s = *tables; s->name; s++)
            print_spec(s);
}

void options_print_global(void) {
    struct globals g;
    const struct option_spec specs[] = GLOBAL_SPECS(&g);

    for (const struct option_spec *s = specs; s->name; s++)
        print_spec(s);
    printf("  %-22s %s\n", "--version", "show the version");
}

int options_parse(struct dlctl *c, const struct usage *usage, const struct option_spec *specs,
                  int *argc, char **argv) {
    struct globals g = {0};
    const struct option_spec global[] = GLOBAL_SPECS(&g);
    const struct option_spec *const tables[] = {specs, global, NULL};
    bool only_words = false;
    int n = 0;

    for (int i = 0; i < *argc;) {
        if (only_words || argv[i][0] != '-' || !argv[i][1]) {
            argv[n++] = argv[i++];
        } else if (streq(argv[i], "--")) {
            only_words = true;
            i++;
        } else {
            int taken = option_take(tables, usage->verb, *argc - i, argv + i);

            if (taken < 0)
                return taken;
            i += taken;
        }
    }
    *argc = n;
    if (g.help) {
        usage_print(usage, tables);
        return 1;
    }
    return globals_apply(c, &g);
}

int options_parse_global(struct dlctl *c, int argc, char **argv, const char **ret_asked) {
    struct globals g = {0};
    const struct option_spec global[] = GLOBAL_SPECS(&g);
    const struct option_spec version[] = {{"--version", OPTION_FLAG, &g.version, NULL, ""}, {0}};
    const struct option_spec *const tables[] = {global, version, NULL};
    char *dashes;
    int i = 0;

    while (i < argc && argv[i][0] == '-' && !streq(argv[i], "--")) {
        int taken = option_take(tables, "", argc - i, argv + i);

        if (taken < 0)
            return taken;
        i += taken;
    }
    if (globals_apply(c, &g) < 0)
        return -EINVAL;
    if (g.help || g.version)
        *ret_asked = g.help ? "--help" : "--version";
    if (i == argc || !streq(argv[i], "--"))
        return i;
    if (i + 1 == argc)
        return argc;
    dashes = argv[i]; /* they end the options behind the verb, too */
    argv[i] = argv[i + 1];
    argv[i + 1] = dashes;
    return i;
}

int options_status(int r) {
    return r > 0 ? DLCTL_OK : DLCTL_USAGE;
}

int options_ids(int argc, char **argv, int64_t *ret) {
    if (argc > DLCTL_MAX_IDS) {
        complain("too many IDs: at most %d at once; name a --batch or a --tag, or use xargs -n",
                 DLCTL_MAX_IDS);
        return -EINVAL;
    }
    for (int i = 0; i < argc; i++) {
        uint64_t id;

        if (parse_u64(argv[i], &id) < 0 || id == 0 || id > INT64_MAX) {
            complain("'%s' is not the ID of a job, which is a number from 1", argv[i]);
            return -EINVAL;
        }
        ret[i] = (int64_t)id;
    }
    return 0;
}

void selection_done(struct selection *s) {
    free(s->ids);
    *s = (struct selection){0};
}

int selection_make(const char *verb, int argc, char **argv, struct selection *io) {
    if ((argc > 0) + (io->batch > 0) + (io->tag != NULL) + (io->host != NULL) + io->all != 1) {
        complain("%s needs IDs of jobs, or one option that says which jobs: see dlctl %s --help",
                 verb, verb);
        return -EINVAL;
    }
    io->ids = calloc((size_t)argc + 1, sizeof(*io->ids));
    if (!io->ids) {
        complain_memory();
        return -ENOMEM;
    }
    io->n_ids = (size_t)argc;
    return options_ids(argc, argv, io->ids);
}

void selection_to_json(struct buf *b, const struct selection *s) {
    if (s->all) {
        json_bool(b, "all", true);
    } else if (s->batch > 0) {
        json_int(b, "batch", (int64_t)s->batch);
    } else if (s->tag) {
        json_str(b, "tag", s->tag);
    } else if (s->host) {
        json_str(b, "host", s->host);
    } else {
        json_begin(b, "ids", '[');
        for (size_t i = 0; i < s->n_ids; i++)
            json_int(b, NULL, s->ids[i]);
        json_end(b, ']');
    }
}
