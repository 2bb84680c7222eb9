#include "daemon/worker/tls_end.h"

#include <openssl/ssl.h>

/* Where the caller's flag is kept with a connection; process-wide, -1: not asked for yet. */
static int flag_index = -1;

static void on_info(const SSL *ssl, int where, int value) {
    bool *ended = SSL_get_ex_data(ssl, flag_index);

    if (ended && where == SSL_CB_READ_ALERT && (value & 0xff) == SSL3_AD_CLOSE_NOTIFY)
        *ended = true;
}

bool tls_end_watch(CURL *easy, bool *ret_ended) {
    struct curl_tlssessioninfo *info = NULL;

    *ret_ended = false;
    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
        info->backend != CURLSSLBACKEND_OPENSSL || !info->internals)
        return false;
    if (flag_index < 0)
        flag_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (flag_index >= 0 && SSL_set_ex_data(info->internals, flag_index, ret_ended) == 1)
        SSL_set_info_callback(info->internals, on_info);
    return true;
}
