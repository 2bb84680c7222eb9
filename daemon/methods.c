#include "daemon/methods.h"

#include <errno.h>
#include <string.h>

const struct control_method methods_table[] = {
    {"submit", method_submit}, {"wait", method_wait},     {"list", method_list},
    {"show", method_show},     {"status", method_status}, {"hosts", method_hosts},
    {"cancel", method_cancel}, {"pause", method_pause},   {"resume", method_resume},
    {"retry", method_retry},   {"set", method_set},       {"purge", method_purge},
    {"drain", method_drain},   {"backup", method_backup}, {"reload", method_reload},
    {NULL, NULL},
};

void request_fail_store(struct request *request, int error) {
    const char *advice = error == -ENOSPC || error == -EDQUOT
                             ? "make room in the state directory and try again"
                             : "see the daemon's log";

    request_fail(request, RPC_STORE, "the queue could not be read or written: %s; %s",
                 strerror(-error), advice);
}

void request_fail_memory(struct request *request) {
    request_fail(request, RPC_BUSY, "the daemon is out of memory; try again later");
}
