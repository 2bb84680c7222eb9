#include "client/jobfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/jobfile_text.h"

int jobfile_open_fd(struct jobfile *f, int fd, const char *name) {
    *f = (struct jobfile){.name = name,
                          .fd = fd,
                          .line = 1,
                          .raw = BUF_INIT(JOBFILE_JOB_MAX),
                          .defaults = BUF_INIT(JOBFILE_JOB_MAX)};
    f->data = malloc(TEXT_BUFFER_SIZE);
    return f->data ? 0 : -ENOMEM;
}

int jobfile_open(struct jobfile *f, const char *path) {
    struct stat st;
    int fd, r = 0;

    *f = (struct jobfile){.fd = -1};
    if (streq(path, "-"))
        return jobfile_open_fd(f, STDIN_FILENO, "standard input");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (S_ISDIR(st.st_mode))
        r = -EISDIR;
    if (r < 0) {
        close_fd(fd);
        return r;
    }
    return jobfile_open_fd(f, fd, path);
}

void jobfile_done(struct jobfile *f) {
    f->fd = close_fd(f->fd);
    free(TAKE_PTR(f->data));
    buf_done(&f->raw);
    buf_done(&f->defaults);
}

static int fail_key(struct jobfile *f, uint64_t line, uint64_t column, const char *key) {
    static const char *const known[] = {"defaults", "jobs", NULL};
    const char *near = nearest(key, known);

    if (near)
        return text_fail_at(f, line, column,
                            "\"%.100s\": unknown key beside the jobs; did you mean \"%s\"?", key,
                            near);
    return text_fail_at(f, line, column,
                        "\"%.100s\": unknown key; beside \"jobs\" there can be \"defaults\" only",
                        key);
}

static int read_defaults(struct jobfile *f) {
    int r;

    if (buf_size(&f->defaults) > 0)
        return text_fail_at(f, f->line, f->column, "\"defaults\" is there twice");
    text_peek_word(f, false);
    r = text_read_value(f);
    if (r < 0)
        return r;
    f->defaults_line = f->value_line;
    buf_add(&f->defaults, buf_head(&f->raw), buf_size(&f->raw));
    return buf_error(&f->defaults);
}

/* A key of the object around the jobs has been read, with its colon. Returns 1 at the jobs. */
static int read_member(struct jobfile *f, const char *key) {
    int r;

    f->wrapped = true;
    if (streq(key, "jobs")) {
        r = text_take(f, '[', "an array of jobs");
        f->state = JOBFILE_FIRST;
        return r < 0 ? r : 1;
    }
    r = read_defaults(f);
    if (r < 0)
        return r;
    if (text_peek_word(f, false) == '}')
        return text_fail_expected(f, "\"jobs\" after the defaults");
    return text_take(f, ',', "',' and \"jobs\" after the defaults");
}

/* Reads on in the object around the jobs until they begin. */
static int read_wrapper(struct jobfile *f, const char *first_key) {
    int r = read_member(f, first_key);

    while (r == 0) {
        _cleanup_free_ char *key = NULL;

        if (text_peek_word(f, false) != '"')
            return text_fail_expected(f, "\"jobs\"");
        r = text_read_value(f);
        if (r < 0)
            return r;
        key = text_decode(f, 0);
        if (!key)
            return -ENOMEM;
        if (!streq(key, "jobs") && !streq(key, "defaults"))
            return fail_key(f, f->value_line, f->value_column, key);
        r = text_take(f, ':', "':' after a key");
        if (r == 0)
            r = read_member(f, key);
    }
    return MIN(r, 0);
}

/* What the keys of a top-level object have shown so far. */
struct shape {
    bool url;    /* it is a job */
    char *other; /* the first key that is neither jobs nor defaults; owned */
    uint64_t other_line, other_column;
};

static void shape_done(struct shape *s) {
    free(s->other);
}

/* Takes key and colon of a top-level object into raw. */
static int scan_key(struct jobfile *f, struct shape *s, char **ret_key) {
    size_t start = buf_size(&f->raw);
    uint64_t line = f->line, column = f->column + 1;
    _cleanup_free_ char *key = NULL;
    int r = text_scan_value(f);

    if (r < 0)
        return r;
    key = text_decode(f, start);
    if (!key || text_peek_word(f, true) != ':')
        return text_fail_value(f, NULL);
    buf_addc(&f->raw, ':');
    text_advance(f, ':');
    if (!s->other && !streq(key, "jobs") && !streq(key, "defaults")) {
        s->other = strdup(key);
        s->other_line = line;
        s->other_column = column;
        if (!s->other)
            return -ENOMEM;
    }
    s->url |= streq(key, "url") || streq(key, "urls");
    *ret_key = TAKE_PTR(key);
    return 0;
}

/* Goes on to the next key of a top-level object: 1, or 0 after its last brace. */
static int scan_comma(struct jobfile *f) {
    int c = text_peek_word(f, true);

    if (c != ',' && c != '}')
        return text_fail_value(f, NULL);
    buf_addc(&f->raw, (char)c);
    text_advance(f, (unsigned char)c);
    return c == ',';
}

