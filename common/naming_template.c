#include "common/naming.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/naming_part.h"
#include "common/text.h"
#include "common/util.h"

enum field {
    FIELD_TEXT = -1,
    FIELD_HOST,
    FIELD_PATH,
    FIELD_NAME,
    FIELD_STEM,
    FIELD_EXT,
    FIELD_ID,
    FIELD_INDEX,
    FIELD_MAX_,
};

static const char *const field_names[FIELD_MAX_] = {
    [FIELD_HOST] = "host", [FIELD_PATH] = "path", [FIELD_NAME] = "name",   [FIELD_STEM] = "stem",
    [FIELD_EXT] = "ext",   [FIELD_ID] = "id",     [FIELD_INDEX] = "index",
};

struct piece {
    enum field field;
    const char *text; /* of FIELD_TEXT */
    size_t n;
};

/* Takes the next piece off *s: 1; at the end 0; -EINVAL where braces are wrong. */
static int piece_next(const char **s, struct piece *ret) {
    const char *at = *s;
    size_t n = strcspn(at, "{}");

    if (!*at)
        return 0;
    if (n > 0 || at[1] == at[0]) {
        *ret = (struct piece){FIELD_TEXT, at, n > 0 ? n : 1};
        *s += n > 0 ? n : 2;
        return 1;
    }
    n = strcspn(at, "}");
    for (int f = 0; *at == '{' && at[n] && f < FIELD_MAX_; f++)
        if (n - 1 == strlen(field_names[f]) && memcmp(at + 1, field_names[f], n - 1) == 0) {
            *ret = (struct piece){.field = (enum field)f};
            *s += n + 1;
            return 1;
        }
    return -EINVAL;
}

/* Braces are never dots or slashes, so what is written shows what the parts can become. */
static const char *check_parts(const char *output) {
    for (const char *part = output;; part++) {
        size_t n = strcspn(part, "/");

        if (n == 0 && !*part)
            return NULL;
        if (n == 0)
            return "no part of the path may be empty";
        if ((n == 1 && *part == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
            return "no part of the path may be \".\" or \"..\"";
        if (n > NAME_MAX_BYTES && !memchr(part, '{', n))
            return "a part of the path is longer than 255 bytes; shorten it";
        if (name_is_reserved(part, n))
            return "names that start with \".dld-\" are reserved for part files";
        part += n;
        if (!*part)
            return NULL;
    }
}

static const char *check_pieces(const char *output) {
    struct piece piece;
    int r;

    while ((r = piece_next(&output, &piece)) > 0)
        ;
    if (r == 0)
        return NULL;
    return *output == '}' ? "a '}' belongs to no field; write }} for a '}' itself"
                          : "expected one of {host} {path} {name} {stem} {ext} {id} {index} "
                            "at the '{'; write {{ for a '{' itself";
}

int output_check(const char *output, const char **ret_why) {
    size_t n = strlen(output);
    const char *why;

    if (n == 0)
        why = "it is empty; leave the key out for the name in the URL";
    else if (n > OUTPUT_MAX_BYTES)
        why = "it is longer than 4095 bytes";
    else if (*output == '/')
        why = "expected a path beneath the output root, without a '/' at its start";
    else if (!text_is_printable(output, n))
        why = "control characters, and bytes that aren't UTF-8, are not allowed in it";
    else
        why = check_parts(output);
    if (!why)
        why = check_pieces(output);
    if (!why)
        return 0;
    *ret_why = why;
    return -EINVAL;
}

/* Where a path is put together; room for one that is too long only until its parts are shortened.
 */
struct draft {
    char text[2 * URL_MAX_LENGTH];
    size_t len;
};

static int draft_add(struct draft *d, const char *s, size_t n) {
    if (n > sizeof(d->text) - d->len)
        return -ENAMETOOLONG;
    memcpy(d->text + d->len, s, n);
    d->len += n;
    return 0;
}

/* The directories of the URL's path, a '/' between them. */
static int draft_add_directories(struct draft *d, const struct url *u) {
    const char *s = u->path + 1, *end = memrchr(u->path, '/', u->path_len);
    char name[URL_MAX_LENGTH];
    int r = 0;

    for (bool first = true; s < end && r == 0; first = false) {
        size_t n = strcspn(s, "/");

        if (!first)
            r = draft_add(d, "/", 1);
        if (r == 0)
            r = draft_add(d, name, segment_decode(s, n, name));
        s += n + 1;
    }
    return r;
}

static int draft_add_field(struct draft *d, enum field field, const struct url *u, int64_t id,
                           uint64_t index) {
    char text[NAME_MAX_BYTES];
    size_t n = 0, stem;

    switch (field) {
    case FIELD_HOST:
        return draft_add(d, u->host, u->host_len);
    case FIELD_PATH:
        return draft_add_directories(d, u);
    case FIELD_ID:
        n = (size_t)snprintf(text, sizeof(text), "%" PRId64, id);
        return draft_add(d, text, n);
    case FIELD_INDEX:
        n = (size_t)snprintf(text, sizeof(text), "%" PRIu64, index);
        return draft_add(d, text, n);
    default:
        n = url_name(u, text);
        stem = name_stem(text, n);
        if (field == FIELD_NAME)
            return draft_add(d, text, n);
        return field == FIELD_STEM ? draft_add(d, text, stem) : draft_add(d, text + stem, n - stem);
    }
}

static int path_add(char *path, size_t *len, const char *name, size_t n) {
    if (*len + (*len > 0) + n > OUTPUT_MAX_BYTES)
        return -ENAMETOOLONG;
    if (*len > 0)
        path[(*len)++] = '/';
    memcpy(path + *len, name, n);
    *len += n;
    return 0;
}

/* The draft's parts made names, and joined. */
static int draft_finish(const struct draft *d, const struct url *u, char **ret) {
    char path[OUTPUT_MAX_BYTES], name[NAME_MAX_BYTES];
    const char *end = d->text + d->len, *slash;
    size_t len = 0;
    char *text;

    for (const char *s = d->text; s <= end; s = slash + 1) {
        size_t n;
        int r;

        slash = memchr(s, '/', (size_t)(end - s));
        if (!slash)
            slash = end;
        n = (size_t)(slash - s);
        if (n == 0 && slash < end)
            continue;
        r = path_add(path, &len, name, n > 0 ? name_settle(s, n, name) : url_name(u, name));
        if (r < 0)
            return r;
    }
    text = strndup(path, len);
    if (!text)
        return -ENOMEM;
    *ret = text;
    return 0;
}

int output_expand(const char *output, const struct url *u, int64_t id, uint64_t index, char **ret) {
    struct draft d;
    struct piece piece;
    int r;

    d.len = 0;
    while (output && (r = piece_next(&output, &piece)) != 0) {
        if (r > 0 && piece.field == FIELD_TEXT)
            r = draft_add(&d, piece.text, piece.n);
        else if (r > 0)
            r = draft_add_field(&d, piece.field, u, id, index);
        if (r < 0)
            return r;
    }
    return draft_finish(&d, u, ret);
}
