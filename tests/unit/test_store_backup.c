#include "store_fixture.h"

#include <fcntl.h>

#include "common/base64.h"

struct reader {
    int error;
    int64_t number;
    uint64_t next, size;
    size_t n; /* bytes that were read */
    unsigned answers;
    int fd; /* where they go */
};

static void on_piece(void *userdata, int error, const struct store_piece *p) {
    struct reader *r = userdata;
    static uint8_t data[STORE_PIECE + 3];

    r->answers++;
    r->error = error;
    if (error < 0)
        return;
    ssize_t n = base64_decode_text(data, p->base64, p->length);
    assert_true(n > 0);
    assert_int_equal(write(r->fd, data, (size_t)n), n);
    r->n += (size_t)n;
    r->number = p->number;
    r->next = p->next;
    r->size = p->size;
}

static void ask(struct fixture *f, struct reader *r) {
    assert_int_equal(store_backup(f->store, r->number, r->next, on_piece, r), 0);
}

static void wait_answers(struct fixture *f, const struct reader *r, unsigned n) {
    while (r->answers < n)
        assert_return_code(sd_event_run(f->event, 10 * USEC_PER_SEC), 0);
}

static struct reader reader_open(struct fixture *f) {
    struct reader r = {.fd = open(fixture_path(f, "copy"), O_WRONLY | O_CREAT | O_TRUNC, 0600)};

    assert_true(r.fd >= 0);
    return r;
}

/* In one group with others, before and behind it. */
static void test_begins_among_other_requests(void **state) {
    struct fixture *f = *state;
    struct reader r = reader_open(f);
    struct store_chunk *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

    assert_true(a && b);
    a->last = b->last = true;
    assert_int_equal(store_submit(f->store, a, on_submit, f), 0);
    ask(f, &r);
    assert_int_equal(store_submit(f->store, b, on_submit, f), 0);
    wait_answers(f, &r, 1);
    assert_int_equal(r.error, 0);
    assert_int_equal(batch_get(f, 2), 0);
    close(r.fd);
    unlink(fixture_path(f, "copy"));
}

/* Rows change between the pieces, and more than the log holds before it is moved by itself. */
static void test_copy_is_of_one_moment(void **state) {
    struct fixture *f = *state;
    struct reader r = reader_open(f);
    unsigned asked = 1;

    for (int i = 0; i < 2; i++)
        assert_int_equal(submit(f, NULL, 0, STORE_STEP, true), 0);
    ask(f, &r);
    wait_answers(f, &r, asked);
    assert_true(r.next < r.size);
    while (r.error == 0 && r.next < r.size) {
        assert_int_equal(submit(f, NULL, 0, STORE_STEP, true), 0);
        ask(f, &r);
        wait_answers(f, &r, ++asked);
    }
    assert_int_equal(r.error, 0);
    assert_int_equal(r.n, r.size);
    close(r.fd);
    store_settled(f->store);
    f->store = store_close(f->store);
    char *copy = strdup(fixture_path(f, "copy"));
    assert_return_code(rename(copy, fixture_path(f, "queue.db")), errno);
    free(copy);
    assert_int_equal(file_number(f, "SELECT count(*) FROM jobs"), 2 * STORE_STEP);
    assert_int_equal(file_number(f, "SELECT application_id FROM pragma_application_id"),
                     0x444c4442);
    fixture_reopen(f);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 2 * STORE_STEP);
    check_numbers(f);
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_true(f->ids[0] > 2 * STORE_STEP + 1000000);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_begins_among_other_requests),
        TEST(test_copy_is_of_one_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
