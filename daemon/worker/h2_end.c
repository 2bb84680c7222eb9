#include "daemon/worker/h2_end.h"

#include <dlfcn.h>

#define NO_ERROR 0
#define INTERNAL_ERROR 2
#define RST_STREAM 3

/* Connections on which the head of a RST_STREAM frame has come, for a stream without END_STREAM,
 * and perhaps not yet the rest of the frame. A connection has one such frame at a time. */
#define TORN_MAX 64

static struct {
    nghttp2_session *session;
    int32_t stream_id;
} torn[TORN_MAX];
static unsigned n_torn, next_torn;

/* libcurl's, the same for all sessions. */
static nghttp2_on_stream_close_callback libcurl_on_close;
static int (*remote_close)(nghttp2_session *session, int32_t stream_id);

/* Forgets what is known of the connection; which stream was torn, 0: none. */
static int32_t torn_take(nghttp2_session *session) {
    for (unsigned i = 0; n_torn > 0 && i < TORN_MAX; i++)
        if (torn[i].session == session) {
            torn[i].session = NULL;
            n_torn--;
            return torn[i].stream_id;
        }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *user_data) {
    (void)user_data;
    torn_take(session);
    if (head->type == RST_STREAM && remote_close(session, head->stream_id) == 0) {
        n_torn += !torn[next_torn].session;
        torn[next_torn].session = session;
        torn[next_torn].stream_id = head->stream_id;
        next_torn = (next_torn + 1) % TORN_MAX;
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                    void *user_data) {
    if (torn_take(session) == stream_id && error_code == NO_ERROR)
        error_code = INTERNAL_ERROR;
    return libcurl_on_close(session, stream_id, error_code, user_data);
}

void nghttp2_session_callbacks_set_on_stream_close_callback(
    nghttp2_session_callbacks *callbacks, nghttp2_on_stream_close_callback callback) {
    void (*set_close)(nghttp2_session_callbacks *, nghttp2_on_stream_close_callback);
    void (*set_frame)(nghttp2_session_callbacks *, nghttp2_on_begin_frame_callback);

    /* POSIX has functions behind the pointers that dlsym() returns, ISO C has not. */
    *(void **)&set_close = dlsym(RTLD_NEXT, __func__);
    *(void **)&set_frame = dlsym(RTLD_NEXT, "nghttp2_session_callbacks_set_on_begin_frame_callback");
    *(void **)&remote_close = dlsym(RTLD_NEXT, "nghttp2_session_get_stream_remote_close");
    libcurl_on_close = callback;
    if (set_frame && remote_close)
        set_frame(callbacks, on_frame);
    if (set_close)
        set_close(callbacks, set_frame && remote_close ? on_close : callback);
}
