/* scratch.h - an empty directory for each test, and looking at what is in it. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    char path[64];
    int fd;
};

/* For cmocka_unit_test_setup_teardown(): *state becomes a struct scratch. */
static inline int scratch_setup(void **state) {
    struct scratch *s = calloc(1, sizeof(*s));

    umask(0);
    if (!s)
        return -1;
    strcpy(s->path, "/tmp/dld-test-XXXXXX");
    if (!mkdtemp(s->path)) {
        free(s);
        return -1;
    }
    s->fd = open(s->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *state = s;
    return s->fd < 0;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int scratch_teardown(void **state) {
    struct scratch *s = *state;

    close(s->fd);
    nftw(s->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

/* Makes a file of that text. */
static inline void scratch_write(const struct scratch *s, const char *name, const char *text) {
    int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t n = strlen(text);

    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        abort();
    close(fd);
}

/* Does the file hold that text and no more? */
static inline bool scratch_holds(const struct scratch *s, const char *name, const char *text) {
    char found[256];
    int fd = openat(s->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, found, sizeof(found));

    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text) && memcmp(found, text, (size_t)n) == 0;
}

static inline bool scratch_exists(const struct scratch *s, const char *name) {
    return faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Entries of a directory; "." for the scratch directory itself. */
static inline int scratch_count(const struct scratch *s, const char *name) {
    int fd = openat(s->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

#endif
