#include "daemon/worker/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/util.h"
#include "daemon/worker/place.h"

void part_name(char *ret, const char *store_id, int64_t job) {
    snprintf(ret, PART_NAME_MAX, ".dld-%.8s-%" PRId64 ".part", store_id, job);
}

void part_unlink(const struct dir *dir, const char *part) {
    if (unlinkat(dir->fd, part, 0) < 0 && errno != ENOENT)
        log_warning("the part file %s%s%s can't be removed: %s; it is of no use any more",
                    dir->path, *dir->path ? "/" : "", part, strerror(errno));
}

void parcel_discard(struct parcel *p) {
    if (!p->unnamed)
        part_unlink(p->dir, p->part);
    p->fd = close_fd(p->fd);
}

/* Where a name in the directory leads. */
enum leads { LEADS_NOWHERE, LEADS_HERE /* to the open file */, LEADS_ELSEWHERE };

static enum leads where_leads(const struct dir *dir, const char *name, int fd) {
    struct stat ours, there;

    if (fstat(fd, &ours) < 0 || fstatat(dir->fd, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
        return LEADS_NOWHERE;
    return there.st_ino == ours.st_ino && there.st_dev == ours.st_dev ? LEADS_HERE : LEADS_ELSEWHERE;
}

static int give_name(struct parcel *p) {
    if (p->unnamed)
        return place_unnamed(p->dir->fd, p->fd, p->part, p->name, p->conflict, p->placed);
    if (where_leads(p->dir, p->part, p->fd) == LEADS_ELSEWHERE)
        return -ESTALE;
    return place_file(p->dir->fd, p->part, p->name, p->conflict, p->placed);
}

void parcel_name(struct parcel *p) {
    int r;

    fault_point(name_due);
    r = give_name(p);
    fault_point(name_given);
    p->error = r < 0 ? r : 0;
    p->skipped = r > 0;
    if (r == -ESTALE)
        p->fd = close_fd(p->fd);
    else if (r != 0)
        parcel_discard(p);
}

void parcel_place(struct parcel *p) {
    parcel_name(p);
    p->fd = close_fd(p->fd);
}

void parcel_unname(struct parcel *p) {
    if (p->conflict != CONFLICT_OVERWRITE && where_leads(p->dir, p->placed, p->fd) == LEADS_HERE)
        unlinkat(p->dir->fd, p->placed, 0);
    p->fd = close_fd(p->fd);
}

void parcel_check(struct parcel *p) {
    if (p->begun_bytes > 0 && p->begun.kinds == p->unread->kinds) {
        p->error = digest_add_file(&p->begun, p->fd, p->begun_bytes);
        if (p->error == 0)
            p->error = digest_end(&p->begun, &p->sums);
    } else {
        p->error = digest_file(p->fd, p->unread->kinds, &p->sums);
    }
    if (p->error == 0)
        integrity_judge(p->unread, &p->sums, p->failure);
    if (p->failure->error != ERR_NONE)
        p->error = -EBADMSG;
}

void parcel_done(struct parcel *p) {
    p->fd = close_fd(p->fd);
    digest_done(&p->begun);
    p->begun_bytes = 0;
    p->dir = dir_unref(p->dir);
}
