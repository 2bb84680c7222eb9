/*
 * access.h - by what an attempt shows who it is, and which way it takes: the credentials that a job
 * and the configuration name, read for one message to a worker.
 *
 * What a job gives to show who it is goes to the origin (scheme, host and port) of its first URL
 * and no other: an attempt at a mirror elsewhere gets neither `auth` nor `client_certificate` nor
 * the headers Authorization, Proxy-Authorization and Cookie. An entry of a netrc file goes to the
 * host that it is for, `default` to the host of the first URL. Redirects are the worker's to judge.
 */
#ifndef DLD_ACCESS_H
#define DLD_ACCESS_H

#include "common/wire.h"
#include "daemon/credentials.h"
#include "daemon/job.h"

struct access_settings {
    const char *dir;        /* of the credentials, NULL: none; the strings are the caller's */
    const char *proxy;      /* the configured one, "": none */
    const char *proxy_auth; /* the name of its credential, "": none */
};

/* What a message's strings are views into; it must outlive the message. */
struct access {
    struct credential auth, certificate, proxy;
};

/* Wipes and frees. */
void access_done(struct access *a);

/* Has the job nothing that is for one origin alone? */
bool access_is_open(const struct job_spec *spec);

/* Fills in what message, which is otherwise complete, has for access, and takes out the headers
 * that are not for its URL. 0; -ENOKEY with a sentence in why when a credential can't be used;
 * -ENOMEM; -EINVAL for URLs that are none. access_done() must follow in any case. */
int access_fill(struct access *a, const struct access_settings *settings,
                const struct job_spec *spec, struct wire_job *message,
                char why[CREDENTIAL_WHY_MAX]);

#endif
