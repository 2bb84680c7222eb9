/* Jobs as clients submit them: JSON to what is stored, to what is run, and back to JSON. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "common/text.h"
#include "daemon/job_json.h"

/* What is said of a job goes to a terminal. */
static void check_error(const struct job_error *err, int64_t index) {
    size_t n = strnlen(err->text, sizeof(err->text));

    fuzz_check(n > 0 && n < sizeof(err->text));
    fuzz_check(text_is_printable(err->text, n));
    fuzz_check(err->index == index);
}

static void check_url(const struct job_new *new) {
    _cleanup_(url_done) struct url url = {0};
    const char *why;
    size_t column;

    fuzz_check(url_parse(new->url, &url, &why, &column) == 0);
    fuzz_check(streq(url.text, new->url) && streq(url.host_key, new->host));
}

static void check_path(const struct job_new *new, const struct job_spec *spec) {
    _cleanup_(url_done) struct url url = {0};
    _cleanup_free_ char *path = NULL;
    const char *why;
    size_t column;

    fuzz_check(url_parse(new->url, &url, &why, &column) == 0);
    fuzz_check(output_expand(spec->output, &url, 41, 2, &path) == 0);
    fuzz_check(path_is_safe(path) && strlen(path) <= OUTPUT_MAX_BYTES);
}

static void check_spec(const struct job_new *new) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;

    fuzz_check(job_spec_parse(new->body, &spec) == 0);
    fuzz_check(spec.priority == new->priority &&spec.priority >= -100 && spec.priority <= 100);
    fuzz_check(!spec.tag == !new->tag && (!spec.tag || streq(spec.tag, new->tag)));
    fuzz_check(spec.n_urls <= JOB_URLS_MAX && spec.n_retry_on <= JOB_RETRY_ON_MAX);
    fuzz_check(spec.n_urls == 0 || streq(spec.urls[0], new->url));
    fuzz_check((spec.auth == JOB_AUTH_NONE) == !spec.credential);
    fuzz_check(new->not_before <= MAX(spec.not_before, spec.deadline));
    for (size_t i = 0; i < spec.n_headers; i++)
        fuzz_check(!strpbrk(spec.headers[i], "\r\n") && strchr(spec.headers[i], ':'));
    check_path(new, &spec);
}

/* What is stored, submitted again, is stored as the same. */
static void check_again(const struct job_new *new) {
    json_auto_t *object =
        new->body ? json_loads(new->body, JSON_REJECT_DUPLICATES, NULL) : json_object();
    struct job_error err;
    struct job_new again;

    fuzz_check(json_is_object(object));
    if (!json_object_get(object, "urls"))
        json_object_set_new(object, "url", json_string(new->url));
    fuzz_check(job_new_parse(object, NULL, "", 0, &again, &err) == 0);
    fuzz_check(streq(again.url, new->url) && streq(again.host, new->host));
    fuzz_check(!again.body == !new->body && (!new->body || streq(again.body, new->body)));
    fuzz_check(again.priority == new->priority &&again.not_before ==
               new->not_before &&again.rate_limit == new->rate_limit);
    job_new_done(&again);
}

/* What clients get is JSON, whatever bytes the texts of a result are. */
static void check_shown(const struct job_new *new, char *text, enum job_state state) {
    struct job j = {
        .id = 41,
        .batch = 17,
        .index = 2,
        .state = state,
        .url = new->url,
        .host = new->host,
        .body = new->body,
        .result = {.size = -1,
                   .error = state == JOB_FAILED ? ERR_HTTP : ERR_NONE,
                   .message = text,
                   .content_type = text,
                   .effective_url = text,
                   .answer = text},
    };
    _cleanup_(buf_done) struct buf b = BUF_INIT(4 * MIB);
    json_auto_t *shown = NULL;

    if (state == JOB_DONE)
        j.result.output = text;
    job_to_json(&b, NULL, &j, NULL);
    json_end(&b, '}');
    fuzz_check(buf_cstr(&b));
    shown = json_loads(buf_cstr(&b), JSON_REJECT_DUPLICATES, NULL);
    fuzz_check(shown);
    fuzz_check(streq(json_string_value(json_object_get(shown, "url")), new->url));
    fuzz_check(json_integer_value(json_object_get(shown, "id")) == 41);
}

static void take(const json_t *object, const json_t *defaults, int64_t index, char *text) {
    struct job_error err = {.index = -2};
    struct job_new new;
    int r = job_new_parse(object, defaults, "jobs[3]", index, &new, &err);

    fuzz_check(r == 0 || r == -EINVAL);
    if (r < 0) {
        check_error(&err, index);
        return;
    }
    check_url(&new);
    check_spec(&new);
    check_again(&new);
    check_shown(&new, text, JOB_QUEUED);
    check_shown(&new, text, JOB_DONE);
    check_shown(&new, text, JOB_FAILED);
    job_new_done(&new);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_auto_t *root =
        json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    const json_t *jobs = json_object_get(root, "jobs"), *defaults = NULL;
    _cleanup_free_ char *text = fuzz_text(data, size);
    struct job_error err = {.index = -2};

    if (!root)
        return 0;
    if (jobs)
        defaults = json_object_get(root, "defaults");
    else
        jobs = root;
    if (job_defaults_check(defaults, &err) < 0)
        check_error(&err, -1);
    if (!json_is_array(jobs))
        take(jobs, defaults, 0, text);
    for (size_t i = 0; i < json_array_size(jobs); i++)
        take(json_array_get(jobs, i), defaults, (int64_t)i, text);
    return 0;
}
