#include "daemon/worker/remote.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "common/disposition.h"
#include "common/util.h"
#include "daemon/worker/owner.h"

#define NUMBER_BYTES 12 /* that name_with_number() may add */
#define AHEAD_MAX (24 * 3600)
#define FILE_TEXT_MAX 80

static const char *file_name(const char *output) {
    size_t dir = path_dir_len(output);

    return output + dir + (dir > 0 ? 1 : 0);
}

bool etag_is_valid(const char *s) {
    size_t n = strnlen(s, ETAG_MAX + 1), start = strncmp(s, "W/", 2) == 0 ? 2 : 0;

    if (n > ETAG_MAX || n < start + 2 || s[start] != '"' || s[n - 1] != '"')
        return false;
    for (size_t i = start + 1; i < n - 1; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == '"' || s[i] == 0x7f)
            return false;
    return true;
}

static void read_etag(struct remote_base *b, int fd) {
    ssize_t n = fgetxattr(fd, ETAG_ATTRIBUTE, b->etag, ETAG_MAX);

    b->etag[MAX(n, (ssize_t)0)] = '\0';
    if (!etag_is_valid(b->etag))
        b->etag[0] = '\0';
}

/* What FILE_ATTRIBUTE says: FNV-1a of the URL, and what a change of the file changes. */
static void describe(char text[FILE_TEXT_MAX], const char *url, const struct stat *st) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *p = url; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    snprintf(text, FILE_TEXT_MAX, "%016" PRIx64 " %lld %lld.%09ld", hash, (long long)st->st_size,
             (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

/* One that nothing is said of is taken for what it seems. */
static bool is_other(int fd, const char *url, const struct stat *st) {
    char text[FILE_TEXT_MAX], said[FILE_TEXT_MAX];
    ssize_t n = fgetxattr(fd, FILE_ATTRIBUTE, said, sizeof(said) - 1);

    if (n < 0)
        return false;
    said[n] = '\0';
    describe(text, url, st);
    return !streq(text, said);
}

void remote_base_look(struct remote_base *b, struct dirs *dirs, const char *output,
                      const char *url) {
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct dir *dir = NULL;
    int fd;

    b->there = b->other = false;
    b->etag[0] = '\0';
    if (dirs_open(dirs, output, path_dir_len(output), false, &dir) < 0)
        return;
    fd = openat(dir->fd, file_name(output), flags);
    if (fd >= 0 && fstat(fd, &b->st) == 0 && S_ISREG(b->st.st_mode)) {
        b->there = true;
        b->other = is_other(fd, url, &b->st);
        read_etag(b, fd);
    }
    close_fd(fd);
    dir_unref(dir);
}

bool remote_base_holds(const struct remote_base *b, struct dirs *dirs, const char *output) {
    struct remote_base now;

    remote_base_look(&now, dirs, output, "");
    return b->there && now.there && now.st.st_dev == b->st.st_dev &&
           now.st.st_ino == b->st.st_ino && now.st.st_size == b->st.st_size &&
           now.st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
           now.st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec;
}

void remote_mark(int fd, const char *etag, const char *url) {
    char text[FILE_TEXT_MAX];
    struct stat st;

    if (fstat(fd, &st) == 0) {
        describe(text, url, &st);
        fsetxattr(fd, FILE_ATTRIBUTE, text, strlen(text), 0);
    }
    if (etag && etag_is_valid(etag))
        fsetxattr(fd, ETAG_ATTRIBUTE, etag, strlen(etag), 0);
}

void remote_set_time(int fd, const char *last_modified) {
    time_t date = last_modified ? curl_getdate(last_modified, NULL) : -1;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = date}};

    if (date >= 0 && date <= time(NULL) + AHEAD_MAX)
        futimens(fd, times);
}

int remote_set_name(struct task *t, const char *disposition, const char *store_id) {
    struct parcel *p = &t->parcel;
    struct owned_file own;
    char *name = disposition ? disposition_name(disposition) : NULL;

    if (disposition && !name && errno == ENOMEM)
        return -ENOMEM;
    if (!name || path_dir_len(t->job.output) + 1 + strlen(name) > OUTPUT_MAX_BYTES - NUMBER_BYTES) {
        free(name);
        return 0;
    }
    free(t->name);
    p->name = t->name = name;
    if (!t->job.maybe_published ||
        owner_find(p->dir->fd, name, p->conflict, store_id, t->job.id, &own) <= 0)
        return 0;
    name = strdup(own.name);
    if (!name)
        return -ENOMEM;
    free(t->name);
    p->name = t->name = name;
    p->conflict = CONFLICT_OVERWRITE;
    return 0;
}
