#include "daemon/job_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "common/url.h"
#include "common/util.h"

static int refuse_url(const char *s, const char *place, const char *key, const char *why,
                      size_t column, struct job_error *err) {
    char quoted[TEXT_QUOTED_MAX];

    if (why == url_scheme_unsupported)
        return job_refuse(err, place, key, "the scheme %s is not supported; use " URL_SCHEMES,
                          text_quote(quoted, s, strcspn(s, ":")));
    if (column == 0)
        return job_refuse(err, place, key, "%s", why);
    s += column - 1;
    return job_refuse(err, place, key, "%s (at byte %zu: %s)", why, column,
                      text_quote(quoted, s, strlen(s)));
}

static int parse_one(const char *s, const char *place, const char *key, struct url *ret,
                     struct job_error *err) {
    const char *why;
    size_t column;
    int r = url_parse(s, ret, &why, &column);

    return r == -EINVAL ? refuse_url(s, place, key, why, column, err) : r;
}

/* One of `urls`: into *first, that of the job, if it is the first, and into *mirrors. */
static int add_mirror(const json_t *item, const char *place, struct url *first, struct buf *mirrors,
                      size_t *bytes, struct job_error *err) {
    _cleanup_(url_done) struct url url = {0};
    int r = parse_one(json_string_value(item), place, NULL, &url, err);

    if (r < 0)
        return r;
    json_str(mirrors, NULL, url.text);
    *bytes += strlen(url.text);
    if (!first->text) {
        *first = url;
        url = (struct url){0};
    }
    return 0;
}

static int parse_mirrors(const json_t *urls, const char *place, struct url *ret,
                         struct buf *mirrors, struct job_error *err) {
    size_t bytes = 0;
    int r = 0;

    json_begin(mirrors, NULL, '[');
    for (size_t i = 0; i < json_array_size(urls); i++) {
        char item[160];

        snprintf(item, sizeof(item), "%.100s%surls[%zu]", place, *place ? "." : "", i);
        r = add_mirror(json_array_get(urls, i), item, ret, mirrors, &bytes, err);
        if (r < 0)
            return r;
    }
    json_end(mirrors, ']');
    if (bytes > URL_MAX_LENGTH)
        return job_refuse(err, place, "urls", "expected at most %d bytes in all, found %zu",
                          URL_MAX_LENGTH, bytes);
    return buf_error(mirrors) < 0 ? -ENOMEM : 0;
}

int job_urls_parse(const struct job_values *v, const char *place, struct url *ret,
                   struct buf *mirrors, struct job_error *err) {
    int r;

    if (v->text[KEY_URL] && v->urls)
        return job_refuse(err, place, NULL, "\"url\" and \"urls\" are both given; leave one out");
    if (v->text[KEY_URL])
        return parse_one(v->text[KEY_URL], place, "url", ret, err);
    if (!v->urls)
        return job_refuse(err, place, NULL, "\"url\" is missing");
    r = parse_mirrors(v->urls, place, ret, mirrors, err);
    if (r >= 0 && json_array_size(v->urls) == 1)
        buf_clear(mirrors);
    return r;
}
