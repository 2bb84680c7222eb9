#include "common/exitcode.h"

const char *worker_exit_meaning(int status) {
    switch (status) {
    case WORKER_OK:
        return "ended as told";
    case WORKER_FAILED:
        return "could not start";
    case WORKER_PROTOCOL:
        return "did not understand the master: are dld and dld-worker of one version?";
    default:
        return "unknown exit status";
    }
}
