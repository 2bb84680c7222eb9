#include "daemon/worker/room.h"

#include <sys/statvfs.h>

#include "common/util.h"

#define ASK_EVERY (1 * USEC_PER_SEC)

static uint64_t room_ask(int fd) {
    struct statvfs s;

    /* Some file systems in user space have no idea. */
    if (fstatvfs(fd, &s) < 0 || s.f_blocks == 0)
        return UINT64_MAX;
    return (uint64_t)s.f_bavail * s.f_frsize;
}

int room_check(struct room *r, int fd, dev_t dev, uint64_t need, uint64_t now) {
    uint64_t wanted;

    if (r->asked_usec == 0 || r->dev != dev || now - r->asked_usec >= ASK_EVERY) {
        r->free = room_ask(fd);
        r->dev = dev;
        r->asked_usec = MAX(now, 1u);
    }
    if (__builtin_add_overflow(need, r->min_free, &wanted))
        return -EROOM;
    return r->free < wanted ? -EROOM : 0;
}

void room_take(struct room *r, uint64_t n) {
    if (r->free < UINT64_MAX)
        r->free -= MIN(r->free, n);
}
