#include "daemon/worker/tls_end.h"

#include <openssl/ssl.h>
#include <pthread.h>

/* Where the caller's flag is kept with a connection, and with a context; process-wide. */
static int flag_index = -1, context_index = -1;

static void make_indexes(void) {
    flag_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* Contexts belong to threads. */
static bool have_indexes(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    return pthread_once(&once, make_indexes) == 0 && flag_index >= 0 && context_index >= 0;
}

static bool is_end(int where, int value) {
    return where == SSL_CB_READ_ALERT && (value & 0xff) == SSL3_AD_CLOSE_NOTIFY;
}

static void on_info(const SSL *ssl, int where, int value) {
    bool *ended = SSL_get_ex_data(ssl, flag_index);

    if (ended && is_end(where, value))
        *ended = true;
}

static void on_context_info(const SSL *ssl, int where, int value) {
    bool *ended = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index);

    if (ended && is_end(where, value))
        *ended = true;
}

bool tls_end_watch(CURL *easy, bool *ret_ended) {
    struct curl_tlssessioninfo *info = NULL;

    *ret_ended = false;
    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
        info->backend != CURLSSLBACKEND_OPENSSL || !info->internals)
        return false;
    if (have_indexes() && SSL_set_ex_data(info->internals, flag_index, ret_ended) == 1)
        SSL_set_info_callback(info->internals, on_info);
    return true;
}

void tls_end_watch_context(void *context, bool *ret_ended) {
    if (have_indexes() && SSL_CTX_set_ex_data(context, context_index, ret_ended) == 1)
        SSL_CTX_set_info_callback(context, on_context_info);
}
