#include "daemon/store_given.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <stddef.h>
#include <uthash.h>

struct given_job {
    int64_t id;
    UT_hash_handle hh;
};

void given_init(struct given *g) {
    pthread_mutex_init(&g->lock, NULL);
    g->jobs = NULL;
}

void given_done(struct given *g) {
    struct given_job *j, *next;

    HASH_ITER(hh, g->jobs, j, next) {
        HASH_DEL(g->jobs, j);
        free(j);
    }
    pthread_mutex_destroy(&g->lock);
}

static struct given_job *find(const struct given *g, int64_t id) {
    struct given_job *j;

    HASH_FIND(hh, g->jobs, &id, sizeof(id), j);
    return j;
}

int given_add(struct given *g, int64_t id) {
    struct given_job *j = NULL;
    int r = 0;

    pthread_mutex_lock(&g->lock);
    if (!find(g, id)) {
        j = calloc(1, sizeof(*j));
        if (j) {
            j->id = id;
            HASH_ADD(hh, g->jobs, id, sizeof(j->id), j);
        }
        r = j && j->hh.tbl ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&g->lock);
    if (r < 0)
        free(j);
    return r;
}

void given_drop(struct given *g, int64_t id) {
    struct given_job *j;

    pthread_mutex_lock(&g->lock);
    j = find(g, id);
    if (j)
        HASH_DEL(g->jobs, j);
    pthread_mutex_unlock(&g->lock);
    free(j);
}

bool given_has(struct given *g, int64_t id) {
    bool has;

    pthread_mutex_lock(&g->lock);
    has = find(g, id) != NULL;
    pthread_mutex_unlock(&g->lock);
    return has;
}