/* A top-level object: a job, in raw when this returns, or the object around the jobs. */
static int read_object(struct jobfile *f) {
    _cleanup_(shape_done) struct shape s = {0};
    int r = 1;

    text_begin_value(f);
    text_advance(f, '{');
    buf_addc(&f->raw, '{');
    if (text_peek_word(f, true) == '}')
        r = scan_comma(f);
    while (r > 0) {
        _cleanup_free_ char *key = NULL;

        if (text_peek_word(f, true) != '"')
            return text_fail_value(f, NULL);
        r = scan_key(f, &s, &key);
        if (!key)
            return r;
        if (!s.url && (streq(key, "jobs") || streq(key, "defaults")))
            return s.other ? fail_key(f, s.other_line, s.other_column, s.other)
                           : read_wrapper(f, key);
        text_peek_word(f, true);
        r = text_scan_value(f);
        if (r == 0)
            r = scan_comma(f);
    }
    if (r < 0)
        return r;
    f->lone = true;
    return buf_error(&f->raw) ? text_fail_raw(f) : text_check(f);
}

static int take_bom(struct jobfile *f) {
    static const char bom[] = "\xef\xbb\xbf";

    if (text_peek(f) != 0xef)
        return 0;
    for (size_t i = 0; i < 3; i++) {
        if (text_peek(f) != (unsigned char)bom[i])
            return text_fail_expected(f, "an object or an array");
        f->pos++;
    }
    return 0;
}

static int read_start(struct jobfile *f) {
    int r = take_bom(f), c;

    if (r < 0)
        return r;
    c = text_peek_word(f, false);
    switch (c) {
    case TEXT_END:
        f->state = JOBFILE_TRAILER;
        return 0;
    case '[':
        text_advance(f, '[');
        f->state = JOBFILE_FIRST;
        return 0;
    case '{':
        return read_object(f);
    default:
        return text_fail_expected(f, isalpha(c) ? "a job (an object) or an array of jobs (a list of URLs:"
                                                  " xargs -d '\\n' dlctl submit < FILE)"
                                                : "a job (an object) or an array of jobs");
    }
}

/* After the last job of an array. */
static int read_close(struct jobfile *f) {
    static const char *const late = "\"defaults\" must stand before \"jobs\"";
    _cleanup_free_ char *key = NULL;
    int r;

    text_advance(f, ']');
    f->state = JOBFILE_TRAILER;
    if (!f->wrapped)
        return 0;
    if (text_peek_word(f, false) == '}') {
        text_advance(f, '}');
        return 0;
    }
    r = text_take(f, ',', "',' or '}' after the jobs");
    if (r < 0)
        return r;
    if (text_peek_word(f, false) != '"')
        return text_fail_expected(f, "'}' after the jobs");
    r = text_read_value(f);
    if (r < 0)
        return r;
    key = text_decode(f, 0);
    if (!key)
        return -ENOMEM;
    if (streq(key, "defaults"))
        return text_fail_at(f, f->value_line, f->value_column, "%s", late);
    if (streq(key, "jobs"))
        return text_fail_at(f, f->value_line, f->value_column, "\"jobs\" is there twice");
    return fail_key(f, f->value_line, f->value_column, key);
}

/* Between the jobs of an array: 1 when a job comes, 0 after the last. */
static int read_separator(struct jobfile *f) {
    bool first = f->state == JOBFILE_FIRST;
    int c = text_peek_word(f, false);

    if (c == ']') {
        return read_close(f);
    }
    if (!first) {
        if (text_take(f, ',', "',' or ']' after a job") < 0)
            return -EBADMSG;
        c = text_peek_word(f, false);
    }
    if (c == TEXT_END || c == ']' || c == '}' || c == ',' || c == ':')
        return text_fail_expected(f, first ? "a job or ']'" : "a job after ','");
    f->state = JOBFILE_NEXT;
    return 1;
}

static int read_trailer(struct jobfile *f) {
    int c = text_peek_word(f, false);

    if (f->read_error)
        return text_fail_read(f);
    if (c == '{' && f->lone)
        return text_fail_expected(
            f, "the end of the file (several jobs belong in an array: [{...}, {...}])");
    if (c != TEXT_END)
        return text_fail_expected(f, "the end of the file");
    f->state = JOBFILE_END;
    if (f->n_jobs > 0)
        return 0;
    snprintf(f->error, sizeof(f->error), "no jobs in %.400s", f->name);
    return -EBADMSG;
}

static int return_job(struct jobfile *f, struct jobfile_job *ret) {
    char *text = buf_head(&f->raw);
    size_t len = buf_size(&f->raw);

    /* all of them are blanks: in a string they would have been an error */
    for (char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text)));)
        *p = ' ';
    f->n_jobs++;
    *ret = (struct jobfile_job){.text = text, .len = len, .line = f->value_line};
    return 1;
}

int jobfile_next(struct jobfile *f, struct jobfile_job *ret) {
    int r = 0;

    if (f->state == JOBFILE_START) {
        r = read_start(f);
        if (r < 0)
            return r;
        if (f->lone) {
            f->state = JOBFILE_TRAILER;
            return return_job(f, ret);
        }
    }
    if (f->state == JOBFILE_FIRST || f->state == JOBFILE_NEXT) {
        r = read_separator(f);
        if (r > 0)
            r = text_read_value(f);
        if (r < 0)
            return r;
        if (f->state == JOBFILE_NEXT)
            return return_job(f, ret);
    }
    return f->state == JOBFILE_TRAILER ? read_trailer(f) : 0;
}
