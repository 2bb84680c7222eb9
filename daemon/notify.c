#include "daemon/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

/* The manager's socket; '@' stands for the NUL of an abstract one. 0 when there is none. */
static socklen_t manager_address(struct sockaddr_un *ret) {
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;

    if (n < 2 || n >= sizeof(ret->sun_path) || !strchr("/@", *path))
        return 0;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, path, n);
    if (*path == '@')
        ret->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

void notify_send(const char *fmt, ...) {
    struct sockaddr_un address;
    socklen_t len = manager_address(&address);
    _cleanup_close_ int fd = -1;
    char text[512];
    va_list ap;

    if (len == 0)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
    uint64_t interval = 0;

    (void)userdata;
    notify_send("WATCHDOG=1");
    if (sd_watchdog_enabled(0, &interval) <= 0)
        return 0;
    return sd_event_source_set_time(source, usec + interval / 2);
}

int notify_watchdog(sd_event *event, sd_event_source **ret) {
    uint64_t interval = 0;
    int r = sd_watchdog_enabled(0, &interval);

    *ret = NULL;
    if (r <= 0)
        return r;
    r = sd_event_add_time_relative(event, ret, CLOCK_MONOTONIC, 0, interval / 8, on_watchdog, NULL);
    return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_ON);
}
