#include "client/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/format.h"

unsigned terminal_width(int fd) {
    struct winsize size;

    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_init(struct progress *p) {
    const char *term = getenv("TERM");

    *p = (struct progress){.on = isatty(STDERR_FILENO) && term && !streq(term, "dumb")};
}

void progress_show(struct progress *p, const char *text) {
    unsigned width = terminal_width(STDERR_FILENO);

    if (!p->on || width < 2)
        return;
    /* the last column stays free: a terminal may wrap as soon as it is written to */
    fprintf(stderr, "\r%.*s\x1b[K", (int)format_fit(text, width - 1), text);
    fflush(stderr);
    p->shown = true;
}

void progress_clear(struct progress *p) {
    if (!p->shown)
        return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    p->shown = false;
}
