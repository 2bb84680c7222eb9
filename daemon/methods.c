#include "daemon/methods.h"

#include <errno.h>
#include <string.h>

const struct control_method methods_table[] = {
    {"submit", method_submit, false}, {"wait", method_wait, true},
    {"list", method_list, true},      {"show", method_show, true},
    {"status", method_status, true},  {"hosts", method_hosts, true},
    {"cancel", method_cancel, false}, {"pause", method_pause, false},
    {"resume", method_resume, false}, {"retry", method_retry, false},
    {"set", method_set, false},       {"purge", method_purge, false},
    {"drain", method_drain, false},   {"backup", method_backup, true},
    {"reload", method_reload, false}, {NULL, NULL, false},
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
