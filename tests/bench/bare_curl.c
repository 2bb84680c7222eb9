/*
 * bare_curl - what libcurl alone takes: fetches a list with so many transfers in flight, one epoll
 * set, easy handles used again, each body written once. No queue, no names but the list's, no retries.
 *
 *     bare_curl LIST IN_FLIGHT      (lines of LIST: URL, a tab, the file)
 *
 * A yardstick for the benchmark, not a program for anyone: on any error it ends with 1.
 */
#include <curl/curl.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 256
#define BODY_MAX (1 << 20)

struct slot {
    CURL *easy;
    char *path;
    char *body;
    size_t n;
};

static struct slot slots[IN_FLIGHT_MAX];
static CURLM *multi;
static FILE *list;
static int epoll, running;
static long wait_ms = -1;

static size_t on_body(char *p, size_t size, size_t n, void *userdata) {
    struct slot *s = userdata;

    (void)size;
    if (s->n + n > BODY_MAX)
        return 0;
    memcpy(s->body + s->n, p, n);
    s->n += n;
    return n;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *known) {
    struct epoll_event e = {.data.fd = fd};

    (void)easy;
    (void)userdata;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &e);
        return 0;
    }
    e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    epoll_ctl(epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    curl_multi_assign(multi, fd, slots);
    return 0;
}

static int on_timer(CURLM *m, long ms, void *userdata) {
    (void)m;
    (void)userdata;
    wait_ms = ms;
    return 0;
}

/* False: the list is at its end. */
static int begin(struct slot *s) {
    char *line = NULL, *tab;
    size_t size = 0;

    if (getline(&line, &size, list) < 0 || !(tab = strchr(line, '\t'))) {
        free(line);
        return 0;
    }
    *tab++ = '\0';
    tab[strcspn(tab, "\n")] = '\0';
    free(s->path);
    s->path = strdup(tab);
    s->n = 0;
    curl_easy_setopt(s->easy, CURLOPT_URL, line);
    curl_multi_add_handle(multi, s->easy);
    free(line);
    return 1;
}

static void save(const struct slot *s) {
    int fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, s->body, s->n) != (ssize_t)s->n || close(fd) < 0)
        err(1, "%s", s->path);
}

static void collect(void) {
    struct CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(multi, &left))) {
        struct slot *s;
        CURL *easy = m->easy_handle;

        if (m->data.result != CURLE_OK)
            errx(1, "%s", curl_easy_strerror(m->data.result));
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&s);
        curl_multi_remove_handle(multi, easy);
        save(s);
        begin(s);
    }
}

static void slot_init(struct slot *s) {
    s->easy = curl_easy_init();
    s->body = malloc(BODY_MAX);
    if (!s->easy || !s->body)
        errx(1, "out of memory");
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

int main(int argc, char **argv) {
    int n = argc == 3 ? atoi(argv[2]) : 0;
    struct epoll_event events[IN_FLIGHT_MAX];

    list = argc == 3 ? fopen(argv[1], "re") : NULL;
    if (!list || n < 1 || n > IN_FLIGHT_MAX)
        errx(1, "usage: bare_curl LIST IN_FLIGHT");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)IN_FLIGHT_MAX);
    for (int i = 0; i < n; i++) {
        slot_init(&slots[i]);
        begin(&slots[i]);
    }
    do {
        int ready = wait_ms == 0 ? 0 : epoll_wait(epoll, events, IN_FLIGHT_MAX, (int)wait_ms);

        if (ready == 0) {
            wait_ms = -1; /* it is for once */
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        for (int i = 0; i < ready; i++)
            curl_multi_socket_action(multi, events[i].data.fd,
                                     (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                         (events[i].events & ~EPOLLOUT ? CURL_CSELECT_IN : 0),
                                     &running);
        collect();
    } while (running > 0 || wait_ms == 0);
    return 0;
}
