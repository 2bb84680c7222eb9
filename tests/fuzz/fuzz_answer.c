/*
 * A server's whole answer, as bytes, through libcurl and what judges it. What passes as the file is
 * one answer with a status that has a file, as long as it said, its chunks complete. The first byte
 * tells whether the rest of a file was asked for.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/text.h"
#include "daemon/worker/answer.h"
#include "daemon/worker/chunks.h"
#include "daemon/worker/header.h"
#include "daemon/worker/resume.h"

#define BODY_MAX (256 * KIB)
#define OFFSET 5
#define ANSWER_MAX (64 * KIB)

static struct sockaddr_un server = {.sun_family = AF_UNIX};
static socklen_t server_size = sizeof(sa_family_t);
static int listener = -1;

struct exchange {
    CURL *easy;
    int fd; /* the server's end */
    const uint8_t *answer;
    size_t size;
    struct head head;
    struct chunks chunks;
    uint64_t received;
    bool refused; /* by our own reading of the header */
    char text[CURL_ERROR_SIZE];
};

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    fuzz_check(listener >= 0 && bind(listener, (struct sockaddr *)&server, server_size) == 0);
    server_size = sizeof(server);
    fuzz_check(getsockname(listener, (struct sockaddr *)&server, &server_size) == 0);
    fuzz_check(listen(listener, 8) == 0);
    return 0;
}

/* Wherever curl wants to go, it gets to us. */
static curl_socket_t on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)userdata;
    (void)purpose;
    address->family = AF_UNIX;
    address->protocol = 0;
    address->addrlen = server_size;
    memcpy(&address->addr, &server, server_size);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Connected: the answer is there before the request. */
static int on_request(void *userdata, char *ip, char *local_ip, int port, int local_port) {
    struct exchange *x = userdata;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    fuzz_check(fd >= 0);
    fuzz_check(x->size == 0 || send(fd, x->answer, x->size, MSG_NOSIGNAL) == (ssize_t)x->size);
    shutdown(fd, SHUT_WR);
    x->fd = fd;
    return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *p, size_t size, size_t n, void *userdata) {
    struct exchange *x = userdata;

    (void)size;
    x->refused |= head_line(&x->head, p, n) != NULL;
    return x->refused ? CURL_WRITEFUNC_ERROR : n;
}

static size_t on_body(char *p, size_t size, size_t n, void *userdata) {
    struct exchange *x = userdata;

    (void)p;
    (void)size;
    x->received += n;
    return x->received <= BODY_MAX ? n : CURL_WRITEFUNC_ERROR;
}

static int on_debug(CURL *easy, curl_infotype type, char *p, size_t n, void *userdata) {
    struct exchange *x = userdata;

    (void)easy;
    if (type == CURLINFO_DATA_IN && x->head.ended && x->head.is_chunked)
        chunks_add(&x->chunks, p, n);
    return 0;
}

static void set_up(struct exchange *x, bool rest) {
    CURL *e = x->easy;

    curl_easy_setopt(e, CURLOPT_URL, "http://127.0.0.1/");
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, 2000L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->text);
    curl_easy_setopt(e, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(e, CURLOPT_DEBUGDATA, x);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, x);
    if (rest)
        curl_easy_setopt(e, CURLOPT_RANGE, "5-");
}

static void check_whole(const struct exchange *x, bool rest) {
    const struct head *h = &x->head;

    fuzz_check(h->ended && !x->refused);
    fuzz_check(answer_has_file((long)h->status) || (h->status == 206 && rest));
    fuzz_check(!h->has_length || h->length == x->received);
    if (h->is_chunked && x->chunks.state != CHUNKS_ENDED)
        return; /* transfer_finish() refuses it */
    fuzz_check(!h->is_chunked || x->received == 0 || x->chunks.digits == 0);
}

static void check_resuming(struct exchange *x) {
    struct wire_kept kept = {.offset = OFFSET, .total = 9, .etag = "\"a\""};
    struct version version;
    int64_t total = -1;

    if (version_read(x->easy, &version))
        fuzz_check((*version.etag && etag_is_strong(version.etag)) || *version.modified);
    if (!resume_misfit(x->easy, &kept, &total))
        fuzz_check(total == kept.total);
    resume_is_part(x->easy);
    resume_is_whole(x->easy, &kept);
}

static void check_digests(struct exchange *x) {
    struct integrity in;

    integrity_begin(&in, NULL, NULL);
    answer_digests(x->easy, &in);
    for (enum digest_kind kind = 0; kind < DIGEST_KINDS; kind++)
        fuzz_check(in.server[kind].given == !!(in.kinds & DIGEST_BIT(kind)));
}

static void exchange(struct exchange *x, bool rest) {
    struct failure f;
    struct attempt a = {
        .easy = x->easy, .curl_text = x->text, .host = "h:80", .head = &x->head, .resumed = rest};

    set_up(x, rest);
    a.code = curl_easy_perform(x->easy);
    a.received = x->received;
    failure_clear(&f);
    answer_judge(&a, &f);
    if (f.error == ERR_NONE)
        check_whole(x, rest);
    else
        fuzz_check(f.error < ERR_MAX_ && *f.message && strlen(f.message) < FAILURE_MESSAGE_MAX);
    fuzz_check(f.retry_after_usec <= UINT64_C(31) * 24 * 3600 * USEC_PER_SEC);
    check_resuming(x);
    check_digests(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct exchange x = {.fd = -1};
    bool rest = fuzz_byte(&data, &size) == 'r';

    if (size > ANSWER_MAX)
        return -1;
    x.answer = data;
    x.size = size;
    x.easy = curl_easy_init();
    fuzz_check(x.easy);
    exchange(&x, rest);
    curl_easy_cleanup(x.easy);
    close_fd(x.fd);
    return 0;
}
