#include "client/jobfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE (64 * KIB)
#define END_OF_FILE (-1)

int jobfile_open_fd(struct jobfile *f, int fd, const char *name) {
    *f = (struct jobfile){.name = name,
                          .fd = fd,
                          .line = 1,
                          .raw = BUF_INIT(JOBFILE_JOB_MAX),
                          .defaults = BUF_INIT(JOBFILE_JOB_MAX)};
    f->data = malloc(READ_SIZE);
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

static int fail_at(struct jobfile *f, uint64_t line, uint64_t column, const char *fmt, ...)
    _printf_(4, 5);
static int fail_at(struct jobfile *f, uint64_t line, uint64_t column, const char *fmt, ...) {
    size_t n;
    va_list ap;

    n = (size_t)snprintf(f->error, sizeof(f->error), "%.400s:%" PRIu64 ":%" PRIu64 ": ", f->name,
                         line, column);
    va_start(ap, fmt);
    vsnprintf(f->error + n, sizeof(f->error) - n, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static int fail_read(struct jobfile *f) {
    snprintf(f->error, sizeof(f->error), "cannot read %.400s: %s", f->name,
             strerror(-f->read_error));
    return -EBADMSG;
}

/* Reads on; false at the end of the file and when it can't be read. */
static bool fill(struct jobfile *f) {
    ssize_t n;

    if (f->read_error)
        return false;
    do
        n = read(f->fd, f->data, READ_SIZE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        f->read_error = -errno;
    f->pos = 0;
    f->len = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static int peek(struct jobfile *f) {
    if (f->pos == f->len && !fill(f))
        return END_OF_FILE;
    return (unsigned char)f->data[f->pos];
}

static void advance(struct jobfile *f, unsigned char c) {
    f->pos++;
    if (c == '\n') {
        f->line++;
        f->column = 0;
    } else if ((c & 0xc0) != 0x80) {
        f->column++;
    }
}

static bool is_blank(int c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next byte that isn't blank, not yet taken. keep: blanks go into raw. */
static int peek_word(struct jobfile *f, bool keep) {
    int c;

    while (is_blank(c = peek(f))) {
        if (keep)
            buf_addc(&f->raw, (char)c);
        advance(f, (unsigned char)c);
    }
    return c;
}

static int fail_expected(struct jobfile *f, const char *what) {
    int c = peek(f);
    char found[32];

    if (f->read_error)
        return fail_read(f);
    if (c == END_OF_FILE)
        snprintf(found, sizeof(found), "the end of the file");
    else if (c > 0x20 && c < 0x7f)
        snprintf(found, sizeof(found), "'%c'", c);
    else
        snprintf(found, sizeof(found), "the byte 0x%02x", (unsigned)c);
    return fail_at(f, f->line, f->column + 1, "expected %s, found %s", what, found);
}

/* Where in the file jansson found fault with raw. */
static int fail_json(struct jobfile *f, const json_error_t *e) {
    uint64_t line = f->value_line, column = (uint64_t)MAX(e->column, 1);

    if (e->line > 1)
        line += (uint64_t)e->line - 1;
    else
        column += f->value_column - 1;
    return fail_at(f, line, column, "%s", e->text);
}

/* Parses raw, which should be a whole value. */
static int check_raw(struct jobfile *f) {
    json_error_t e;
    json_t *value;

    value = json_loadb(buf_head(&f->raw), buf_size(&f->raw),
                       JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!value)
        return json_error_code(&e) == json_error_out_of_memory ? -ENOMEM : fail_json(f, &e);
    json_decref(value);
    return 0;
}

/* The scanner gave up on a value. What jansson says of the text so far, with the byte that is next,
 * is the better reason, unless it would only want more of it. */
static int fail_value(struct jobfile *f, const char *reason) {
    int c = peek(f);
    json_error_t e;
    json_t *value;

    if (f->read_error)
        return fail_read(f);
    if (!reason && c != END_OF_FILE)
        buf_addc(&f->raw, (char)c);
    value = json_loadb(buf_head(&f->raw), buf_size(&f->raw), JSON_DECODE_ANY, &e);
    if (!value && (!reason || json_error_code(&e) != json_error_premature_end_of_input))
        return fail_json(f, &e);
    json_decref(value);
    return fail_at(f, f->value_line, f->value_column, "%s",
                   reason ? reason : "this is no JSON value");
}

static int fail_raw(struct jobfile *f) {
    if (buf_error(&f->raw) == -ENOMEM)
        return -ENOMEM;
    f->raw.error = 0;
    return fail_value(f, "this is larger than 1 MiB, which is the most for one job");
}

/* How far into a value the scanner is. */
struct scan {
    unsigned depth;
    bool string, escape;
    bool bad;  /* no JSON can look like this */
    bool deep; /* deeper than JOBFILE_DEPTH_MAX */
};

/* Whether c, outside of strings, ends the value; *ret_take: c is its last byte. */
static bool scan_plain(struct scan *s, unsigned char c, bool *ret_take) {
    switch (c) {
    case '"':
        s->string = true;
        return false;
    case '{':
    case '[':
        s->deep = s->depth == JOBFILE_DEPTH_MAX;
        s->depth++;
        return s->deep;
    case '}':
    case ']':
        *ret_take = s->depth > 0;
        if (s->depth > 0)
            s->depth--;
        return s->depth == 0;
    case ',':
    case ':':
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        *ret_take = s->depth > 0;
        return s->depth == 0;
    default:
        return false;
    }
}

/* The same within a string. */
static bool scan_string(struct scan *s, unsigned char c) {
    s->bad = c < 0x20;
    if (s->bad)
        return true;
    if (s->escape)
        s->escape = false;
    else if (c == '\\')
        s->escape = true;
    else if (c == '"')
        s->string = false;
    return !s->string && s->depth == 0;
}

/* Takes bytes of a value out of the read buffer, up to its end: true when that is reached. */
static bool scan_buffer(struct jobfile *f, struct scan *s) {
    size_t start = f->pos;
    bool end = false;

    while (!end && f->pos < f->len) {
        unsigned char c = (unsigned char)f->data[f->pos];
        bool take = true;

        end = s->string ? scan_string(s, c) : scan_plain(s, c, &take);
        if (take)
            advance(f, c);
    }
    buf_add(&f->raw, f->data + start, f->pos - start);
    return end;
}

/* Appends one value to raw, its syntax unchecked but for where it ends. */
static int scan_value(struct jobfile *f) {
    struct scan s = {0};
    size_t before = buf_size(&f->raw);
    bool end = false;

    while (!end && !buf_error(&f->raw) && peek(f) != END_OF_FILE)
        end = scan_buffer(f, &s);
    if (buf_error(&f->raw))
        return fail_raw(f);
    if (s.deep)
        return fail_value(f, "this is nested too deeply for a job");
    if (f->read_error || s.bad || s.string || s.depth > 0 || buf_size(&f->raw) == before)
        return fail_value(f, NULL);
    return 0;
}

/* Forgets the last value; the next one starts at the next byte. */
static void begin_value(struct jobfile *f) {
    buf_clear(&f->raw);
    f->value_line = f->line;
    f->value_column = f->column + 1;
}

/* Reads a whole value into raw and checks its syntax. */
static int read_value(struct jobfile *f) {
    int r;

    begin_value(f);
    r = scan_value(f);
    return r < 0 ? r : check_raw(f);
}

/* Takes the character c, or says that what was expected. */
static int take(struct jobfile *f, int c, const char *what) {
    if (peek_word(f, false) != c)
        return fail_expected(f, what);
    advance(f, (unsigned char)c);
    return 0;
}

/* The string whose text is at offset in raw; NULL when it is none, or out of memory. */
static char *decode_string(struct jobfile *f, size_t offset) {
    json_t *value =
        json_loadb(buf_head(&f->raw) + offset, buf_size(&f->raw) - offset, JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(value);
    char *copy = text ? strdup(text) : NULL;

    json_decref(value);
    return copy;
}

static int fail_key(struct jobfile *f, uint64_t line, uint64_t column, const char *key) {
    static const char *const known[] = {"defaults", "jobs", NULL};
    const char *near = nearest(key, known);

    if (near)
        return fail_at(f, line, column,
                       "\"%.100s\": unknown key beside the jobs; did you mean \"%s\"?", key, near);
    return fail_at(f, line, column,
                   "\"%.100s\": unknown key; beside \"jobs\" there can be \"defaults\" only", key);
}

static int read_defaults(struct jobfile *f) {
    int r;

    if (buf_size(&f->defaults) > 0)
        return fail_at(f, f->line, f->column, "\"defaults\" is there twice");
    peek_word(f, false);
    r = read_value(f);
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
        r = take(f, '[', "an array of jobs");
        f->state = JOBFILE_FIRST;
        return r < 0 ? r : 1;
    }
    r = read_defaults(f);
    if (r < 0)
        return r;
    if (peek_word(f, false) == '}')
        return fail_expected(f, "\"jobs\" after the defaults");
    return take(f, ',', "',' and \"jobs\" after the defaults");
}

/* Reads on in the object around the jobs until they begin. */
static int read_wrapper(struct jobfile *f, const char *first_key) {
    int r = read_member(f, first_key);

    while (r == 0) {
        _cleanup_free_ char *key = NULL;

        if (peek_word(f, false) != '"')
            return fail_expected(f, "\"jobs\"");
        r = read_value(f);
        if (r < 0)
            return r;
        key = decode_string(f, 0);
        if (!key)
            return -ENOMEM;
        if (!streq(key, "jobs") && !streq(key, "defaults"))
            return fail_key(f, f->value_line, f->value_column, key);
        r = take(f, ':', "':' after a key");
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
    int r = scan_value(f);

    if (r < 0)
        return r;
    key = decode_string(f, start);
    if (!key || peek_word(f, true) != ':')
        return fail_value(f, NULL);
    buf_addc(&f->raw, ':');
    advance(f, ':');
    if (!s->other && !streq(key, "jobs") && !streq(key, "defaults")) {
        s->other = strdup(key);
        s->other_line = line;
        s->other_column = column;
        if (!s->other)
            return -ENOMEM;
    }
    s->url |= streq(key, "url");
    *ret_key = TAKE_PTR(key);
    return 0;
}

/* Goes on to the next key of a top-level object: 1, or 0 after its last brace. */
static int scan_comma(struct jobfile *f) {
    int c = peek_word(f, true);

    if (c != ',' && c != '}')
        return fail_value(f, NULL);
    buf_addc(&f->raw, (char)c);
    advance(f, (unsigned char)c);
    return c == ',';
}

/* A top-level object: a job, in raw when this returns, or the object around the jobs. */
static int read_object(struct jobfile *f) {
    _cleanup_(shape_done) struct shape s = {0};
    int r = 1;

    begin_value(f);
    advance(f, '{');
    buf_addc(&f->raw, '{');
    if (peek_word(f, true) == '}')
        r = scan_comma(f);
    while (r > 0) {
        _cleanup_free_ char *key = NULL;

        if (peek_word(f, true) != '"')
            return fail_value(f, NULL);
        r = scan_key(f, &s, &key);
        if (r < 0)
            return r;
        if (!s.url && (streq(key, "jobs") || streq(key, "defaults")))
            return s.other ? fail_key(f, s.other_line, s.other_column, s.other)
                           : read_wrapper(f, key);
        peek_word(f, true);
        r = scan_value(f);
        if (r == 0)
            r = scan_comma(f);
    }
    if (r < 0)
        return r;
    f->lone = true;
    return buf_error(&f->raw) ? fail_raw(f) : check_raw(f);
}

static int take_bom(struct jobfile *f) {
    static const char bom[] = "\xef\xbb\xbf";

    if (peek(f) != 0xef)
        return 0;
    for (size_t i = 0; i < 3; i++) {
        if (peek(f) != (unsigned char)bom[i])
            return fail_expected(f, "an object or an array");
        f->pos++;
    }
    return 0;
}

static int read_start(struct jobfile *f) {
    int r = take_bom(f);

    if (r < 0)
        return r;
    switch (peek_word(f, false)) {
    case END_OF_FILE:
        f->state = JOBFILE_TRAILER;
        return 0;
    case '[':
        advance(f, '[');
        f->state = JOBFILE_FIRST;
        return 0;
    case '{':
        return read_object(f);
    default:
        return fail_expected(f, "a job (an object) or an array of jobs");
    }
}

/* After the last job of an array. */
static int read_close(struct jobfile *f) {
    static const char *const late = "\"defaults\" must stand before \"jobs\"";
    _cleanup_free_ char *key = NULL;
    int r;

    advance(f, ']');
    f->state = JOBFILE_TRAILER;
    if (!f->wrapped)
        return 0;
    if (peek_word(f, false) == '}') {
        advance(f, '}');
        return 0;
    }
    r = take(f, ',', "',' or '}' after the jobs");
    if (r < 0)
        return r;
    if (peek_word(f, false) != '"')
        return fail_expected(f, "'}' after the jobs");
    r = read_value(f);
    if (r < 0)
        return r;
    key = decode_string(f, 0);
    if (!key)
        return -ENOMEM;
    if (streq(key, "defaults"))
        return fail_at(f, f->value_line, f->value_column, "%s", late);
    if (streq(key, "jobs"))
        return fail_at(f, f->value_line, f->value_column, "\"jobs\" is there twice");
    return fail_key(f, f->value_line, f->value_column, key);
}

/* Between the jobs of an array: 1 when a job comes, 0 after the last. */
static int read_separator(struct jobfile *f) {
    bool first = f->state == JOBFILE_FIRST;
    int c = peek_word(f, false);

    if (c == ']') {
        return read_close(f);
    }
    if (!first) {
        if (take(f, ',', "',' or ']' after a job") < 0)
            return -EBADMSG;
        c = peek_word(f, false);
    }
    if (c == END_OF_FILE || c == ']' || c == '}' || c == ',' || c == ':')
        return fail_expected(f, first ? "a job or ']'" : "a job after ','");
    f->state = JOBFILE_NEXT;
    return 1;
}

static int read_trailer(struct jobfile *f) {
    int c = peek_word(f, false);

    if (f->read_error)
        return fail_read(f);
    if (c == '{' && f->lone)
        return fail_expected(
            f, "the end of the file (several jobs belong in an array: [{...}, {...}])");
    if (c != END_OF_FILE)
        return fail_expected(f, "the end of the file");
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
            r = read_value(f);
        if (r < 0)
            return r;
        if (f->state == JOBFILE_NEXT)
            return return_job(f, ret);
    }
    return f->state == JOBFILE_TRAILER ? read_trailer(f) : 0;
}
