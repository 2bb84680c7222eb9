/*
 * What a client may send over the control socket, to the real server of it and the real methods; the
 * store, the dispatcher and the workers are played. Every request is answered once, in JSON, or is
 * one that waits; and when the client goes nothing of it stays. The first byte is after how many
 * bytes the client makes a pause.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/methods.h"
#include "tests/fuzz/played_master.h"

#define LINE_MAX_BYTES 4096
#define REQUESTS_MAX 32 /* under way, then no more is read */

static sd_event *event;
static struct control *control;
static struct methods methods;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size = sizeof(sa_family_t);

int LLVMFuzzerInitialize(int *argc, char ***argv);

static void client_gone(void *userdata, struct client *client) {
    watches_client_gone(((struct methods *)userdata)->watches, client);
}

/* All that can come of it, in turn. */
static int played_reload(void *userdata, struct reload *ret) {
    static const int outcomes[] = {0, -EINVAL, -EBUSY, -ENOMEM};
    static size_t n;
    int r = outcomes[n++ % ELEMENTSOF(outcomes)];

    (void)userdata;
    if (r == 0) {
        json_begin(&ret->changed, NULL, '[');
        json_str(&ret->changed, NULL, "[transfer] fsync");
        json_end(&ret->changed, ']');
        json_begin(&ret->restart, NULL, '[');
        json_end(&ret->restart, ']');
    } else if (r == -EINVAL) {
        buf_adds(&ret->why, "dld.conf:2: it has an error");
    }
    return r;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static struct config config;
    struct control_settings settings = {.max_line = LINE_MAX_BYTES,
                                        .methods = methods_table,
                                        .method_userdata = &methods,
                                        .client_gone = client_gone,
                                        .userdata = &methods};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)argc;
    (void)argv;
    fuzz_check(fd >= 0 && bind(fd, (struct sockaddr *)&address, address_size) == 0);
    address_size = sizeof(address);
    fuzz_check(getsockname(fd, (struct sockaddr *)&address, &address_size) == 0);
    fuzz_check(listen(fd, 8) == 0 && sd_event_new(&event) >= 0);
    methods.watches = watches_new(NULL);
    methods.reload = played_reload;
    fuzz_check(methods.watches && rates_new(&methods.rates, event, &config, 8) == 0);
    fuzz_check(control_new(&control, event, fd, &settings) == 0);
    return 0;
}

/* Until nothing more happens. */
static void turn(void) {
    int r;

    do {
        r = sd_event_run(event, 0);
        fuzz_check(r >= 0);
    } while (played_answer() || r > 0);
}

static int connect_client(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    fuzz_check(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_size) == 0);
    turn();
    return fd;
}

static void receive(int fd, struct buf *b) {
    for (;;) {
        char *to = buf_reserve(b, 64 * KIB);
        ssize_t n = to ? recv(fd, to, 64 * KIB, 0) : 0;

        if (n <= 0)
            return;
        b->len += (size_t)n;
    }
}

/* True: it answers a request; else it is a notification. */
static bool check_answer(const char *line, size_t n) {
    json_auto_t *answer = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(answer, "error");
    const char *version = json_string_value(json_object_get(answer, "jsonrpc"));

    fuzz_check(answer && version && streq(version, "2.0"));
    if (json_object_get(answer, "method")) {
        fuzz_check(json_is_object(json_object_get(answer, "params")));
        fuzz_check(json_object_size(answer) == 3);
        return false;
    }
    fuzz_check(json_object_get(answer, "id") && json_object_size(answer) == 3);
    fuzz_check(!error != !json_object_get(answer, "result"));
    if (error)
        fuzz_check(json_integer_value(json_object_get(error, "code")) < 0 &&
                   json_is_string(json_object_get(error, "message")));
    return true;
}

static unsigned check_answers(const struct buf *b) {
    const char *s = buf_head(b), *end = s + buf_size(b);
    unsigned n = 0;

    while (s < end) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));

        fuzz_check(stop);
        n += check_answer(s, (size_t)(stop - s));
        s = stop + 1;
    }
    return n;
}

/* Requests in the input up to the first thing that ends the conversation (*ret_ended: there is one),
 * that included, the last line with its end or without; *ret_odd: whether it is too long a line, of
 * which only the server knows where it gave up. */
static unsigned count_requests(const uint8_t *data, size_t size, bool *ret_ended, bool *ret_odd) {
    unsigned n = 0;

    *ret_ended = *ret_odd = false;
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t taken = end ? (size_t)(end - data) + 1 : size, len = end ? taken - 1 : size;
        _cleanup_free_ char *line = NULL;
        json_auto_t *message = NULL;

        *ret_odd |= len + 1 >= LINE_MAX_BYTES;
        if (len > 0 && data[len - 1] == '\r')
            len--;
        line = calloc(1, len + 1);
        fuzz_check(line);
        memcpy(line, data, len);
        data += taken;
        size -= taken;
        if (strspn(line, " \t") == len)
            continue;
        n++;
        message = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        *ret_ended = !json_is_object(message);
        if (*ret_ended)
            return n;
    }
    return n;
}

static void say(int fd, const uint8_t *data, size_t size) {
    ssize_t n = size > 0 ? send(fd, data, size, MSG_NOSIGNAL) : 0;

    fuzz_check(n == (ssize_t)size || (n < 0 && errno == EPIPE)); /* it was closed */
    turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(128 * MIB);
    size_t first = fuzz_byte(&data, &size);
    unsigned answered, asked, pending;
    bool ended, odd;
    int fd;

    if (size > 16 * KIB)
        return -1;
    asked = count_requests(data, size, &ended, &odd);
    fd = connect_client();
    first = MIN(first, size);
    say(fd, data, first);
    say(fd, data + first, size - first);
    shutdown(fd, SHUT_WR);
    turn();
    receive(fd, &b);
    turn();
    receive(fd, &b);
    answered = check_answers(&b);
    pending = control_n_requests(control);
    if (!odd && pending < REQUESTS_MAX)
        fuzz_check(answered + pending == asked || (ended && answered + pending < asked)); /* waits */
    close(fd);
    turn();
    fuzz_check(control_n_requests(control) == 0);
    played_forget();
    return 0;
}
