#include "daemon/worker/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "common/util.h"
#include "daemon/worker/place.h"

#define MARK_MAX 96

int owner_mark(int fd, const char *store_id, int64_t job, unsigned http_status) {
    char mark[MARK_MAX];
    int n = snprintf(mark, sizeof(mark), "%s/%" PRId64 "/%u", store_id, job, http_status);

    if (n >= (int)sizeof(mark))
        return -EINVAL;
    if (fsetxattr(fd, OWNER_ATTRIBUTE, mark, (size_t)n, 0) < 0)
        return -errno;
    return 0;
}

/* Opened so that neither a symbolic link is followed nor a FIFO waited for. */
static bool is_own(int dir_fd, const char *name, const char *mark, struct owned_file *ret) {
    _cleanup_close_ int fd =
        openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    size_t want = strlen(mark);
    char found[MARK_MAX];
    uint64_t status;
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    n = fgetxattr(fd, OWNER_ATTRIBUTE, found, sizeof(found) - 1);
    if (n <= (ssize_t)want || memcmp(found, mark, want) != 0)
        return false;
    found[n] = '\0';
    if (parse_u64(found + want, &status) < 0 || status > 999)
        return false;
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    ret->size = st.st_size;
    ret->http_status = (unsigned)status;
    return true;
}

int owner_find(int dir_fd, const char *name, enum on_conflict conflict, const char *store_id,
               int64_t job, struct owned_file *ret) {
    char mark[MARK_MAX], numbered[NAME_MAX_BYTES + 1];
    unsigned end = 1, looks = 0;
    int r;

    if (snprintf(mark, sizeof(mark), "%s/%" PRId64 "/", store_id, job) >= (int)sizeof(mark))
        return -EINVAL;
    if (conflict == CONFLICT_RENAME) {
        r = place_free_number(dir_fd, name, 0, &end);
        if (r < 0)
            return r;
    }
    for (unsigned n = end; n-- > 0 && looks++ < OWNER_LOOKS_MAX;) {
        name_with_number(name, n, numbered);
        if (is_own(dir_fd, numbered, mark, ret))
            return 1;
    }
    return 0;
}
