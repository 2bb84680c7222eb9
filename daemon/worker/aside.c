#include "daemon/worker/aside.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "common/exitcode.h"
#include "common/util.h"
#include "daemon/worker/tls_end.h"

#define STACK_BYTES (1 << 20)
#define SOCKETS_MAX 8  /* of one transfer at once: two connections, tried over two protocols each */
#define FREE_SECONDS 5 /* for the threads to end */

enum ask { ASK_REPLY, ASK_BODY, ASK_OPEN, ASK_LOOKUP, ASK_ENDED };

enum state {
    RUNNING, /* in its thread */
    ASKING,  /* in the list */
    IN_HAND, /* of the loop */
};

struct aside {
    struct asides *all;
    struct aside_own own;
    const struct aside_calls *calls;
    void *userdata;
    char text[CURL_ERROR_SIZE];
    bool tls_ended; /* these are the thread's */
    CURLcode limit;
    uint64_t begun, fast, looked; /* usec: at all, fast enough, looked at last */
    curl_off_t looked_bytes;

    /* Under the mutex. */
    pthread_cond_t answered;
    enum state state;
    bool abandoned;
    int sockets[SOCKETS_MAX];
    size_t n_sockets;
    struct aside *prev, *next;           /* those that ask */
    struct aside *prev_live, *next_live; /* all */

    /* What is asked, and the answer. */
    enum ask ask;
    const void *p;
    size_t n;
    CURLcode code;
    bool answer;
};

struct asides {
    pthread_mutex_t mutex;
    pthread_cond_t gone;
    struct aside *asking, *live;
    unsigned n_live, max;

    int wake; /* eventfd: there are some that ask */
    sd_event_source *io;
    session_ended_fn *on_ended;
    void *userdata;
};

/* ---- in the thread ---- */

/* False also where nobody wants to know any more. */
static bool ask(struct aside *r, enum ask what, const void *p, size_t n) {
    struct asides *a = r->all;
    bool answer = false;

    pthread_mutex_lock(&a->mutex);
    if (!r->abandoned) {
        r->ask = what;
        r->p = p;
        r->n = n;
        r->answer = false;
        r->state = ASKING;
        DL_APPEND(a->asking, r);
        eventfd_write(a->wake, 1);
        while (r->state != RUNNING)
            pthread_cond_wait(&r->answered, &a->mutex);
        answer = !r->abandoned && r->answer;
    }
    pthread_mutex_unlock(&a->mutex);
    return answer;
}

static size_t on_header(char *p, size_t size, size_t n, void *userdata) {
    (void)size; /* is 1 */
    return ask(userdata, ASK_REPLY, p, n) ? n : CURL_WRITEFUNC_ERROR;
}

static size_t on_body(char *p, size_t size, size_t n, void *userdata) {
    (void)size; /* is 1 */
    return ask(userdata, ASK_BODY, p, n) ? n : CURL_WRITEFUNC_ERROR;
}

/* With the mutex held. */
static void sockets_shut(struct aside *r, int how) {
    for (size_t i = 0; i < r->n_sockets; i++)
        shutdown(r->sockets[i], how);
}

static CURLcode limit_passed(struct aside *r, curl_off_t bytes) {
    const struct aside_limits *l = &r->own.limits;
    uint64_t now = now_usec(CLOCK_MONOTONIC), since = now - r->looked;

    if (since >= USEC_PER_SEC) {
        if ((double)(bytes - r->looked_bytes) * USEC_PER_SEC >=
            (double)l->low_speed_limit * (double)since)
            r->fast = now;
        r->looked = now;
        r->looked_bytes = bytes;
    }
    if (l->timeout_usec > 0 && now - r->begun >= l->timeout_usec + USEC_PER_MSEC)
        return CURLE_OPERATION_TIMEDOUT;
    if (l->low_speed_usec > 0 && now - r->fast >= l->low_speed_usec)
        return CURLE_AGAIN;
    return CURLE_OK;
}

/* Called at least once a second. */
static int on_progress(void *userdata, curl_off_t total, curl_off_t now, curl_off_t upload_total,
                       curl_off_t upload_now) {
    struct aside *r = userdata;
    bool abandoned;

    (void)total;
    (void)upload_total;
    (void)upload_now;
    if (r->limit == CURLE_OK)
        r->limit = limit_passed(r, now);
    pthread_mutex_lock(&r->all->mutex);
    abandoned = r->abandoned;
    if (r->limit != CURLE_OK)
        sockets_shut(r, SHUT_RDWR);
    pthread_mutex_unlock(&r->all->mutex);
    return abandoned || r->limit != CURLE_OK;
}

