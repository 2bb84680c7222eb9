/*
 * h2_end.h - an HTTP/2 stream that is reset before its END_STREAM has not come to its end.
 *
 * A server may reset a stream with the code NO_ERROR once it has sent all (RFC 9113 section 8.1).
 * libcurl 7.88.1 takes such a reset for the end of the body in any case, so that a file without a
 * Content-Length that breaks off like this would look whole, and nothing that libcurl tells says
 * otherwise. So this function stands before the one of libnghttp2 by which libcurl says what to
 * call when a stream is closed (the dynamic linker looks for names in the program first), and has
 * libcurl told of an error where END_STREAM is missing. With a libcurl that speaks HTTP/2 by other
 * means it is never called.
 */
#ifndef DLD_WORKER_H2_END_H
#define DLD_WORKER_H2_END_H

#include <stddef.h>
#include <stdint.h>

/* As <nghttp2/nghttp2.h> declares them, which is not needed otherwise. */
typedef struct nghttp2_session nghttp2_session;
typedef struct nghttp2_session_callbacks nghttp2_session_callbacks;

typedef struct {
    size_t length;
    int32_t stream_id;
    uint8_t type, flags, reserved;
} nghttp2_frame_hd;

typedef int (*nghttp2_on_begin_frame_callback)(nghttp2_session *session,
                                               const nghttp2_frame_hd *head, void *user_data);
typedef int (*nghttp2_on_stream_close_callback)(nghttp2_session *session, int32_t stream_id,
                                                uint32_t error_code, void *user_data);

void nghttp2_session_callbacks_set_on_stream_close_callback(
    nghttp2_session_callbacks *callbacks, nghttp2_on_stream_close_callback callback);

#endif
