#include "daemon/config_file.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "common/paths.h"
#include "common/util.h"
#include "daemon/config_named.h"

#define BLANKS " \t\r\n\f\v"

/* libinih as Debian builds it tells neither the line number nor why a line is wrong, and cuts long
 * lines into pieces. So each line is looked at before libinih gets it, and afterwards whether it
 * made a key of it. */
struct file {
    const char *path;
    FILE *stream;
    struct config *config;
    struct config_errors *errors;
    unsigned line;
    size_t bytes;
    bool wants_key;                  /* libinih has a line that must be "key = value" */
    bool skip;                       /* in a section that was reported */
    unsigned given[CONFIG_KEYS_MAX]; /* line of each key, 0: not given */
    bool in_named;                   /* in a section with a name: */
    struct config_named named;
    unsigned named_given[2 * CONFIG_NAMED_MAX][CONFIG_NAMED_KEYS_MAX]; /* as given */
};

static void file_error(struct file *f, const char *text) {
    config_error(f->errors, "%s:%u: %s", f->path, f->line, text);
}

static void key_unknown(struct file *f, const char *section, const char *name) {
    const char *names[CONFIG_KEYS_MAX + 1];
    const char *home = NULL, *meant;
    size_t n = 0;

    for (size_t i = 0; i < config_n_keys; i++) {
        if (streq(config_keys[i].section, section))
            names[n++] = config_keys[i].name;
        else if (streq(config_keys[i].name, name))
            home = config_keys[i].section;
    }
    names[n] = NULL;
    meant = nearest(name, names);
    if (!*section)
        config_error(f->errors, "%s:%u: %s: a key must stand beneath its section%s%s%s", f->path,
                     f->line, name, home ? ", as [" : "", home ? home : "", home ? "]" : "");
    else if (meant)
        config_error(f->errors, "%s:%u: [%s] %s: unknown key; did you mean \"%s\"?", f->path,
                     f->line, section, name, meant);
    else if (home)
        config_error(f->errors, "%s:%u: [%s] %s: unknown key; it belongs in [%s]", f->path, f->line,
                     section, name, home);
    else
        config_error(f->errors, "%s:%u: [%s] %s: unknown key; dld.conf(5) lists them", f->path,
                     f->line, section, name);
}

static void key_repeated(struct file *f, const char *section, const char *name, unsigned line) {
    config_error(f->errors, "%s:%u: [%s] %s: given already in line %u; remove one", f->path,
                 f->line, section, name, line);
}

/* A key of a section with a name. */
static void named_key_seen(struct file *f, const char *name, const char *value) {
    const char *names[CONFIG_NAMED_KEYS_MAX + 1] = {NULL};
    const char *kind = f->named.keys[0].section, *meant;
    unsigned *given = f->named_given[f->named.number];
    char place[512];
    size_t i = 0;

    for (; i < f->named.n_keys && !streq(f->named.keys[i].name, name); i++)
        names[i] = f->named.keys[i].name;
    snprintf(place, sizeof(place), "%.400s:%u: [%s] %.60s", f->path, f->line, kind, name);
    if (i == f->named.n_keys) {
        meant = nearest(name, names);
        config_error(f->errors, "%s: unknown key in a section with a name; %s%s%s", place,
                     meant ? "did you mean \"" : "dld.conf(5) lists them", meant ? meant : "",
                     meant ? "\"?" : "");
    } else if (given[i] > 0) {
        key_repeated(f, kind, name, given[i]);
    } else {
        given[i] = f->line;
        *f->named.given |= 1u << i;
        config_key_assign(&f->named.keys[i], value, f->named.base, place, f->errors);
    }
}

static void key_assign(struct file *f, const struct config_key *k, const char *value) {
    _cleanup_free_ char *place = NULL;

    if (asprintf(&place, "%s:%u: [%s] %s", f->path, f->line, k->section, k->name) < 0) {
        place = NULL;
        config_error(f->errors, "%s: %s", f->path, strerror(ENOMEM));
    } else if (k->type == CONFIG_PATH && value[0] != '/' && strncmp(value, "~/", 2) != 0) {
        config_error(f->errors,
                     "%s: expected an absolute path, or one that starts with ~/, not "
                     "\"%s\"",
                     place, value);
    } else {
        config_key_assign(k, value, f->config, place, f->errors);
    }
}

