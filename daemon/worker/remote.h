/*
 * remote.h - what a server says of its file that ours is to show: its name, its time, its version.
 *
 * A file published for a job with if_modified carries the server's entity tag in the extended
 * attribute "user.dld.etag", so that the next such job can ask whether it still holds; and in
 * "user.dld.file" which URL it is of, and its size and time, for of another URL (RFC 9110 section
 * 8.8.3) or of a file that was changed since the answer would say nothing.
 */
#ifndef DLD_WORKER_REMOTE_H
#define DLD_WORKER_REMOTE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "daemon/worker/dirs.h"
#include "daemon/worker/task.h"

#define ETAG_ATTRIBUTE "user.dld.etag"
#define FILE_ATTRIBUTE "user.dld.file"
#define ETAG_MAX 1024

/* The file that is to be updated, as it was when the transfer began. */
struct remote_base {
    bool there;
    bool other; /* it is of another URL, or was changed here */
    struct stat st;
    char etag[ETAG_MAX + 1]; /* "" where none is known */
};

/* Looks at the target of a job with that URL. Not there: no regular file, or not to be seen. */
void remote_base_look(struct remote_base *b, struct dirs *dirs, const char *output,
                      const char *url);

/* Is it still the same file? */
bool remote_base_holds(const struct remote_base *b, struct dirs *dirs, const char *output);

/* An entity tag (RFC 9110 section 8.8.3) of at most ETAG_MAX bytes? */
bool etag_is_valid(const char *s);

/* Keeps the entity tag with the open file of that URL, as it is now, as far as its file system can;
 * none for NULL or what is no entity tag. */
void remote_mark(int fd, const char *etag, const char *url);

/* Gives the open file the time of a Last-Modified field. NULL, no date, one before 1970 or more
 * than a day ahead of our clock: its time stays. */
void remote_set_time(int fd, const char *last_modified);

/* The name that a Content-Disposition field asks for takes the place of the last component of the
 * job's output, in task->parcel, which must be filled in. A file that this very job published
 * before a crash is replaced. Without a name nothing changes. 0 or -ENOMEM. */
int remote_set_name(struct task *t, const char *disposition, const char *store_id);

#endif
