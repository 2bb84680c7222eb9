#include "daemon/worker/line_rest.h"

#include <string.h>

#include "common/util.h"

#define RECORD_ALERT 21
#define RECORD_DATA 23
#define ALERT_MAX 24 /* two bytes, the hidden type, 16 of authentication: 19, and none is padded */

bool line_rest_add(struct line_rest *r, bool tls, const uint8_t *p, size_t n) {
    if (!tls) {
        size_t take = MIN(n, sizeof(r->begin) - r->n_begin);

        memcpy(r->begin + r->n_begin, p, take);
        r->n_begin += (uint8_t)take;
        return r->n_begin > 0;
    }
    while (n > 0) {
        size_t take = MIN(n, (size_t)r->left);

        r->left -= (uint16_t)take;
        p += take;
        n -= take;
        if (n == 0)
            return false;
        r->record[r->n_record++] = *p++;
        n--;
        if (r->n_record < sizeof(r->record))
            continue;
        r->n_record = 0;
        r->left = (uint16_t)(r->record[3] << 8 | r->record[4]);
        if (r->record[0] != RECORD_ALERT && (r->record[0] != RECORD_DATA || r->left > ALERT_MAX))
            return true;
    }
    return false;
}

bool line_rest_is_timeout(const struct line_rest *r) {
    return r->n_begin == sizeof(r->begin) && memcmp(r->begin, "HTTP/1.", 7) == 0 &&
           memcmp(r->begin + 8, " 408", 4) == 0;
}
