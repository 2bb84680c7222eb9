#include "daemon/worker/publish.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "common/util.h"
#include "daemon/worker/round.h"

struct publisher {
    struct publisher_settings settings;
    sd_event_source *io;
    int done_fd;     /* eventfd: there is something in done */
    unsigned n;      /* parcels in the stage; the loop's own */
    unsigned rounds; /* the thread's own */

    pthread_t thread;
    bool running; /* the thread was started, and mutex and changed are initialised */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex: */
    struct parcel *incoming, *done;
    unsigned n_incoming;
    bool hurry, stop;
};

static void wait_until(struct publisher *p, uint64_t usec) {
    struct timespec ts = timespec_of(usec);

    pthread_cond_timedwait(&p->changed, &p->mutex, &ts);
}

/* Waits, with the mutex held, until a round is due; false when there is to be none any more. */
static bool round_due(struct publisher *p, uint64_t last_began) {
    uint64_t due = last_began + p->settings.interval_usec;

    while (!p->stop) {
        if (!p->incoming)
            pthread_cond_wait(&p->changed, &p->mutex);
        else if (p->hurry || p->settings.mode != FSYNC_BATCH ||
                 p->n_incoming > p->settings.capacity / 2 || now_usec(CLOCK_MONOTONIC) >= due)
            return true;
        else
            wait_until(p, due);
    }
    return false;
}

/* The next round's parcels: all, or the first. */
static struct parcel *take_parcels(struct publisher *p) {
    struct parcel *list = NULL, *first = p->incoming;

    if (p->settings.mode != FSYNC_BATCH) {
        DL_DELETE(p->incoming, first);
        DL_APPEND(list, first);
        p->n_incoming--;
    } else {
        list = TAKE_PTR(p->incoming);
        p->n_incoming = 0;
    }
    return list;
}

static void *publisher_thread(void *userdata) {
    struct publisher *p = userdata;
    uint64_t began = 0;

    pthread_mutex_lock(&p->mutex);
    while (round_due(p, began)) {
        struct parcel *list = take_parcels(p);

        pthread_mutex_unlock(&p->mutex);
        began = now_usec(CLOCK_MONOTONIC);
        if (++p->rounds == 0)
            p->rounds = 1;
        round_publish(list, p->settings.dirs,
                      p->settings.mode == FSYNC_NEVER ? 0 : p->rounds);
        pthread_mutex_lock(&p->mutex);
        DL_CONCAT(p->done, list);
        eventfd_write(p->done_fd, 1);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

static int on_done_fd(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct publisher *p = userdata;
    struct parcel *list, *parcel, *next;
    eventfd_t count;

    (void)source;
    (void)revents;
    eventfd_read(fd, &count);
    pthread_mutex_lock(&p->mutex);
    list = TAKE_PTR(p->done);
    pthread_mutex_unlock(&p->mutex);
    DL_FOREACH_SAFE(list, parcel, next) {
        p->n--;
        p->settings.on_done(p->settings.userdata, parcel);
    }
    if (p->settings.on_room)
        p->settings.on_room(p->settings.userdata);
    return 0;
}

/* Waits are by CLOCK_MONOTONIC. The thread takes no signals. */
static int start_thread(struct publisher *p) {
    pthread_condattr_t attr;
    sigset_t all, before;
    int r;

    r = pthread_condattr_init(&attr);
    if (r != 0)
        return -r;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&p->thread, NULL, publisher_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->running = r == 0;
    if (r != 0) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->mutex);
    }
    return -r;
}

int publisher_new(struct publisher **ret, sd_event *event,
                  const struct publisher_settings *settings) {
    struct publisher *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return -ENOMEM;
    p->settings = *settings;
    p->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = p->done_fd < 0 ? -errno : 0;
    if (r == 0)
        r = sd_event_add_io(event, &p->io, p->done_fd, EPOLLIN, on_done_fd, p);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(p->io, true);
    if (r >= 0)
        r = start_thread(p);
    if (r < 0) {
        publisher_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct publisher *publisher_free(struct publisher *p) {
    if (!p)
        return NULL;
    if (p->running) {
        pthread_mutex_lock(&p->mutex);
        p->stop = true;
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->mutex);
        pthread_join(p->thread, NULL);
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->mutex);
    }
    sd_event_source_disable_unref(p->io);
    close_fd(p->done_fd);
    free(p);
    return NULL;
}

bool publisher_has_room(const struct publisher *p) {
    return p->n < p->settings.capacity;
}

void publisher_put(struct publisher *p, struct parcel *parcel) {
    bool wake;

    p->n++;
    pthread_mutex_lock(&p->mutex);
    DL_APPEND(p->incoming, parcel);
    p->n_incoming++;
    /* In between, the thread sleeps until the interval is over and need not be told. */
    wake = p->n_incoming == 1 || p->n_incoming == p->settings.capacity / 2 + 1;
    if (wake)
        pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

void publisher_hurry(struct publisher *p) {
    pthread_mutex_lock(&p->mutex);
    p->hurry = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}
