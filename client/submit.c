#include "client/dlctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/connect.h"
#include "client/jobfile.h"
#include "client/options.h"
#include "client/print.h"
#include "client/upload.h"
#include "client/waiter.h"
#include "common/exitcode.h"
#include "common/text.h"

/* What was asked for on the command line. */
struct submit {
    struct dlctl *c;
    bool wait;
    const char *output, *tag, *priority, *on_conflict, *retries, *timeout, *max_size;
    struct option_list headers;
    char **words;
    int n_words;
    struct buf defaults;    /* of the URLs: what the options say, as JSON */
    struct source *sources; /* a source for each word; owned */
    struct rpc rpc;
    struct upload upload;
    struct selection batch;
    struct waiter waiter;
};

static void submit_done(struct submit *s) {
    waiter_done(&s->waiter);
    upload_done(&s->upload);
    rpc_close(&s->rpc);
    buf_done(&s->defaults);
    free(s->sources);
}

static bool is_url(const char *word) {
    return strstr(word, "://");
}

/* The options whose value goes into the job as it is, and the key there. */
struct job_option {
    const char *option, *key, *value;
    bool number;
};
#define JOB_OPTIONS 7

static void submit_job_options(const struct submit *s, struct job_option ret[JOB_OPTIONS]) {
    const struct job_option options[JOB_OPTIONS] = {
        {"--output", "output", s->output, false},
        {"--tag", "tag", s->tag, false},
        {"--priority", "priority", s->priority, true},
        {"--on-conflict", "on_conflict", s->on_conflict, false},
        {"--retries", "retries", s->retries, true},
        {"--timeout", "timeout", s->timeout, false},
        {"--max-size", "max_size", s->max_size, false},
    };

    memcpy(ret, options, sizeof(options));
}

static int add_option(struct buf *b, const struct job_option *o) {
    const char *digits = o->value;
    uint64_t n;

    if (!o->number) {
        json_str(b, o->key, o->value);
        return 0;
    }
    digits += *digits == '-';
    if (parse_u64(digits, &n) < 0 || n > INT32_MAX) {
        complain("%s needs a number, not '%s'", o->option, o->value);
        return -EINVAL;
    }
    json_int(b, o->key, digits == o->value ? (int64_t)n : -(int64_t)n);
    return 0;
}

/* 'Name: value', each once. */
static int add_header(struct buf *b, const struct option_list *headers, size_t i) {
    const char *header = headers->items[i], *value;
    size_t n = strcspn(header, ":");
    char name[256];

    if (!header[n] || n == 0 || n >= sizeof(name)) {
        complain("--header needs 'Name: value', not '%s'", header);
        return -EINVAL;
    }
    for (size_t j = 0; j < i; j++)
        if (strncasecmp(headers->items[j], header, n + 1) == 0) {
            complain("--header gives '%.*s' twice", (int)n, header);
            return -EINVAL;
        }
    snprintf(name, sizeof(name), "%.*s", (int)n, header);
    if (strpbrk(name, "\"\\") || !text_is_printable(name, n)) {
        complain("--header: '%s' is no name of a header", name);
        return -EINVAL;
    }
    value = header + n + 1;
    json_str(b, name, value + strspn(value, " \t"));
    return 0;
}

/* Puts the options into s->defaults; empty when there are none. */
static int submit_make_defaults(struct submit *s) {
    struct job_option options[JOB_OPTIONS];
    size_t n = 0;
    int r = 0;

    submit_job_options(s, options);
    json_begin(&s->defaults, NULL, '{');
    for (size_t i = 0; r == 0 && i < JOB_OPTIONS; i++)
        if (options[i].value) {
            r = add_option(&s->defaults, options + i);
            n++;
        }
    if (s->headers.n > 0)
        json_begin(&s->defaults, "headers", '{');
    for (size_t i = 0; r == 0 && i < s->headers.n; i++)
        r = add_header(&s->defaults, &s->headers, i);
    if (s->headers.n > 0)
        json_end(&s->defaults, '}');
    json_end(&s->defaults, '}');
    if (n == 0 && s->headers.n == 0)
        buf_clear(&s->defaults);
    return r < 0 ? r : buf_error(&s->defaults);
}

