#include "common/jsonl.h"

#include <errno.h>
#include <string.h>

int jsonl_next(struct buf *b, size_t *scanned, char **ret, size_t *ret_len) {
    char *line = buf_head(b);
    size_t size = buf_size(b), len;
    char *end;

    if (size == 0) {
        *scanned = 0;
        return 0;
    }
    end = memchr(line + *scanned, '\n', size - *scanned);
    if (!end) {
        *scanned = size;
        return size >= b->max - 1 ? -EMSGSIZE : 0;
    }
    len = (size_t)(end - line);
    buf_consume(b, len + 1);
    *scanned = 0;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    *ret = line;
    *ret_len = len;
    return 1;
}
