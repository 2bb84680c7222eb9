#include "daemon/worker/h2_end.h"

#include <dlfcn.h>
#include <stddef.h>

#define RST_STREAM 3
#define NO_ERROR 0
#define PROTOCOL_ERROR 1

/* libnghttp2's nghttp2_frame_hd, a part of its binary interface. */
struct frame_header {
    size_t length;
    int32_t stream;
    uint8_t type, flags, reserved;
};

typedef int begin_frame_fn(struct nghttp2_session *session, const struct frame_header *header,
                           void *userdata);

/* Process-wide, as the function is that they stand for: libcurl always sets the same callback. */
static h2_stream_close_fn *curl_callback;
static int (*remote_close)(struct nghttp2_session *session, int32_t stream);

/* The stream whose end was not said when a reset of it began to come; a close that belongs to the reset
 * comes before any other frame. */
static const struct nghttp2_session *cut_session;
static int32_t cut_stream;

static int on_begin_frame(struct nghttp2_session *session, const struct frame_header *header,
                          void *userdata) {
    (void)userdata;
    cut_session = NULL;
    if (header->type == RST_STREAM && remote_close(session, header->stream) == 0) {
        cut_session = session;
        cut_stream = header->stream;
    }
    return 0;
}

static int on_stream_close(struct nghttp2_session *session, int32_t stream, uint32_t error,
                           void *userdata) {
    if (error == NO_ERROR && session == cut_session && stream == cut_stream)
        error = PROTOCOL_ERROR;
    return curl_callback(session, stream, error, userdata);
}

void nghttp2_session_callbacks_set_on_stream_close_callback(
    struct nghttp2_session_callbacks *callbacks, h2_stream_close_fn *fn) {
    void (*set)(struct nghttp2_session_callbacks *, h2_stream_close_fn *);
    void (*set_begin)(struct nghttp2_session_callbacks *, begin_frame_fn *);

    *(void **)&set = dlsym(RTLD_NEXT, "nghttp2_session_callbacks_set_on_stream_close_callback");
    *(void **)&set_begin =
        dlsym(RTLD_NEXT, "nghttp2_session_callbacks_set_on_begin_frame_callback");
    *(void **)&remote_close = dlsym(RTLD_NEXT, "nghttp2_session_get_stream_remote_close");
    if (!set)
        return;
    curl_callback = fn;
    set(callbacks, on_stream_close);
    if (set_begin && remote_close)
        set_begin(callbacks, on_begin_frame);
}