/* The words go together, and with the options. */
static int submit_check(struct submit *s) {
    struct job_option options[JOB_OPTIONS];
    const char *file = NULL, *option = s->headers.n > 0 ? "--header" : NULL, *key = "headers";
    int n_stdin = 0;

    if (s->n_words == 0) {
        complain(
            "submit needs a job file, a URL, or - for standard input; see dlctl submit --help");
        return -EINVAL;
    }
    for (int i = 0; i < s->n_words; i++) {
        n_stdin += streq(s->words[i], "-");
        if (!is_url(s->words[i])) {
            file = s->words[i];
        } else if (!text_is_utf8(s->words[i])) {
            complain("a URL has bytes that are not UTF-8; percent-encode them, as %%E9: %s",
                     s->words[i]);
            return -EINVAL;
        }
    }
    if (n_stdin > 1) {
        complain("standard input can be read once only");
        return -EINVAL;
    }
    submit_job_options(s, options);
    for (size_t i = 0; i < JOB_OPTIONS; i++)
        if (options[i].value) {
            option = options[i].option;
            key = options[i].key;
        }
    if (file && option) {
        complain("%s is for URLs on the command line; for the jobs of %s write \"%s\" there, in "
                 "the jobs or in \"defaults\"",
                 option, streq(file, "-") ? "standard input" : file, key);
        return -EINVAL;
    }
    return 0;
}

/* What the daemon says of a job in its terms, jobs[N] counted over the whole batch, in those of the
 * source: N counted within the file; without it where there is but one job. */
static void explain_place(const struct submit *s, char *ret, size_t size) {
    const struct source *source = s->upload.refused.source;
    const char *text = s->upload.refused.text;
    uint64_t n;
    int used = 0;

    if (sscanf(text, "jobs[%" SCNu64 "]%n", &n, &used) != 1 || used == 0 || n < source->first)
        snprintf(ret, size, "%s", text);
    else if (!source->name || source->lone)
        snprintf(ret, size, "%s", text + used + strspn(text + used, ".: "));
    else
        snprintf(ret, size, "jobs[%" PRIu64 "]%s", n - source->first, text + used);
}

/* The option that a complaint about defaults[.key] is about. */
static void explain_option(const struct submit *s) {
    struct job_option options[JOB_OPTIONS];
    const char *text = s->upload.refused.text, *key = strchr(text, '.');

    submit_job_options(s, options);
    if (key && strncmp(text, "defaults", 8) == 0) {
        size_t n = strcspn(key + 1, ".:[");

        for (size_t i = 0; i < JOB_OPTIONS; i++)
            if (strlen(options[i].key) == n && strncmp(options[i].key, key + 1, n) == 0) {
                complain("%s%s", options[i].option, key + 1 + n);
                return;
            }
        if (strncmp(key + 1, "headers", 7) == 0) {
            complain("--header%s", key + 1 + n);
            return;
        }
    }
    complain("%s", text);
}

static int submit_refused(const struct submit *s) {
    const struct source *source = s->upload.refused.source;
    uint64_t where = s->upload.refused.where;
    char text[1024];

    explain_place(s, text, sizeof(text));
    if (!source->name && where > 0)
        complain("%s: %s", s->words[where - 1], text + (strncmp(text, "url: ", 5) == 0 ? 5 : 0));
    else if (!source->name)
        explain_option(s);
    else if (where > 0)
        complain("%s:%" PRIu64 ": %s", source->name, where, text);
    else if (strncmp(text, "defaults", 8) == 0)
        complain("%s:%" PRIu64 ": %s", source->name, source->defaults_line, text);
    else
        complain("%s: %s", source->name, text);
    return DLCTL_USAGE;
}

/* The exit status for an error of the upload. */
static int submit_failed(const struct submit *s, int error) {
    if (s->upload.refused.source)
        return submit_refused(s);
    return s->rpc.fd < 0 ? rpc_complain_open(&s->rpc, error) : rpc_complain(&s->rpc, error);
}

/* The client's own complaint about a file, unless the daemon has one about an earlier job. */
static int submit_bad_file(struct submit *s, const char *text) {
    int r = upload_settle(&s->upload);

    if (r < 0)
        return submit_failed(s, r);
    complain("%s", text);
    return DLCTL_USAGE;
}

static int submit_cannot_open(struct submit *s, const char *path, int error) {
    char text[1024];

    snprintf(text, sizeof(text), "cannot open %.800s: %s%s", path, strerror(-error),
             error == -ENOENT ? " (a URL starts with http://, https://, ftp://, ftps:// or sftp://)" : "");
    return submit_bad_file(s, text);
}

static int submit_file(struct submit *s, struct source *source, const char *path) {
    _cleanup_(jobfile_done) struct jobfile f;
    struct jobfile_job job;
    int r = jobfile_open(&f, path);

    if (r == -ENOMEM)
        return complain_memory();
    if (r < 0)
        return submit_cannot_open(s, path, r);
    source->name = f.name;
    while ((r = jobfile_next(&f, &job)) > 0) {
        source->lone = f.lone;
        source->defaults = buf_head(&f.defaults);
        source->n_defaults = buf_size(&f.defaults);
        source->defaults_line = f.defaults_line;
        r = upload_add(&s->upload, source, job.text, job.len, job.line);
        if (r < 0)
            return submit_failed(s, r);
    }
    if (r == -EBADMSG)
        return submit_bad_file(s, f.error);
    return r < 0 ? complain_memory() : 0;
}

