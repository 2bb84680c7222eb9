/*
 * tls_end.h - did the server end a TLS connection, or did somebody cut it?
 *
 * Where a body has no length, the end of the connection is its end, and only the server can send
 * the alert close_notify; libcurl 7.88.1 takes any end for it.
 */
#ifndef DLD_WORKER_TLS_END_H
#define DLD_WORKER_TLS_END_H

#include <curl/curl.h>
#include <stdbool.h>

/* From within a callback of the transfer: *ret_ended, which must outlive the transfer, is set to
 * false now and to true when the server says that nothing more will come. False: no TLS. */
bool tls_end_watch(CURL *easy, bool *ret_ended);

/* Likewise of all connections that are made with an SSL_CTX, in whatever thread; from within
 * CURLOPT_SSL_CTX_FUNCTION. *ret_ended outlives the context. */
void tls_end_watch_context(void *context, bool *ret_ended);

#endif
