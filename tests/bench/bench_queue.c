/*
 * bench_queue.c - how fast the durable queue is, and how large, with few and many jobs in it.
 *
 *     bench_queue DIRECTORY                  all rows; the database goes beneath the directory
 *     bench_queue DIRECTORY JOBS HOSTS       one row; HOSTS 0: as many as jobs
 *
 * Every row of the table is measured by a process of its own, so that memory is that of the row
 * alone.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/store.h"

#define UID 1000
#define CHUNK 10000         /* jobs of a batch */
#define IN_FLIGHT 4         /* batches submitted and not acknowledged */
#define SUBMIT_JOBS 500000  /* over which the rate is taken */
#define DISPATCH_JOBS 50000 /* likewise */
#define WINDOW 2000         /* jobs that are fetched, run and put at a time */

struct scenario {
    const char *dir;
    uint64_t jobs, hosts; /* hosts 0: as many as jobs */
};

struct figures {
    double submit, dispatch;         /* jobs a second */
    double submit_cpu, dispatch_cpu; /* usec of all threads, per job */
    double open_ms;                  /* until the first jobs are there */
    double submit_rss, dispatch_rss; /* MiB, at most */
    double file_bytes;               /* per job */
    double wal_mib;                  /* at most */
};

struct bench {
    sd_event *event;
    struct store *store;
    const struct scenario *scenario;
    uint64_t next_job; /* its name and its host */
    size_t in_flight;
    size_t puts;
    struct job **jobs;
    size_t n_jobs;
    bool answered;
};

static void check(int r, const char *what) {
    if (r >= 0)
        return;
    fprintf(stderr, "bench_queue: %s: %s\n", what, strerror(-r));
    exit(1);
}

static double now(void) {
    return (double)now_usec(CLOCK_MONOTONIC) / USEC_PER_SEC;
}

static void turn(struct bench *b) {
    check(sd_event_run(b->event, UINT64_MAX), "event loop");
}

