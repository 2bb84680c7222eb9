#include "common/errors.h"

#include <stddef.h>

static const struct {
    const char *name, *sentence;
    bool transient;
} errors[ERR_MAX_] = {
#define X(symbol, number, n, t, s) [number] = {.name = (n), .sentence = (s), .transient = (t)},
    DLD_ERRORS(X)
#undef X
};

const char *error_name(unsigned e) {
    return e < ERR_MAX_ ? errors[e].name : NULL;
}

const char *error_sentence(unsigned e) {
    return e < ERR_MAX_ ? errors[e].sentence : NULL;
}

bool error_transient(unsigned e) {
    return e < ERR_MAX_ && errors[e].transient;
}

bool http_status_transient(unsigned status) {
    return status == 408 || status == 429 ||
           (status >= 500 && status <= 599 && status != 501 && status != 505);
}
