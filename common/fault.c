#include "common/fault.h"

#ifdef FAULTS

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/util.h"

static int32_t *points;

/* Before main(): later a worker may open no such file. */
static __attribute__((constructor)) void points_map(void) {
    const char *path = getenv("FAULT_POINTS");
    _cleanup_close_ int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED
                     : mmap(NULL, FAULT_POINT_MAX_ * sizeof(*points), PROT_READ | PROT_WRITE,
                            MAP_SHARED, fd, 0);

    points = p == MAP_FAILED ? NULL : p;
}

void fault_met(enum fault point) {
    if (points && __atomic_fetch_sub(&points[point], 1, __ATOMIC_SEQ_CST) == 1)
        kill(getpid(), SIGKILL);
}

#endif
