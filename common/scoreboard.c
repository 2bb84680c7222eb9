#include "common/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"

static size_t scoreboard_size(uint32_t n_rows) {
    return sizeof(struct scoreboard) + n_rows * sizeof(struct scoreboard_row);
}

static int scoreboard_mmap(int fd, uint32_t n_rows, struct scoreboard **ret) {
    void *p = mmap(NULL, scoreboard_size(n_rows), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return -errno;
    *ret = p;
    return 0;
}

int scoreboard_create(uint32_t n_rows, struct scoreboard **ret, int *ret_fd) {
    _cleanup_close_ int fd = memfd_create("dld-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct scoreboard *s = NULL;
    int r;

    if (fd < 0)
        return -errno;
    if (n_rows > SCOREBOARD_MAX_ROWS)
        return -EINVAL;
    if (ftruncate(fd, (off_t)scoreboard_size(n_rows)) < 0)
        return -errno;
    /* Sealed, so that no worker can shrink it and the master get SIGBUS. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    r = scoreboard_mmap(fd, n_rows, &s);
    if (!s)
        return r;
    s->n_rows = n_rows;
    *ret = s;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int scoreboard_map(int fd, uint32_t n_rows, struct scoreboard **ret) {
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (n_rows > SCOREBOARD_MAX_ROWS || st.st_size != (off_t)scoreboard_size(n_rows))
        return -EBADMSG;
    return scoreboard_mmap(fd, n_rows, ret);
}

struct scoreboard *scoreboard_unmap(struct scoreboard *s, uint32_t n_rows) {
    if (s)
        munmap(s, scoreboard_size(n_rows));
    return NULL;
}
