/*
 * Values of header fields that a worker reads, and other short texts of servers. The first byte
 * says which, the rest is the value.
 */
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>

#include "common/disposition.h"
#include "common/naming.h"
#include "common/text.h"
#include "daemon/worker/excerpt.h"
#include "daemon/worker/header.h"
#include "daemon/worker/integrity.h"
#include "daemon/worker/resume.h"

static void disposition(const char *value) {
    _cleanup_free_ char *name = disposition_name(value), *again = NULL;

    if (!name)
        return;
    fuzz_check(path_is_safe(name) && !strchr(name, '/') && strlen(name) <= NAME_MAX_BYTES);
    again = name_make_safe(name, strlen(name));
    fuzz_check(again && streq(again, name));
}

static void content_range(const char *value) {
    struct content_range r, again;
    char text[128], total[32] = "*";

    if (!content_range_parse(value, &r))
        return;
    fuzz_check(r.first >= -1 && r.first <= r.last && (r.first < 0) == (r.last < 0));
    fuzz_check(r.total >= 0 ? r.last < r.total : r.first >= 0);
    if (r.total >= 0)
        snprintf(total, sizeof(total), "%" PRId64, r.total);
    if (r.first < 0)
        snprintf(text, sizeof(text), "bytes */%s", total);
    else
        snprintf(text, sizeof(text), "bytes %" PRId64 "-%" PRId64 "/%s", r.first, r.last, total);
    fuzz_check(content_range_parse(text, &again));
    fuzz_check(again.first == r.first && again.last == r.last && again.total == r.total);
}

/* A digest that was taken stands in the value, in base64. What has it is right, and what differs in
 * one bit is wrong. */
static void check_promise(const struct integrity *in, enum digest_kind kind, const char *value) {
    struct digest_sums sums = {.kinds = in->kinds};
    struct failure f;
    char text[2 * DIGEST_BYTES_MAX], start[2 * DIGEST_BYTES_MAX];
    size_t n = digest_size(kind);

    EVP_EncodeBlock((unsigned char *)text, in->server[kind].bytes, (int)n);
    /* the bits of the last digit that say nothing may be any */
    snprintf(start, sizeof(start), "%.*s", (int)(n * 8 / 6), text);
    fuzz_check(strstr(value, start));
    for (enum digest_kind k = 0; k < DIGEST_KINDS; k++)
        memcpy(sums.bytes[k], in->server[k].bytes, sizeof(sums.bytes[k]));
    failure_clear(&f);
    integrity_judge(in, &sums, &f);
    fuzz_check(f.error == ERR_NONE);
    sums.bytes[kind][n - 1] ^= 1;
    integrity_judge(in, &sums, &f);
    fuzz_check(f.error == ERR_CHECKSUM && text_is_printable(f.message, strlen(f.message)));
}

static void digest(const char *name, const char *value) {
    struct integrity in;

    integrity_begin(&in, NULL, NULL);
    integrity_field(&in, name, value);
    for (enum digest_kind kind = 0; kind < DIGEST_KINDS; kind++) {
        fuzz_check(in.server[kind].given == !!(in.kinds & DIGEST_BIT(kind)));
        if (in.server[kind].given)
            check_promise(&in, kind, value);
    }
}

static void validators(const char *value) {
    static const char date[] = "Mon, 02 Jan 2023 10:01:00 GMT";
    size_t n = strlen(value);

    if (etag_is_strong(value))
        fuzz_check(n < VERSION_ETAG_MAX && value[0] == '"' && value[n - 1] == '"');
    if (date_is_strong(value, date))
        fuzz_check(n < VERSION_DATE_MAX && !date_is_strong(date, value));
}

/* Blanks around the value make no difference, nor does the case of the name. */
static void location(const char *value) {
    _cleanup_free_ char *one = NULL, *two = NULL;

    fuzz_check(asprintf(&one, "Location:%s\r\n", value) > 0);
    fuzz_check(asprintf(&two, "lOCATION: \t%s \n", value) > 0);
    fuzz_check(header_location_is_valid(one, strlen(one)) ==
               header_location_is_valid(two, strlen(two)));
}

static void excerpt(const uint8_t *data, size_t size) {
    struct excerpt whole = {.n = 0}, pieces = {.n = 0};
    _cleanup_free_ char *a = NULL, *b = NULL;

    excerpt_add(&whole, (const char *)data, size);
    for (size_t i = 0; i < size; i++)
        excerpt_add(&pieces, (const char *)data + i, 1);
    a = excerpt_text(&whole);
    b = excerpt_text(&pieces);
    fuzz_check(a && b && streq(a, b) && text_is_printable(a, strlen(a)));
}

static void quoted(const uint8_t *data, size_t size) {
    _cleanup_free_ char *copy = fuzz_copy(data, size);
    char text[TEXT_QUOTED_MAX];

    text_quote(text, copy, size);
    fuzz_check(strnlen(text, sizeof(text)) < sizeof(text));
    fuzz_check(text[0] == '"' && text_is_printable(text, strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const digests[] = {"Repr-Digest", "Digest", "Content-MD5"};
    uint8_t which = fuzz_byte(&data, &size);
    _cleanup_free_ char *value = fuzz_text(data, size);

    switch (which) {
    case 'c':
        disposition(value);
        break;
    case 'r':
        content_range(value);
        break;
    case 'd':
        for (size_t i = 0; i < ELEMENTSOF(digests); i++)
            digest(digests[i], value);
        break;
    case 'v':
        validators(value);
        break;
    case 'l':
        location(value);
        break;
    case 'x':
        excerpt(data, size);
        break;
    case 'q':
        quoted(data, size);
        break;
    default:
        return -1; /* not for the corpus */
    }
    return 0;
}
