/*
 * naming.h - which name a downloaded file gets.
 *
 * Pure functions over strings. A name is always valid UTF-8 without control characters and each
 * component at most 255 bytes; a relative path never has an empty, "." or ".." component, nor one
 * that starts with ".dld-" (those are part files). Where a URL would give such a name, its first
 * dot becomes "%2E". "Control characters" are all those that text_printable() in text.h doesn't let
 * through: also C1 and those that reorder a line.
 *
 * An extension, here, is what follows the last dot that is not among the dots at the start, that
 * dot included, up to NAME_EXTENSION_MAX bytes; ".tar.gz" and the like, a dot after "tar", count as
 * one extension. A longer one is no extension. Names are shortened before it, and never within a
 * UTF-8 sequence or a percent escape.
 */
#ifndef DLD_NAMING_H
#define DLD_NAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "url.h"

#define NAME_MAX_BYTES 255
#define NAME_EXTENSION_MAX 32
#define OUTPUT_MAX_BYTES 4095

/* What to do when the wanted name is taken. The numbers go over the wire. */
enum on_conflict {
    CONFLICT_RENAME = 0, /* the next free of name.1.ext, name.2.ext, ... */
    CONFLICT_FAIL = 1,
    CONFLICT_OVERWRITE = 2,
    CONFLICT_SKIP = 3, /* leave the file that is there, fetch nothing, job is done */
    CONFLICT_MAX_ = 4
};
const char *on_conflict_name(enum on_conflict c);
int on_conflict_parse(const char *s, enum on_conflict *ret); /* -EINVAL */

/* The name that the last segment of the URL's path gives: percent-decoded, made safe, "index.html"
 * for a path that ends in '/'. A decoded '/', NUL or control character and each byte that isn't
 * UTF-8 stays percent-encoded. Shortened to NAME_MAX_BYTES before its extension. Returns a new
 * string, NULL when out of memory. */
char *name_from_url(const struct url *u);

/* A name of any bytes: what text_printable() doesn't let through, '/', '\\' and bytes that aren't
 * UTF-8 become '_', blanks at both ends and dots at the end go, then it is made as
 * name_from_url()'s are. Returns a new string; NULL when nothing but blanks, dots and '_' is left,
 * or when out of memory. */
char *name_make_safe(const char *s, size_t n);

/* Checks an `output` value as written by a user: relative, not empty, no ".." or "." or empty
 * components, none that starts with ".dld-", no control characters, known template fields only, at
 * most OUTPUT_MAX_BYTES. A trailing '/' means a directory: the name from the URL is put in it.
 * Returns 0, or -EINVAL with a static sentence in *ret_why. */
int output_check(const char *output, const char **ret_why);

/* Expands output (NULL: just the name in the URL) into the relative path of a job. Fields: {host}
 * {path} (the directories of the URL's path) {name} {stem} {ext} (with its dot, "" when there is
 * none) {id} {index}; "{{" and "}}" are braces. What a field brings in is made safe like a name;
 * only {path} can bring in '/'. Components that fields make too long are shortened, those that come
 * out empty are left out; when that is the last one, the name from the URL takes its place. Returns
 * 0 and a new string in *ret, -ENOMEM, -ENAMETOOLONG when the whole exceeds OUTPUT_MAX_BYTES, or
 * -EINVAL for fields that output_check() refuses. */
int output_expand(const char *output, const struct url *u, int64_t id, uint64_t index, char **ret);

/* "dir/photo.jpg", 2 -> "photo.2.jpg": the last component of path with the number before its
 * extension, shortened to fit NAME_MAX_BYTES. n = 0 gives the name itself. Writes to ret, which
 * holds NAME_MAX_BYTES + 1. */
void name_with_number(const char *path, unsigned n, char *ret);

/* A path as a worker reports it: what this header's first paragraph promises. */
bool path_is_safe(const char *path);

#endif
