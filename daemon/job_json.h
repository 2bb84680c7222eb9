/*
 * job_json.h - jobs from JSON, validated, and back.
 *
 * One table of keys drives parsing, error messages and the list of known keys; tests/unit compares
 * it with the published schema (job.schema.json).
 */
#ifndef DLD_JOB_JSON_H
#define DLD_JOB_JSON_H

#include <jansson.h>

#include "common/buf.h"
#include "daemon/job.h"

/* Why a job was refused, for a person: `jobs[3].max_size: expected ...`. */
struct job_error {
    int64_t index;  /* of the job in the submission, -1: not about one job */
    char text[512]; /* place and sentence */
};

/* A job as it goes into the store. */
struct job_new {
    char *url, *host; /* canonical, "host:port" */
    char *body;       /* NULL when the job has no other keys */
    char *tag;        /* NULL: none */
    int priority;
    uint64_t not_before; /* usec since the epoch, 0: at once */
    uint64_t rate_limit; /* bytes a second, 0: none */
};
void job_new_done(struct job_new *j);

/* Validates one object of a job file. Of several `urls` the first is that of the job, and the body
 * keeps all of them. A time "+2h" counts from this call. defaults is the object of that name or
 * NULL; a key of the job beats it, header by header for `headers`. place is what to call the job in
 * errors, as "jobs[3]" or "" for a lone object; index goes into *err. Returns 0, -EINVAL with *err
 * filled, or -ENOMEM.
 */
int job_new_parse(const json_t *object, const json_t *defaults, const char *place, int64_t index,
                  struct job_new *ret, struct job_error *err);

/* Validates the keys of a `defaults` object ("defaults.retries: expected ..."; url and urls don't
 * belong there). */
int job_defaults_check(const json_t *defaults, struct job_error *err);

/* A stored body into a spec: 0, -EBADMSG for what no version of dld wrote, -ENOMEM. body may be
 * NULL. */
int job_spec_parse(const char *body, struct job_spec *ret);

/* What a running transfer adds to its row. */
struct job_progress {
    uint64_t bytes, speed;
    int64_t total; /* -1 unknown */
};

/* Only what a line about a job that has ended needs: id index url state http_status bytes output
 * error{name,message} worker started finished, and skipped where it applies. Otherwise as below. */
void job_to_json_brief(struct buf *b, const char *key, const struct job *j);

/* Writes the job as the JSON object that clients get: the keys id batch index url state attempts
 * http_status bytes size output error{name,message} worker created started finished effective_url
 * content_type, then `skipped`, `not_modified`, `digest`, `answer` and `due` where they apply, then
 * the keys of its body that were asked for (on_conflict, priority, tag, headers, ...) except two
 * that have the names of results: output is the path beneath the root (expanded for a job not yet
 * done), and size the one asked for only until another is known. progress may be NULL. The object's
 * last brace is left to the caller, who may add keys: json_end(b, '}'). key as in buf.h. */
void job_to_json(struct buf *b, const char *key, const struct job *j,
                 const struct job_progress *progress);

#endif