static CURLcode on_tls(CURL *easy, void *context, void *userdata) {
    struct aside *r = userdata;

    (void)easy;
    tls_end_watch_context(context, &r->tls_ended);
    return CURLE_OK;
}

static int on_lookup(void *state, void *reserved, void *userdata) {
    (void)state;
    (void)reserved;
    return !ask(userdata, ASK_LOOKUP, NULL, 0);
}

/* Kept in mind, so that another thread can end what waits for it. */
static bool socket_note(struct aside *r, int fd) {
    bool noted;

    pthread_mutex_lock(&r->all->mutex);
    noted = !r->abandoned && r->n_sockets < SOCKETS_MAX;
    if (noted)
        r->sockets[r->n_sockets++] = fd;
    pthread_mutex_unlock(&r->all->mutex);
    return noted;
}

static curl_socket_t on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
    struct aside *r = userdata;
    int fd;

    (void)purpose;
    if (!ask(r, ASK_OPEN, &address->addr, 0))
        return CURL_SOCKET_BAD;
    fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0 && !socket_note(r, fd))
        fd = close_fd(fd);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close(void *userdata, curl_socket_t fd) {
    struct aside *r = userdata;

    pthread_mutex_lock(&r->all->mutex);
    for (size_t i = 0; i < r->n_sockets; i++)
        if (r->sockets[i] == fd) {
            r->sockets[i] = r->sockets[--r->n_sockets];
            break;
        }
    pthread_mutex_unlock(&r->all->mutex);
    close_fd(fd);
    return 0;
}

void aside_own_done(struct aside_own *own) {
    curl_easy_cleanup(TAKE_PTR(own->easy));
    curl_slist_free_all(TAKE_PTR(own->commands));
    curl_slist_free_all(TAKE_PTR(own->anew));
    own->known_hosts = close_fd(own->known_hosts);
    own->key = close_fd(own->key);
}

static void aside_free(struct aside *r) {
    aside_own_done(&r->own);
    pthread_cond_destroy(&r->answered);
    free(r);
}

static void *aside_run(void *userdata) {
    struct aside *r = userdata;
    struct asides *a = r->all;

    r->begun = r->fast = r->looked = now_usec(CLOCK_MONOTONIC);
    do
        r->code = curl_easy_perform(r->own.easy);
    while (ask(r, ASK_ENDED, NULL, 0));
    /* It still takes leave of the server, but doesn't wait for what that says. */
    pthread_mutex_lock(&a->mutex);
    sockets_shut(r, SHUT_RD);
    pthread_mutex_unlock(&a->mutex);
    aside_own_done(&r->own);
    pthread_mutex_lock(&a->mutex);
    DL_DELETE2(a->live, r, prev_live, next_live);
    a->n_live--;
    pthread_cond_signal(&a->gone);
    aside_free(r);
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

/* ---- in the loop ---- */

static bool answer_ended(struct asides *a, struct aside *r) {
    if (r->calls->again(r->userdata, r->code))
        return true;
    a->on_ended(a->userdata, r->own.easy, r->code);
    return false;
}

static bool answer_of(struct asides *a, struct aside *r) {
    switch (r->ask) {
    case ASK_REPLY:
        return r->calls->reply(r->userdata, r->p, r->n);
    case ASK_BODY:
        return r->calls->body(r->userdata, r->p, r->n);
    case ASK_OPEN:
        return r->calls->may_open(r->userdata, r->p);
    case ASK_LOOKUP:
        return r->calls->may_look_up(r->userdata);
    case ASK_ENDED:
        return answer_ended(a, r);
    }
    return false;
}

static void answer_next(struct asides *a) {
    struct aside *r = a->asking;

    DL_DELETE(a->asking, r);
    r->state = IN_HAND;
    pthread_mutex_unlock(&a->mutex);
    r->answer = answer_of(a, r);
    pthread_mutex_lock(&a->mutex);
    r->state = RUNNING;
    pthread_cond_signal(&r->answered);
}

/* A turn is those that ask now; others have asked again by its end. */
static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct asides *a = userdata;
    struct aside *last;
    eventfd_t n;
    bool end;

    (void)source;
    (void)revents;
    eventfd_read(fd, &n);
    pthread_mutex_lock(&a->mutex);
    last = a->asking ? a->asking->prev : NULL;
    while (a->asking) {
        end = a->asking == last;
        answer_next(a);
        if (end)
            break;
    }
    if (a->asking)
        eventfd_write(a->wake, 1);
    pthread_mutex_unlock(&a->mutex);
    return 0;
}

