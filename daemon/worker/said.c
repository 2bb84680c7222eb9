#include "daemon/worker/said.h"

#include <string.h>
#include <strings.h>
#include <sys/xattr.h>

#include "common/buf.h"
#include "common/util.h"
#include "daemon/worker/answer.h"

#define SAID_ATTRIBUTE "user.dld.said"

#define CODING "Content-Encoding"
#define PLAIN "identity"

/* The attribute is a line for each: "Name: value". */
static const char *const digests[] = {"Repr-Digest", "Digest", "Content-Digest", "Content-MD5"};
static const char *const others[] = {"Content-Disposition", "Last-Modified"};

static void add_field(struct buf *b, CURL *easy, const char *name) {
    size_t amount = 1;

    for (size_t i = 0; i < amount; i++) {
        const char *value = answer_field_at(easy, name, i, &amount);

        if (value && buf_size(b) + strlen(name) + strlen(value) + 3 < SAID_MAX)
            buf_addf(b, "%s: %s\n", name, value);
    }
}

void said_keep(int fd, CURL *easy) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(SAID_MAX);
    bool is_plain = answer_is_plain(easy);

    if (is_plain)
        buf_addf(&b, "%s: %s\n", CODING, PLAIN);
    for (size_t i = 0; i < ELEMENTSOF(digests) && is_plain; i++)
        add_field(&b, easy, digests[i]);
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        add_field(&b, easy, others[i]);
    if (buf_size(&b) > 0 && !buf_error(&b))
        fsetxattr(fd, SAID_ATTRIBUTE, buf_head(&b), buf_size(&b), 0);
    else
        said_forget(fd);
}

static bool read_all(int fd, char text[static SAID_MAX]) {
    ssize_t n = fgetxattr(fd, SAID_ATTRIBUTE, text, SAID_MAX - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* The next "Name: value" of text, which becomes two strings; *rest is what is behind it. */
static bool next_field(char **rest, const char **ret_name, const char **ret_value) {
    char *line = strsep(rest, "\n"), *colon = line ? strstr(line, ": ") : NULL;

    if (!colon)
        return false;
    *colon = '\0';
    *ret_name = line;
    *ret_value = colon + 2;
    return true;
}

void said_digests(int fd, struct integrity *in) {
    char text[SAID_MAX], *rest = text;
    const char *name, *value;

    if (!read_all(fd, text))
        return;
    while (next_field(&rest, &name, &value))
        integrity_field(in, name, value);
}

const char *said_field(int fd, const char *name, char value[static SAID_MAX]) {
    const char *found_name, *found;
    char *rest = value;

    if (!read_all(fd, value))
        return NULL;
    while (next_field(&rest, &found_name, &found))
        if (strcasecmp(found_name, name) == 0)
            return found;
    return NULL;
}

bool said_plain(int fd) {
    char text[SAID_MAX];
    const char *coding = said_field(fd, CODING, text);

    return coding && streq(coding, PLAIN);
}

void said_forget(int fd) {
    fremovexattr(fd, SAID_ATTRIBUTE);
}
