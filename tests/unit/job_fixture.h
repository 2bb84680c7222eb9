/*
 * job_fixture.h - for tests of jobs from JSON: what is taken, what is refused and how.
 */
#ifndef DLD_TESTS_JOB_FIXTURE_H
#define DLD_TESTS_JOB_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/job_json.h"

/* JSON with ' for ". */
static inline json_t *json(const char *s) {
    char text[4096];
    json_error_t e;
    json_t *v;

    assert_true(strlen(s) < sizeof(text));
    strcpy(text, s);
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    v = json_loads(text, JSON_DECODE_ANY, &e);
    if (!v)
        fail_msg("%s: %s", text, e.text);
    return v;
}

/* The job with its defaults (may be NULL) is taken with this body (NULL: none). */
static inline void expect_body(const char *job, const char *defaults, const char *body) {
    json_auto_t *object = json(job), *d = defaults ? json(defaults) : NULL;
    struct job_error err = {.text = ""};
    struct job_new new;

    if (job_new_parse(object, d, "jobs[3]", 3, &new, &err) < 0)
        fail_msg("%s", err.text);
    if (body) {
        json_auto_t *want = json(body), *got = json_loads(new.body ? new.body : "null", 0, NULL);

        if (!json_equal(want, got))
            fail_msg("body is %s", new.body);
    } else {
        assert_null(new.body);
    }
    job_new_done(&new);
}

/* The job is refused with this text. */
static inline void expect_error(const char *job, const char *defaults, const char *text) {
    json_auto_t *object = json(job), *d = defaults ? json(defaults) : NULL;
    struct job_error err = {.text = ""};
    struct job_new new;

    assert_int_equal(job_new_parse(object, d, "jobs[3]", 3, &new, &err), -EINVAL);
    assert_string_equal(err.text, text);
    assert_int_equal(err.index, 3);
}

/* A job of a URL and this. */
static inline void expect_taken(const char *key, const char *body) {
    char job[4096];

    snprintf(job, sizeof(job), "{'url': 'http://h/', %s}", key);
    expect_body(job, NULL, body);
}

/* The same with an error, which starts behind "jobs[3]". */
static inline void expect_refused(const char *key, const char *text) {
    char job[4096], full[700];

    snprintf(job, sizeof(job), "{'url': 'http://h/', %s}", key);
    snprintf(full, sizeof(full), "jobs[3]%s", text);
    expect_error(job, NULL, full);
}

#endif