static double cpu(void) {
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* A line of /proc/self/status in MiB. */
static double memory(const char *name) {
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    double kib = 0;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtod(line + strlen(name), NULL);
    if (file)
        fclose(file);
    return kib / 1024;
}

static double file_size(const struct bench *b, const char *name) {
    char path[256];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", b->scenario->dir, name);
    return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

static void on_ready(void *userdata, const struct store_ready *ready) {
    (void)userdata;
    (void)ready;
}

static void bench_open(struct bench *b) {
    struct store_settings settings = {.ready = on_ready, .userdata = b};
    char *why = NULL;
    int r = store_open(&b->store, b->event, b->scenario->dir, &settings, &why);

    check(r, why ? why : "store_open");
}

/* ---- submitting ---- */

/* Hosts are spread as names are: neighbours in a batch are not neighbours in any order. */
static void job_make(struct job_new *j, uint64_t n, uint64_t hosts) {
    uint64_t host = (hosts > 0 ? n % hosts : n) * UINT64_C(0x9e3779b97f4a7c15);

    check(asprintf(&j->host, "h%012" PRIx64 ".example.com:80", host >> 16), "asprintf");
    check(asprintf(&j->url, "http://%.*s/pub/files/%09" PRIu64 ".bin", (int)strlen(j->host) - 3,
                   j->host, n),
          "asprintf");
}

static void on_submit(void *userdata, int error, const struct store_batch *batch,
                      const int64_t *ids, size_t n_ids) {
    struct bench *b = userdata;

    (void)batch;
    (void)ids;
    (void)n_ids;
    check(error, "submit");
    b->in_flight--;
}

static void submit(struct bench *b, size_t n) {
    struct store_chunk *c = calloc(1, sizeof(*c));

    c->uid = UID;
    c->created = now_usec(CLOCK_REALTIME);
    c->last = true;
    c->n_jobs = n;
    c->jobs = calloc(n, sizeof(*c->jobs));
    for (size_t i = 0; i < n; i++)
        job_make(&c->jobs[i], b->next_job++, b->scenario->hosts);
    check(store_submit(b->store, c, on_submit, b), "store_submit");
    b->in_flight++;
}

/* Jobs a second, acknowledged. */
static double submit_many(struct bench *b, uint64_t n, double *wal) {
    double start = now();

    for (uint64_t i = 0; i < n; i += CHUNK) {
        submit(b, MIN(CHUNK, n - i));
        while (b->in_flight >= IN_FLIGHT)
            turn(b);
        *wal = MAX(*wal, file_size(b, "queue.db-wal"));
    }
    while (b->in_flight > 0)
        turn(b);
    return (double)n / (now() - start);
}

/* ---- dispatching ---- */

static void on_put(void *userdata, int error) {
    struct bench *b = userdata;

    check(error, "put");
    b->puts--;
}

static void job_end(struct bench *b, struct job *j) {
    j->state = JOB_DONE;
    j->attempts = 1;
    j->result.http_status = 200;
    j->result.bytes = 12345;
    j->result.size = 12345;
    j->result.worker = 1;
    j->result.started = j->created;
    j->result.finished = now_usec(CLOCK_REALTIME);
    j->result.output = strdup("example.com/pub/files/some-file.bin");
    j->result.content_type = strdup("application/octet-stream");
    check(store_put(b->store, j, on_put, b), "store_put");
    b->puts++;
}

/* Takes their jobs; those lanes that have more go to the end of the line. */
static void on_lanes(void *userdata, int error, struct store_lane *lanes, size_t n, bool more) {
    struct bench *b = userdata;

    (void)more;
    check(error, "lanes");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < lanes[i].n_jobs; k++)
            b->jobs[b->n_jobs++] = lanes[i].jobs[k];
        lanes[i].n_jobs = 0;
        if (lanes[i].more)
            check(store_move(b->store,
                             &(struct store_move){.lane = lanes[i].id,
                                                  .turn = (int64_t)now_usec(CLOCK_REALTIME)},
                             NULL, NULL),
                  "store_move");
    }
    b->answered = true;
}

static void lanes_ask(struct bench *b) {
    bool few = b->scenario->hosts > 0;
    size_t each = few ? 20 : 1;

    b->answered = false;
    b->n_jobs = 0;
    check(store_lanes(b->store, UID, INT64_MIN, 0, WINDOW / each, each, on_lanes, b),
          "store_lanes");
    while (!b->answered)
        turn(b);
}

/* Jobs a second, recorded as done. */
static double dispatch_many(struct bench *b, uint64_t n) {
    double start = now();
    uint64_t done = 0;

    while (done < n) {
        lanes_ask(b);
        if (b->n_jobs == 0)
            break;
        for (size_t i = 0; i < b->n_jobs; i++)
            job_end(b, b->jobs[i]);
        while (b->puts > 0)
            turn(b);
        for (size_t i = 0; i < b->n_jobs; i++)
            job_free(b->jobs[i]);
        done += b->n_jobs;
    }
    return (double)done / (now() - start);
}

/* ---- rows ---- */

enum stage { FILL, SUBMIT, OPEN_AND_DISPATCH };