static int submit_url(struct submit *s, struct source *source, const char *url, uint64_t where) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(JOBFILE_JOB_MAX);
    int r;

    json_begin(&b, NULL, '{');
    json_str(&b, "url", url);
    json_end(&b, '}');
    r = buf_error(&b);
    if (r == 0)
        r = upload_add(&s->upload, source, buf_head(&b), buf_size(&b), where);
    return r < 0 ? submit_failed(s, r) : 0;
}

/* URLs that follow each other share a source, and with it their chunks. */
static int submit_words(struct submit *s) {
    struct source *source = NULL;

    for (int i = 0; i < s->n_words; i++) {
        bool url = is_url(s->words[i]);
        int r;

        if (!source || !url || source->name) {
            source = s->sources + i;
            source->first = s->upload.count;
            source->defaults = buf_head(&s->defaults);
            source->n_defaults = buf_size(&s->defaults);
        }
        r = url ? submit_url(s, source, s->words[i], (uint64_t)i + 1)
                : submit_file(s, source, s->words[i]);
        if (r != 0)
            return r;
    }
    return 0;
}

static void submit_print(const struct submit *s, const json_t *answer) {
    int64_t count = get_int(answer, "count", 0);

    if (s->c->json)
        print_json(answer);
    else
        printf("Submitted %" PRId64 " job%s as batch %" PRId64 ".\n", count, count == 1 ? "" : "s",
               get_int(answer, "batch", 0));
    print_flush();
}

static int submit_run(struct submit *s) {
    const json_t *answer;
    int r = client_connect(s->c, &s->rpc);

    if (r != 0)
        return r;
    r = upload_init(&s->upload, &s->rpc);
    if (r < 0) {
        complain("no random numbers are to be had: %s", strerror(-r));
        return DLCTL_JOB_FAILED;
    }
    waiter_init(&s->waiter, s->c, &s->rpc, &s->batch);
    if (s->wait) {
        s->upload.watch = s->waiter.watched = true;
        s->upload.brief = !s->c->json;
        s->upload.notify = waiter_notify;
        s->upload.userdata = &s->waiter;
    }
    r = submit_words(s);
    if (r != 0)
        return r;
    r = upload_finish(&s->upload, &answer);
    if (r < 0)
        return submit_failed(s, r);
    if (!s->wait) {
        submit_print(s, answer);
        return DLCTL_OK;
    }
    s->batch.batch = get_int(answer, "batch", 0);
    s->waiter.watched = !s->upload.resent;
    return waiter_run(&s->waiter);
}

int verb_submit(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "submit", "FILE|URL|-...",
        "Give the jobs of job files, and URLs, to the daemon as one batch. A word with \"://\"\n"
        "is a URL, - is a job file on standard input. All jobs are taken, or none: an error\n"
        "in one of them names its place and leaves nothing behind.\n"};
    _cleanup_(submit_done) struct submit s = {
        .c = c, .defaults = BUF_INIT(JOBFILE_JOB_MAX), .rpc = RPC_INIT(NULL)};
    const struct option_spec specs[] = {
        {"--wait", OPTION_FLAG, &s.wait, NULL, "print each job as it ends, then the sum"},
        {"--output", OPTION_TEXT, &s.output, "PATH",
         "for URLs: where the file goes beneath the output root;\n"
         "fields: {host} {path} {name} {stem} {ext} {id} {index}"},
        {"--on-conflict", OPTION_TEXT, &s.on_conflict, "HOW",
         "for URLs: if the file is there: fail, overwrite, rename, skip"},
        {"--header", OPTION_MANY, &s.headers, "'NAME: VALUE'",
         "for URLs: a header of the request (may be repeated)"},
        {"--tag", OPTION_TEXT, &s.tag, "TEXT", "for URLs: a word to remember them by"},
        {"--priority", OPTION_TEXT, &s.priority, "N", "for URLs: -100 to 100"},
        {"--retries", OPTION_TEXT, &s.retries, "N", "for URLs: how often to try again"},
        {"--timeout", OPTION_TEXT, &s.timeout, "TIME",
         "for URLs: time for an attempt, as 90s, 5min"},
        {"--max-size", OPTION_TEXT, &s.max_size, "SIZE", "for URLs: largest body, as 20M, 1G"},
        {0},
    };
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r != 0)
        return options_status(r);
    s.words = argv;
    s.n_words = argc;
    if (submit_check(&s) < 0 || submit_make_defaults(&s) < 0)
        return DLCTL_USAGE;
    s.sources = calloc((size_t)argc, sizeof(*s.sources));
    return s.sources ? submit_run(&s) : complain_memory();
}