static CURLcode aside_setup(struct aside *r) {
    const struct {
        CURLoption option;
        void *value;
    } options[] = {
        {CURLOPT_ERRORBUFFER, r->text},   {CURLOPT_HEADERDATA, r},
        {CURLOPT_WRITEDATA, r},           {CURLOPT_XFERINFODATA, r},
        {CURLOPT_RESOLVER_START_DATA, r}, {CURLOPT_OPENSOCKETDATA, r},
        {CURLOPT_CLOSESOCKETDATA, r},     {CURLOPT_SSL_CTX_DATA, r},
    };
    CURL *easy = r->own.easy;
    CURLcode c = CURLE_OK;

    for (size_t i = 0; i < ELEMENTSOF(options) && c == CURLE_OK; i++)
        c = curl_easy_setopt(easy, options[i].option, options[i].value);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_lookup);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    if (c == CURLE_OK)
        c = curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    return c;
}

/* Signals are the loop's. */
static int thread_start(struct aside *r) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int e;

    e = pthread_attr_init(&attr);
    if (e != 0)
        return -e;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    e = pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (e == 0)
        e = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (e == 0)
        e = pthread_create(&thread, &attr, aside_run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -e;
}

int aside_start(struct asides *a, struct aside_own *own, const struct aside_calls *calls,
                void *userdata, struct aside **ret) {
    struct aside *r = calloc(1, sizeof(*r));
    int e;

    if (!r) {
        aside_own_done(own);
        return -ENOMEM;
    }
    r->all = a;
    r->own = *own;
    *own = (struct aside_own){.known_hosts = -1, .key = -1};
    r->calls = calls;
    r->userdata = userdata;
    pthread_cond_init(&r->answered, NULL);
    if (aside_setup(r) != CURLE_OK) {
        aside_free(r);
        return -ENOMEM;
    }
    *ret = r; /* the thread may ask before this returns, but is not heard */
    pthread_mutex_lock(&a->mutex);
    e = a->n_live < a->max ? thread_start(r) : -EAGAIN;
    if (e == 0) {
        DL_APPEND2(a->live, r, prev_live, next_live);
        a->n_live++;
    }
    pthread_mutex_unlock(&a->mutex);
    if (e < 0) {
        *ret = NULL;
        aside_free(r);
    }
    return e;
}

CURLcode aside_limit(const struct aside *r) {
    return r->limit;
}

bool aside_tls_ended(const struct aside *r) {
    return r->tls_ended;
}

const char *aside_text(const struct aside *r) {
    return r->text;
}

/* With the mutex held. */
static void abandon(struct aside *r) {
    struct asides *a = r->all;

    r->abandoned = true;
    sockets_shut(r, SHUT_RDWR);
    if (r->state != ASKING)
        return;
    DL_DELETE(a->asking, r);
    r->state = RUNNING;
    pthread_cond_signal(&r->answered);
}

void aside_abandon(struct aside *r) {
    struct asides *a = r->all;

    pthread_mutex_lock(&a->mutex);
    abandon(r);
    pthread_mutex_unlock(&a->mutex);
}

int asides_new(struct asides **ret, sd_event *event, unsigned max, session_ended_fn *on_ended,
               void *userdata) {
    struct asides *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return -ENOMEM;
    pthread_mutex_init(&a->mutex, NULL);
    pthread_cond_init(&a->gone, NULL);
    a->max = max;
    a->on_ended = on_ended;
    a->userdata = userdata;
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = a->wake < 0 ? -errno : sd_event_add_io(event, &a->io, a->wake, EPOLLIN, on_wake, a);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(a->io, true);
    if (r < 0) {
        asides_free(a);
        return r;
    }
    *ret = a;
    return 0;
}

struct asides *asides_free(struct asides *a) {
    struct timespec end;
    struct aside *r;

    if (!a)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += FREE_SECONDS;
    pthread_mutex_lock(&a->mutex);
    DL_FOREACH2(a->live, r, next_live) {
        abandon(r);
    }
    while (a->n_live > 0)
        if (pthread_cond_timedwait(&a->gone, &a->mutex, &end) != 0 && a->n_live > 0)
            _exit(WORKER_OK); /* its results were sent long ago */
    pthread_mutex_unlock(&a->mutex);
    sd_event_source_disable_unref(a->io);
    close_fd(a->wake);
    pthread_cond_destroy(&a->gone);
    pthread_mutex_destroy(&a->mutex);
    free(a);
    return NULL;
}
