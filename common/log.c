#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

static const char *log_name = "dld";
static int log_level = LOG_NOTICE;
static bool log_to_journal;

/* Is stderr the stream that systemd connected to the journal? See "JOURNAL_STREAM" in
 * systemd.exec(5). */
static bool stderr_is_journal(void) {
    const char *e = getenv("JOURNAL_STREAM");
    unsigned long dev, ino;
    struct stat st;

    return e && sscanf(e, "%lu:%lu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *name, int level) {
    log_name = name;
    log_level = level;
    log_to_journal = stderr_is_journal();
}

void log_set_level(int level) {
    log_level = level;
}

/* Control characters from strangers must not reach a terminal or forge a second line. */
static void make_printable(char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static void to_stderr(const char *name, const char *text) {
    char line[1200];
    int n = snprintf(line, sizeof(line), "%s%s%s\n", name, *name ? ": " : "", text);

    n = MIN(n, (int)sizeof(line) - 1);
    line[n - 1] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nobody is left to tell */
}

struct fields {
    struct iovec iov[8];
    char text[8][1100];
    int n;
};

static void _printf_(2, 3) field_add(struct fields *f, const char *fmt, ...) {
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(f->text[f->n], sizeof(f->text[0]), fmt, ap);
    va_end(ap);
    f->iov[f->n].iov_base = f->text[f->n];
    f->iov[f->n].iov_len = (size_t)MIN(n, (int)sizeof(f->text[0]) - 1);
    f->n++;
}

static void to_journal(int level, const struct log_about *about, const char *text) {
    struct fields f = {.n = 0};

    field_add(&f, "MESSAGE=%s", text);
    field_add(&f, "PRIORITY=%d", level);
    field_add(&f, "SYSLOG_IDENTIFIER=%s", log_name);
    if (about->job)
        field_add(&f, "JOB_ID=%" PRId64, about->job);
    if (about->host)
        field_add(&f, "URL_HOST=%s", about->host);
    if (about->worker)
        field_add(&f, "WORKER=%d", about->worker);
    if (about->error)
        field_add(&f, "ERROR_NAME=%s", about->error);
    if (about->msg_id)
        field_add(&f, "MESSAGE_ID=%s", about->msg_id);
    sd_journal_sendv(f.iov, f.n);
}

static void log_text(int level, const struct log_about *about, const char *fmt, va_list ap) {
    char text[1024];

    vsnprintf(text, sizeof(text), fmt, ap);
    make_printable(text);
    if (log_to_journal)
        to_journal(level, about, text);
    else
        to_stderr(log_name, text);
}

void log_at(int level, const char *fmt, ...) {
    static const struct log_about nothing;
    va_list ap;

    if (level > log_level)
        return;
    va_start(ap, fmt);
    log_text(level, &nothing, fmt, ap);
    va_end(ap);
}

void log_about(int level, const struct log_about *about, const char *fmt, ...) {
    va_list ap;

    if (level > log_level)
        return;
    va_start(ap, fmt);
    log_text(level, about, fmt, ap);
    va_end(ap);
}

void log_pass_on(int worker, const char *line) {
    const struct log_about about = {.worker = worker};
    char text[1024];

    snprintf(text, sizeof(text), "%s", line);
    make_printable(text);
    if (log_to_journal)
        to_journal(LOG_WARNING, &about, text);
    else
        to_stderr("", text);
}
