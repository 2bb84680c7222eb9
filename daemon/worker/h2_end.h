/*
 * h2_end.h - a stream of HTTP/2 that is reset "without error" before its end is not at its end.
 *
 * A server that has sent all may reset a stream with NO_ERROR (RFC 9113 section 8.1); one that has not
 * sent all may as well, and libcurl 7.88.1 then takes what came for a whole body, unless there is a
 * Content-Length. libnghttp2 knows whether the end was said, and tells libcurl of a stream's close through
 * a callback. libcurl sets that callback with nghttp2_session_callbacks_set_on_stream_close_callback();
 * the program has a function of this name of its own, which the dynamic linker prefers: it sets a callback
 * that asks first, and calls a close before the end an error. Where libcurl gets its HTTP/2 otherwise,
 * nothing is changed.
 */
#ifndef DLD_WORKER_H2_END_H
#define DLD_WORKER_H2_END_H

#include <stdint.h>

struct nghttp2_session;
struct nghttp2_session_callbacks;

typedef int h2_stream_close_fn(struct nghttp2_session *session, int32_t stream, uint32_t error,
                               void *userdata);

/* For libcurl alone. */
void nghttp2_session_callbacks_set_on_stream_close_callback(
    struct nghttp2_session_callbacks *callbacks, h2_stream_close_fn *fn);

#endif
