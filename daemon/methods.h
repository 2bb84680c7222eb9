/*
 * methods.h - what clients can ask for: one function for each method of dld-control(7).
 *
 * They validate parameters, ask the store and the dispatcher, and write answers. methods_submit.c,
 * methods_query.c (list, show, status), methods_hosts.c (hosts, drain), methods_change.c (cancel,
 * pause, resume, retry), methods_set.c, methods_purge.c, methods_wait.c, methods_backup.c,
 * methods_reload.c.
 */
#ifndef DLD_METHODS_H
#define DLD_METHODS_H

#include "daemon/control.h"
#include "daemon/dispatch.h"
#include "daemon/pool.h"
#include "daemon/rates.h"
#include "daemon/reload.h"
#include "daemon/store.h"
#include "daemon/watch.h"

/* Passed to every method as userdata. */
struct methods {
    struct store *store;
    struct dispatch *dispatch;
    struct pool *pool;
    struct watches *watches;
    struct rates *rates;
    uint64_t started; /* CLOCK_MONOTONIC usec */
    bool stopping;    /* nothing new is taken */
    uint64_t quota;   /* jobs of a user, but root, that have not ended; 0: any number */
    /* 0; -EINVAL: the configuration has errors; -EBUSY: not now; -ENOMEM. */
    int (*reload)(void *userdata, struct reload *ret);
    void *reload_userdata;
};

extern const struct control_method methods_table[];

void method_submit(struct request *request, const json_t *params, void *userdata);
void method_wait(struct request *request, const json_t *params, void *userdata);
void method_list(struct request *request, const json_t *params, void *userdata);
void method_show(struct request *request, const json_t *params, void *userdata);
void method_status(struct request *request, const json_t *params, void *userdata);
void method_hosts(struct request *request, const json_t *params, void *userdata);
void method_cancel(struct request *request, const json_t *params, void *userdata);
void method_pause(struct request *request, const json_t *params, void *userdata);
void method_resume(struct request *request, const json_t *params, void *userdata);
void method_retry(struct request *request, const json_t *params, void *userdata);
void method_set(struct request *request, const json_t *params, void *userdata);
void method_purge(struct request *request, const json_t *params, void *userdata);
void method_backup(struct request *request, const json_t *params, void *userdata);
void method_drain(struct request *request, const json_t *params, void *userdata);
void method_reload(struct request *request, const json_t *params, void *userdata);

/* The method set for jobs that have not ended, params says which: answers how many were changed. */
void change_priority(struct request *request, const json_t *params, struct methods *m,
                     int64_t priority);
void change_rate(struct request *request, const json_t *params, struct methods *m, uint64_t rate);

/* Appends "rate": the limit in force for all, and why. */
void rate_to_json(struct buf *b, const struct rates *rates);

/* Answers a request that the store refused: error is a negative errno. */
void request_fail_store(struct request *request, int error);

/* Answers a request for which there was no memory. */
void request_fail_memory(struct request *request);

#endif