static void stage_run(struct bench *b, enum stage stage, struct figures *f) {
    double start = now(), used;
    uint64_t n;

    bench_open(b);
    const uint64_t *counts = store_counts(b->store);
    b->next_job = counts[JOB_QUEUED] + counts[JOB_DONE];
    switch (stage) {
    case FILL:
        submit_many(b, b->scenario->jobs - MIN(counts[JOB_QUEUED], b->scenario->jobs), &f->wal_mib);
        break;
    case SUBMIT:
        used = cpu();
        f->submit = submit_many(b, SUBMIT_JOBS, &f->wal_mib);
        f->submit_cpu = (cpu() - used) / SUBMIT_JOBS;
        f->wal_mib /= 1 << 20;
        f->submit_rss = memory("VmHWM:");
        break;
    case OPEN_AND_DISPATCH:
        lanes_ask(b);
        f->open_ms = (now() - start) * 1000;
        for (size_t i = 0; i < b->n_jobs; i++)
            job_free(b->jobs[i]);
        n = MIN(DISPATCH_JOBS, b->scenario->jobs);
        used = cpu();
        f->dispatch = dispatch_many(b, n);
        f->dispatch_cpu = (cpu() - used) / (double)n;
        f->dispatch_rss = memory("VmHWM:");
    }
    b->store = store_close(b->store);
    if (stage == FILL)
        f->file_bytes = file_size(b, "queue.db") / (double)b->scenario->jobs;
}

/* In a process of its own. */
static void stage_fork(const struct scenario *s, enum stage stage, struct figures *f) {
    int fds[2];

    check(pipe(fds) < 0 ? -errno : 0, "pipe");
    pid_t pid = fork();
    check(pid < 0 ? -errno : 0, "fork");
    if (pid == 0) {
        struct bench b = {.scenario = s};

        b.jobs = calloc(STORE_STEP, sizeof(*b.jobs));
        check(sd_event_new(&b.event), "sd_event_new");
        stage_run(&b, stage, f);
        _exit(write(fds[1], f, sizeof(*f)) == sizeof(*f) ? 0 : 1);
    }
    close(fds[1]);
    if (read(fds[0], f, sizeof(*f)) != sizeof(*f))
        exit(1);
    close(fds[0]);
    waitpid(pid, NULL, 0);
}

static void row(const struct scenario *s) {
    struct figures f = {0};
    char hosts[32] = "one each";

    stage_fork(s, FILL, &f);
    f.wal_mib = 0;
    stage_fork(s, OPEN_AND_DISPATCH, &f);
    stage_fork(s, SUBMIT, &f);
    if (s->hosts > 0)
        snprintf(hosts, sizeof(hosts), "%" PRIu64, s->hosts);
    printf("%10" PRIu64 " %9s %10.0f %8.1f %8.1f %8.1f %8.0f %10.0f %8.1f %8.1f %8.0f\n", s->jobs,
           hosts, f.submit, f.submit_cpu, f.submit_rss, f.wal_mib, f.open_ms, f.dispatch,
           f.dispatch_cpu, f.dispatch_rss, f.file_bytes);
    fflush(stdout);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void row_in(const char *base, uint64_t jobs, uint64_t hosts) {
    char dir[256];
    struct scenario s = {.dir = dir, .jobs = jobs, .hosts = hosts};

    snprintf(dir, sizeof(dir), "%s/bench_queue.XXXXXX", base);
    check(mkdtemp(dir) ? 0 : -errno, dir);
    row(&s);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv) {
    static const uint64_t rows[][2] = {
        {10000, 1000}, {1000000, 1000}, {10000, 0}, {1000000, 0},
    };

    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: bench_queue DIRECTORY [JOBS HOSTS]\n");
        return 2;
    }
    printf("The queue: batches of %d jobs, %d in flight; %d jobs fetched and put at a time.\n\n"
           "%10s %9s %10s %8s %8s %8s %8s %10s %8s %8s %8s\n"
           "%10s %9s %10s %8s %8s %8s %8s %10s %8s %8s %8s\n",
           CHUNK, IN_FLIGHT, WINDOW, "queued", "hosts", "submitted", "CPU", "RSS", "WAL", "open to",
           "dispatched", "CPU", "RSS", "file", "", "", "jobs/s", "us/job", "MiB", "MiB", "jobs ms",
           "jobs/s", "us/job", "MiB", "byte/job");
    if (argc == 4)
        row_in(argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    else
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
            row_in(argv[1], rows[i][0], rows[i][1]);
    return 0;
}
