#include "daemon/worker/parcel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/worker/place.h"

void part_name(char *ret, int64_t job) {
    snprintf(ret, PART_NAME_MAX, ".dld-%" PRId64 ".part", job);
}

void parcel_discard(struct parcel *p) {
    if (!p->unnamed)
        unlinkat(p->dir->fd, p->part, 0);
    p->fd = close_fd(p->fd);
}

void parcel_place(struct parcel *p) {
    int r;

    fault_point(name_due);
    r = p->unnamed ? place_unnamed(p->dir->fd, p->fd, p->part, p->name, p->conflict, p->placed)
                       : place_file(p->dir->fd, p->part, p->name, p->conflict, p->placed);

    fault_point(name_given);
    p->error = r < 0 ? r : 0;
    p->skipped = r > 0;
    if (r != 0)
        parcel_discard(p);
    p->fd = close_fd(p->fd);
}

void parcel_check(struct parcel *p) {
    p->error = digest_file(p->fd, p->unread->kinds, &p->sums);
    if (p->error == 0)
        integrity_judge(p->unread, &p->sums, p->failure);
    if (p->failure->error != ERR_NONE)
        p->error = -EBADMSG;
}

void parcel_done(struct parcel *p) {
    p->fd = close_fd(p->fd);
    p->dir = dir_unref(p->dir);
}
