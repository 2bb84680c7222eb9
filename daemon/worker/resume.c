#include "daemon/worker/resume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/util.h"
#include "daemon/worker/answer.h"

bool etag_is_strong(const char *etag) {
    size_t n = strlen(etag);

    return n >= 2 && n < VERSION_ETAG_MAX && etag[0] == '"' &&
           strchr(etag + 1, '"') == etag + n - 1;
}

bool date_is_strong(const char *modified, const char *date) {
    time_t changed = curl_getdate(modified, NULL), sent = curl_getdate(date, NULL);

    return changed >= 0 && sent >= 0 && strlen(modified) < VERSION_DATE_MAX &&
           sent - changed >= VERSION_AGE;
}

/* The only field of that name. */
static const char *only_field(CURL *easy, const char *name) {
    size_t amount = 0;
    const char *value = answer_field_at(easy, name, 0, &amount);

    return amount == 1 ? value : NULL;
}

bool version_read(CURL *easy, struct version *ret) {
    const char *etag = only_field(easy, "ETag");
    const char *modified = only_field(easy, "Last-Modified"), *date = only_field(easy, "Date");

    *ret = (struct version){.etag = ""};
    if (etag && etag_is_strong(etag))
        snprintf(ret->etag, sizeof(ret->etag), "%s", etag);
    if (modified && date && date_is_strong(modified, date))
        snprintf(ret->modified, sizeof(ret->modified), "%s", modified);
    return *ret->etag || *ret->modified;
}

const char *resume_condition(const struct wire_kept *kept) {
    if (kept->offset == 0)
        return NULL;
    return kept->etag ? kept->etag : kept->last_modified;
}

bool resume_may(const struct wire_kept *kept, bool has_checksum) {
    return resume_condition(kept) || (kept->offset > 0 && kept->total > 0 && has_checksum);
}

/* Digits, followed by end. */
static bool read_number(const char **s, char end, int64_t *ret) {
    char digits[20];
    size_t n = strspn(*s, "0123456789");
    uint64_t value;

    if (n == 0 || n >= sizeof(digits) || (*s)[n] != end)
        return false;
    memcpy(digits, *s, n);
    digits[n] = '\0';
    if (parse_u64(digits, &value) < 0 || value > INT64_MAX)
        return false;
    *ret = (int64_t)value;
    *s += n + (end != '\0');
    return true;
}

bool content_range_parse(const char *s, struct content_range *ret) {
    struct content_range r = {-1, -1, -1};

    if (strncasecmp(s, "bytes ", 6) != 0)
        return false;
    s += 6;
    if (strncmp(s, "*/", 2) == 0)
        s += 2;
    else if (!read_number(&s, '-', &r.first) || !read_number(&s, '/', &r.last))
        return false;
    if (!(streq(s, "*") && r.first >= 0) && !read_number(&s, '\0', &r.total))
        return false;
    if (r.first > r.last || (r.total >= 0 && r.last >= r.total))
        return false;
    *ret = r;
    return true;
}

/* A validator that the answer has must be the one that is kept. */
static bool differs(CURL *easy, const char *name, const char *kept) {
    const char *value = answer_field(easy, name);

    return kept && value && !streq(kept, value);
}

/* Up to the byte end, 0: to the file's end. */
static const char *misfit(CURL *easy, const struct wire_kept *kept, uint64_t end,
                          int64_t *ret_total) {
    const char *range = only_field(easy, "Content-Range");
    struct content_range r;
    const char *type = answer_field(easy, "Content-Type");

    if (type && strncasecmp(type, "multipart/byteranges", strlen("multipart/byteranges")) == 0)
        return "it is in several parts";
    if (!range)
        return "it does not say which part it is";
    if (!content_range_parse(range, &r))
        return "its Content-Range makes no sense";
    if (r.first < 0 || (uint64_t)r.first != kept->offset || r.total < 0 ||
        r.last != (end > 0 ? (int64_t)end : r.total) - 1)
        return "it is not the part that was asked for";
    if (kept->total >= 0 && r.total != kept->total)
        return "the file has another size now";
    if (differs(easy, "ETag", kept->etag) || differs(easy, "Last-Modified", kept->last_modified))
        return "it is of another version of the file";
    *ret_total = r.total;
    return NULL;
}

const char *resume_misfit(CURL *easy, const struct wire_kept *kept, int64_t *ret_total) {
    return misfit(easy, kept, 0, ret_total);
}

const char *resume_part_misfit(CURL *easy, const struct wire_kept *kept, uint64_t end) {
    const char *named = kept->etag ? "ETag" : kept->last_modified ? "Last-Modified" : NULL;
    const char *why;
    int64_t total;

    why = misfit(easy, kept, end, &total);
    return why || !named || answer_field(easy, named) ? why : "it does not say of which version it is";
}

bool resume_is_part(CURL *easy) {
    const char *range = answer_field(easy, "Content-Range");
    struct content_range r;

    return range && content_range_parse(range, &r) && r.first >= 0 &&
           (r.first > 0 || (r.total >= 0 && r.last != r.total - 1));
}

bool resume_is_whole(CURL *easy, const struct wire_kept *kept) {
    const char *range = only_field(easy, "Content-Range");
    struct content_range r;

    return range && content_range_parse(range, &r) && r.first < 0 &&
           (uint64_t)r.total == kept->offset && (kept->total < 0 || kept->total == r.total) &&
           !differs(easy, "ETag", kept->etag) &&
           !differs(easy, "Last-Modified", kept->last_modified);
}