/* Called by libinih for each key. */
static int key_seen(void *userdata, const char *section, const char *name, const char *value) {
    struct file *f = userdata;
    const struct config_key *k = config_key_find(section, name);

    if (!*name)
        return 1; /* still wants a key */
    f->wants_key = false;
    if (f->skip)
        return 1;
    if (f->in_named) {
        named_key_seen(f, name, value);
        return 1;
    }
    if (!k) {
        key_unknown(f, section, name);
        return 1;
    }
    unsigned *given = &f->given[k - config_keys];
    if (*given > 0) {
        key_repeated(f, section, name, *given);
    } else {
        *given = f->line;
        key_assign(f, k, value);
    }
    return 1;
}

static bool section_known(const char *section, const char **ret_meant) {
    const char *names[CONFIG_KEYS_MAX + 1];

    for (size_t i = 0; i < config_n_keys; i++) {
        if (streq(config_keys[i].section, section))
            return true;
        names[i] = config_keys[i].section;
    }
    names[config_n_keys] = NULL;
    *ret_meant = nearest(section, names);
    return false;
}

static bool ends_line(const char *rest) {
    rest += strspn(rest, BLANKS);
    return !*rest || *rest == ';' || *rest == '#';
}

/* Where a section begins that is opened for the first time. */
static int place_set(const struct file *f, char **place) {
    if (!place || *place || asprintf(place, "%s:%u", f->path, f->line) >= 0)
        return 0;
    *place = NULL;
    return -ENOMEM;
}

/* [kind "name"]; libinih is given another line for it, as it would look for the first ']'. */
static void named_section_check(struct file *f, char *line, char *quote) {
    _cleanup_(buf_done) struct buf why = BUF_INIT(4096);
    char *end = strstr(quote + 1, "\"]"), *kind = line + 1;
    size_t n = strcspn(kind, BLANKS "\"");
    int r;

    if (!end || !ends_line(end + 2)) {
        file_error(f, "a section with a name ends with '\"]', as [host \"*.example.com\"]");
    } else {
        *end = '\0';
        kind[n] = '\0';
        r = config_named_open(f->config, kind, quote + 1, &f->named, &why);
        if (r == 0)
            r = place_set(f, f->named.place);
        f->skip = r < 0;
        f->in_named = r == 0;
        if (r == -ENOENT)
            config_error(f->errors, "%s:%u: [%s \"%s\"]: only [host] and [rate] go with a name",
                         f->path, f->line, kind, quote + 1);
        else if (r < 0)
            config_error(f->errors, "%s:%u: [%s \"%s\"]: %s", f->path, f->line, kind, quote + 1,
                         r == -EINVAL ? buf_cstr(&why) : strerror(-r));
    }
    memcpy(line, "[]", 3);
}

/* A line that starts with '['. */
static void section_check(struct file *f, char *line) {
    char *end = strchr(line, ']'), *quote = strchr(line, '"');
    const char *meant = NULL;

    f->skip = true;
    f->in_named = false;
    if (quote && (!end || quote < end)) {
        named_section_check(f, line, quote);
        return;
    }
    if (!end) {
        file_error(f, "a section ends with ']', as [retry]");
        return;
    }
    if (!ends_line(end + 1)) {
        file_error(f, "nothing may follow the ']' of a section; write keys in lines of their own");
        return;
    }
    _cleanup_free_ char *section = strndup(line + 1, (size_t)(end - line - 1));
    if (!section)
        file_error(f, strerror(ENOMEM));
    else if (section_known(section, &meant))
        f->skip = false;
    else if (meant)
        config_error(f->errors, "%s:%u: [%s]: unknown section; did you mean [%s]?", f->path,
                     f->line, section, meant);
    else
        config_error(f->errors, "%s:%u: [%s]: unknown section; dld.conf(5) lists them", f->path,
                     f->line, section);
}

