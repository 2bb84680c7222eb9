/* A chunk of jobs on its way into the store. */

#include <stdlib.h>

#include "daemon/store.h"

void store_chunk_free(struct store_chunk *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->n_jobs; i++)
        job_new_done(&c->jobs[i]);
    free(c->jobs);
    free(c->submit_key);
    free(c);
}
