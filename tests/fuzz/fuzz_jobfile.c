/* Job files as dlctl takes them apart: the same jobs come out that jansson finds in the whole. */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/format.h"
#include "client/jobfile.h"
#include "common/text.h"

static json_t *parse(const char *text, size_t len) {
    return json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
}

/* The i-th job of a file as a whole. */
static const json_t *job_at(const json_t *root, size_t i) {
    const json_t *jobs = json_is_object(root) ? json_object_get(root, "jobs") : root;

    if (json_is_object(jobs) || !jobs)
        return i == 0 ? root : NULL;
    return json_array_get(jobs, i);
}

static void check_defaults(const struct jobfile *f, const json_t *root) {
    const struct buf *b = &f->defaults;
    json_auto_t *defaults = buf_size(b) > 0 ? parse(buf_head(b), buf_size(b)) : NULL;

    if (f->wrapped)
        fuzz_check(json_equal(defaults, json_object_get(root, "defaults")) ||
                   (!defaults && !json_object_get(root, "defaults")));
}

/* As a person sees it. */
static void check_error(const struct jobfile *f) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(64 * KIB);
    size_t n = strnlen(f->error, sizeof(f->error));

    fuzz_check(n > 0 && n < sizeof(f->error) && strstr(f->error, "fuzz"));
    format_printable(&b, f->error);
    fuzz_check(buf_cstr(&b) && text_is_printable(buf_head(&b), buf_size(&b)));
}

static void read_all(struct jobfile *f, const json_t *root) {
    struct jobfile_job job;
    size_t n = 0;
    int r;

    while ((r = jobfile_next(f, &job)) == 1) {
        json_auto_t *one = parse(job.text, job.len);

        fuzz_check(one && !memchr(job.text, '\n', job.len));
        fuzz_check(!root || json_equal(one, job_at(root, n)));
        n++;
    }
    if (r < 0) {
        check_error(f);
        return;
    }
    fuzz_check(root && n == f->n_jobs && n > 0 && !(n > 1 && f->lone));
    fuzz_check(!job_at(root, n));
    check_defaults(f, root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_auto_t *root = parse((const char *)data, size);
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct jobfile f;

    fuzz_check(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    fuzz_check(jobfile_open_fd(&f, fd, "fuzz") == 0);
    read_all(&f, root);
    jobfile_done(&f);
    return 0;
}