/* One line without blanks around it into s, which holds size bytes. 1, 0 at the end, or a negative
 * errno: -EMSGSIZE where the line is too long (read to its end all the same), -EILSEQ for a NUL in
 * it. */
static int line_read(struct file *f, char *s, size_t size) {
    size_t n = 0;
    int c, r = 1;

    while ((c = getc(f->stream)) != EOF && c != '\n') {
        if (++f->bytes > CONFIG_FILE_MAX)
            return -EFBIG;
        if (c == '\0')
            r = -EILSEQ;
        if (n == 0 && strchr(BLANKS, c))
            continue;
        if (n + 1 >= MIN(size, CONFIG_LINE_MAX + 1))
            r = -EMSGSIZE;
        else
            s[n++] = (char)c;
    }
    s[n] = '\0';
    if (ferror(f->stream))
        return errno ? -errno : -EIO;
    if (c == EOF && n == 0 && r == 1)
        return 0;
    f->line++;
    f->bytes++;
    return r;
}

static void line_check(struct file *f, char *s) {
    if (f->line == 1 && strncmp(s, "\xef\xbb\xbf", 3) == 0)
        memmove(s, s + 3, strlen(s + 3) + 1);
    if (*s == '[')
        section_check(f, s);
    f->wants_key = *s && !strchr("[#;", *s);
}

/* Stands in for fgets() in libinih. What was reported already is handed on as an empty line. */
static char *line_next(char *s, int size, void *stream) {
    struct file *f = stream;
    int r;

    if (f->wants_key)
        file_error(f, "expected \"key = value\", \"[section]\" or a comment");
    f->wants_key = false;
    errno = 0;
    r = line_read(f, s, (size_t)size);
    if (r == 1)
        line_check(f, s);
    else if (r == -EMSGSIZE)
        config_error(f->errors, "%s:%u: the line is longer than %d bytes", f->path, f->line,
                     CONFIG_LINE_MAX);
    else if (r == -EILSEQ)
        file_error(f, "there is a NUL byte in the line; this is not a text file");
    else if (r < 0)
        config_error(f->errors, "%s: can't be read: %s", f->path, strerror(-r));
    if (r == -EMSGSIZE || r == -EILSEQ)
        *s = '\0';
    else if (r <= 0)
        return NULL;
    return s;
}

int config_file_read(const char *path, struct config *c, struct config_errors *e) {
    struct file f = {.path = path, .config = c, .errors = e};

    f.stream = fopen(path, "re");
    if (!f.stream) {
        if (errno == ENOENT)
            return -ENOENT;
        config_error(e, "%s: can't be opened: %s", path, strerror(errno));
        return 0;
    }
    ini_parse_stream(line_next, &f, key_seen, &f);
    fclose(f.stream);
    return 0;
}

static int conf_filter(const struct dirent *d) {
    size_t n = strlen(d->d_name);

    return d->d_name[0] != '.' && n > 5 && streq(d->d_name + n - 5, ".conf");
}

static int conf_compare(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void directory_entry_read(const char *path, const char *name, struct config *c,
                                 struct config_errors *e) {
    _cleanup_free_ char *file = NULL;

    if (path_join(path, name, &file) < 0)
        config_error(e, "%s: %s", path, strerror(ENOMEM));
    else if (config_file_read(file, c, e) == -ENOENT)
        config_error(e, "%s: can't be opened: %s", file, strerror(ENOENT));
}

void config_directory_read(const char *path, struct config *c, struct config_errors *e) {
    struct dirent **entries;
    int n = scandir(path, &entries, conf_filter, conf_compare);

    if (n < 0) {
        if (errno != ENOENT)
            config_error(e, "%s: can't be read: %s", path, strerror(errno));
        return;
    }
    if (n > CONFIG_FILES_MAX)
        config_error(e, "%s: more than %d files", path, CONFIG_FILES_MAX);
    for (int i = 0; i < n; i++) {
        if (i < CONFIG_FILES_MAX)
            directory_entry_read(path, entries[i]->d_name, c, e);
        free(entries[i]);
    }
    free(entries);
}
