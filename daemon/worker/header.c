#include "daemon/worker/header.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/url.h"
#include "common/util.h"

#define STATUS_LINE "HTTP/"
#define LOCATION "Location:"

bool header_is_status_line(const char *line, size_t n) {
    return n >= strlen(STATUS_LINE) && memcmp(line, STATUS_LINE, strlen(STATUS_LINE)) == 0;
}

static bool digit(const char *line, size_t n, size_t i) {
    return i < n && isdigit((unsigned char)line[i]);
}

bool header_status_line_is_valid(const char *line, size_t n) {
    size_t i = strlen(STATUS_LINE);

    if (!digit(line, n, i++))
        return false;
    if (i < n && line[i] == '.') {
        if (!digit(line, n, i + 1))
            return false;
        i += 2;
    }
    if (i >= n || line[i++] != ' ')
        return false;
    if (!digit(line, n, i) || line[i] == '0' || !digit(line, n, i + 1) || !digit(line, n, i + 2))
        return false;
    i += 3;
    return i >= n || strchr(" \r\n", line[i]);
}

static bool has_scheme(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return isalpha((unsigned char)*s) && s[n] == ':';
}

static bool url_is_valid(const char *text) {
    const char *why;
    struct url url;
    size_t column;

    if (url_parse(text, &url, &why, &column) < 0)
        return false;
    url_done(&url);
    return true;
}

bool header_location_is_valid(const char *line, size_t n) {
    _cleanup_free_ char *text = NULL;
    char *value, *end;

    if (n < strlen(LOCATION) || strncasecmp(line, LOCATION, strlen(LOCATION)) != 0)
        return true;
    /* Room for a scheme in front: "http:" takes less than the field's name. */
    text = strndup(line, n);
    if (!text)
        return false;
    value = text + strlen(LOCATION);
    value += strspn(value, " \t");
    end = value + strlen(value);
    while (end > value && strchr(" \t\r\n", end[-1]))
        *--end = '\0';
    if (has_scheme(value))
        return url_is_valid(value);
    if (strspn(value, "/\\") < 2)
        return true;
    value -= strlen("http:");
    memcpy(value, "http:", strlen("http:"));
    return url_is_valid(value);
}
