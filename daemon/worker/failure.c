#include "daemon/worker/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/worker/room.h"

/* Of a path in a message; the reason behind it must still fit. */
#define PATH_SHOWN 300

void failure_clear(struct failure *f) {
    f->error = ERR_NONE;
    f->transient = f->elsewhere = false;
    f->retry_after_usec = 0;
    f->message[0] = '\0';
}

void failure_set(struct failure *f, enum dld_error error, const char *fmt, ...) {
    va_list ap;

    if (f->error != ERR_NONE)
        return;
    f->error = error;
    f->transient = error_transient(error);
    va_start(ap, fmt);
    vsnprintf(f->message, sizeof(f->message), fmt, ap);
    va_end(ap);
}

static const struct {
    int error; /* errno */
    enum dld_error is;
    const char *reason;
} output_failures[] = {
    {ENOSPC, ERR_NO_SPACE, "no space is left on the file system"},
    {EDQUOT, ERR_NO_SPACE, "the disk quota is used up"},
    {EROOM, ERR_NO_SPACE, "the file system has no room for it, or less than min_free_space would be left"},
    {EROFS, ERR_NO_SPACE, "the file system is read-only"},
    {EIDRM, ERR_NO_SPACE, "the output root was removed; dlctl reload makes it again"},
    {ENOMEM, ERR_INTERNAL, "out of memory"},
    {EMFILE, ERR_INTERNAL, "too many files are open in this worker"},
    {ENFILE, ERR_INTERNAL, "too many files are open on this machine"},
    {EEXIST, ERR_EXISTS, "it exists already and on_conflict is fail"},
    {ENOTDIR, ERR_OUTPUT, "a part of the path is not a directory"},
    {ELOOP, ERR_OUTPUT, "a part of the path is a symbolic link, and none is followed"},
    {EISDIR, ERR_OUTPUT, "it is a directory"},
    {EFBIG, ERR_OUTPUT, "the file is larger than the file system allows"},
    {EOPNOTSUPP, ERR_OUTPUT,
     "the file system can neither rename without replacing nor make hard links; on_conflict "
     "overwrite needs neither"},
    {ENOENT, ERR_OUTPUT, "its directory was removed while it was written"},
    {ESTALE, ERR_OUTPUT, "another program has put a file in the place of its part file"},
};

void failure_set_output(struct failure *f, int error, const char *path) {
    for (size_t i = 0; i < ELEMENTSOF(output_failures); i++)
        if (output_failures[i].error == -error) {
            failure_set(f, output_failures[i].is, "can't write %.*s: %s", PATH_SHOWN, path,
                        output_failures[i].reason);
            f->transient |= error == -ENOENT || error == -ESTALE; /* the next attempt makes it again */
            return;
        }
    failure_set(f, ERR_OUTPUT, "can't write %.*s: %s", PATH_SHOWN, path, strerror(-error));
}
