#include "daemon/worker/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "daemon/worker/owner.h"
#include "daemon/worker/place.h"

#define NUMBER_BYTES 12 /* that name_with_number() may add */

static const char *target_name(const struct task *t) {
    size_t dir = path_dir_len(t->job.output);

    return t->job.output + dir + (dir > 0 ? 1 : 0);
}

void target_path(const struct task *t, char *ret) {
    int dir = (int)path_dir_len(t->job.output);

    snprintf(ret, OUTPUT_MAX_BYTES + 1, "%.*s%s%s", dir, t->job.output, dir > 0 ? "/" : "",
             t->parcel.placed);
}

/* parcel.fd is the file. */
static void check_begin(struct task *t, struct dir *dir) {
    t->parcel.work = PARCEL_CHECK;
    t->parcel.dir = dir;
    dir->n_refs++;
    if (t->integrity.kinds != 0) {
        t->parcel.unread = &t->integrity;
        t->parcel.failure = &t->failure;
    }
}

/* 1: this job's file is there, of an earlier attempt. */
static int find_own(struct dir *dir, const char *store_id, struct task *t) {
    char part[PART_NAME_MAX];
    struct owned_file own;
    int r = owner_find(dir->fd, target_name(t), t->job.on_conflict, store_id, t->job.id, &own);

    if (r <= 0)
        return r;
    part_name(part, store_id, t->job.id);
    unlinkat(dir->fd, part, 0);
    memcpy(t->parcel.placed, own.name, sizeof(own.name));
    /* That attempt may have ended before the name was durable. */
    t->parcel.fd = openat(dir->fd, own.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (t->parcel.fd < 0)
        return 0;
    fault_point(own_found);
    check_begin(t, dir);
    t->found_own = true;
    t->size = own.size;
    t->bytes = (uint64_t)own.size; /* that attempt received them, and was not recorded */
    t->http_status = own.http_status;
    return 1;
}

/* 1: on_conflict is skip and there is a file. */
static int find_other(int dir_fd, struct task *t) {
    const char *name = target_name(t);
    struct stat st;
    int r = place_check(dir_fd, name, t->job.on_conflict);

    if (r <= 0)
        return r;
    snprintf(t->parcel.placed, sizeof(t->parcel.placed), "%s", name);
    t->skipped = true;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
        t->size = st.st_size;
    return 1;
}

static int look(struct dirs *dirs, const char *store_id, struct task *t) {
    struct dir *dir = NULL;
    int r = dirs_open(dirs, t->job.output, path_dir_len(t->job.output), false, &dir);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    if (t->job.maybe_published)
        r = find_own(dir, store_id, t);
    /* With if_modified the file that is there is the one meant; with content_disposition the name is
     * not known yet, and publishing decides. */
    if (r == 0 && !t->job.if_modified && !t->job.content_disposition)
        r = find_other(dir->fd, t);
    dir_unref(dir);
    return r;
}

bool target_open(struct dirs *dirs, struct task *t) {
    struct dir *dir = NULL;

    if (dirs_open(dirs, t->job.output, path_dir_len(t->job.output), false, &dir) < 0)
        return false;
    t->parcel.fd = openat(dir->fd, target_name(t), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (t->parcel.fd >= 0)
        check_begin(t, dir);
    dir_unref(dir);
    return t->parcel.fd >= 0;
}

bool target_settled(struct dirs *dirs, const char *store_id, struct task *t) {
    const struct wire_job *job = &t->job;
    int r = 0;

    if (!path_is_safe(job->output))
        failure_set(&t->failure, ERR_OUTPUT, "the output path is not one that dld makes");
    else if (strlen(job->output) > OUTPUT_MAX_BYTES - NUMBER_BYTES)
        r = -ENAMETOOLONG;
    else if (job->maybe_published || job->on_conflict == CONFLICT_FAIL ||
             job->on_conflict == CONFLICT_SKIP)
        r = look(dirs, store_id, t);
    if (r < 0)
        failure_set_output(&t->failure, r, job->output);
    return r > 0 || t->failure.error != ERR_NONE;
}
