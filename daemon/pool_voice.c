#include "daemon/pool_voice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

#define READ_SIZE (8 * KIB)
#define READS_AT_END 32 /* more than a pipe holds */

/* Lines that a worker may say in a while. */
#define LINES_MAX 1000
#define LINES_TIME (10 * USEC_PER_SEC)

/* Appended to what it said last; the oldest goes. */
static void remember(struct voice *v, const char *line) {
    char text[VOICE_LAST_MAX / 2];
    int n = snprintf(text, sizeof(text), "%s%s", *v->last ? " | " : "", line);
    size_t need = MIN((size_t)n, sizeof(text) - 1), have = strlen(v->last);
    size_t drop = have + need > VOICE_LAST_MAX ? have + need - VOICE_LAST_MAX : 0;

    memmove(v->last, v->last + drop, have - drop);
    memcpy(v->last + have - drop, text, need);
    v->last[have - drop + need] = '\0';
}

static void line_end(struct voice *v) {
    uint64_t now = now_usec(CLOCK_MONOTONIC);

    v->line[v->n] = '\0';
    v->n = 0;
    if (!*v->line)
        return;
    remember(v, v->line);
    if (now - v->since > LINES_TIME) {
        v->since = now;
        v->n_lines = 0;
    }
    if (v->n_lines < LINES_MAX)
        log_pass_on((int)v->worker, v->line);
    else if (v->n_lines == LINES_MAX)
        log_warning("worker %u says too much; it is not listened to for a while", v->worker);
    v->n_lines++;
}

static void take(struct voice *v, const char *p, size_t n) {
    for (; n > 0; p++, n--) {
        if (*p == '\n' || v->n == VOICE_LINE_MAX)
            line_end(v);
        if (*p != '\n')
            v->line[v->n++] = *p;
    }
}

/* Whether there may be more. */
static bool hear(struct voice *v) {
    char text[READ_SIZE];
    ssize_t n = read(v->fd, text, sizeof(text));

    if (n > 0)
        take(v, text, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        v->io = sd_event_source_disable_unref(v->io);
    return n > 0;
}

static int on_words(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    (void)source;
    (void)fd;
    (void)revents;
    hear(userdata);
    return 0;
}

int voice_open(struct voice *v, sd_event *event, unsigned worker, int *ret_theirs) {
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    *v = (struct voice){.fd = fds[0], .worker = worker};
    r = sd_event_add_io(event, &v->io, v->fd, EPOLLIN, on_words, v);
    if (r < 0) {
        close_fd(fds[1]);
        voice_close(v);
        return r;
    }
    *ret_theirs = fds[1];
    return 0;
}

void voice_finish(struct voice *v) {
    for (int i = 0; v->io && i < READS_AT_END && hear(v); i++)
        ;
    if (v->n > 0)
        line_end(v);
}

void voice_close(struct voice *v) {
    v->io = sd_event_source_disable_unref(v->io);
    v->fd = close_fd(v->fd);
}
