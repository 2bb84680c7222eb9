#include "daemon/worker/ftp.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/worker/curlcode.h"
#include "daemon/worker/known_hosts.h"
#include "daemon/worker/request.h"

#define LINES_MAX 1000
#define BYTES_MAX (256 * KIB)
#define TIME_DIGITS 14 /* of an answer to MDTM, which has the code that one to SIZE has */
#define PATH_BYTES 32
#define NAME_BYTES 320

/* ---- what the server says ---- */

void ftp_begin(struct ftp *f) {
    *f = (struct ftp){.size = -1, .opening = -1};
}

/* "213 12345" */
static void read_size(struct ftp *f, const char *line, size_t n) {
    int64_t size = 0;
    size_t i;

    if (n < 5 || memcmp(line, "213 ", 4) != 0)
        return;
    for (i = 4; i < n && isdigit((unsigned char)line[i]) && i < 4 + 18; i++)
        size = size * 10 + (line[i] - '0');
    if (i > 4 && i == n && i - 4 != TIME_DIGITS)
        f->size = size;
}

/* "150 Opening BINARY mode data connection for a.bin (12345 bytes)." */
static void read_opening(struct ftp *f, const char *line, size_t n) {
    const char *end = line + n, *s = memrchr(line, '(', n);
    int64_t size = 0;
    int digits = 0;

    if (n < 4 || (memcmp(line, "150 ", 4) != 0 && memcmp(line, "125 ", 4) != 0) || !s)
        return;
    for (s++; s < end && isdigit((unsigned char)*s) && digits < 18; s++, digits++)
        size = size * 10 + (*s - '0');
    if (digits > 0 && end - s >= 7 && strncasecmp(s, " bytes)", 7) == 0)
        f->opening = size;
}

const char *ftp_line(struct ftp *f, const char *line, size_t n) {
    size_t shown;

    f->n_bytes += n;
    if (++f->n_lines > LINES_MAX || f->n_bytes > BYTES_MAX)
        return "sent more replies than there can be";
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        n--;
    read_size(f, line, n);
    read_opening(f, line, n);
    shown = MIN(n, (size_t)FTP_LINE_SHOWN);
    for (size_t i = 0; i < shown; i++)
        f->line[i] = line[i] >= ' ' && line[i] < 0x7f ? line[i] : '?';
    f->line[shown] = '\0';
    return NULL;
}

/* ---- what is asked ---- */

/* The first failure sticks. */
#define SET(easy, code, option, value)                                                             \
    do {                                                                                           \
        if ((code) == CURLE_OK)                                                                    \
            (code) = curl_easy_setopt((easy), (option), (value));                                  \
    } while (0)

static CURLcode set_common(CURL *easy, const struct wire_config *config, const struct wire_job *job,
                           const struct address *address) {
    uint64_t silence = config->low_speed_time_usec / USEC_PER_SEC;
    CURLcode c = CURLE_OK;

    SET(easy, c, CURLOPT_PROTOCOLS_STR, url_scheme_name(address->url.scheme));
    SET(easy, c, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, c, CURLOPT_URL, address->url.text);
    SET(easy, c, CURLOPT_PATH_AS_IS, 1L);
    SET(easy, c, CURLOPT_HTTPPROXYTUNNEL, 1L);
    SET(easy, c, CURLOPT_TIMEOUT_MS,
        (long)MIN((job->timeout_usec + USEC_PER_MSEC - 1) / USEC_PER_MSEC, (uint64_t)INT32_MAX));
    SET(easy, c, CURLOPT_SERVER_RESPONSE_TIMEOUT,
        (long)MIN(MAX(silence, UINT64_C(1)), (uint64_t)INT32_MAX));
    SET(easy, c, CURLOPT_FILETIME, 1L);
    if (c == CURLE_OK && (job->proxy || job->proxy_user))
        c = request_set_proxy(easy, job);
    if (job->user)
        SET(easy, c, CURLOPT_USERNAME, job->user);
    if (job->user && job->secret && job->auth == WIRE_AUTH_BASIC)
        SET(easy, c, CURLOPT_PASSWORD, job->secret);
    return c;
}

static void curl_freep(char **s) {
    curl_free(*s);
}

static int add_command(struct curl_slist **list, const char *command) {
    struct curl_slist *longer = curl_slist_append(*list, command);

    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

/* What goes before RETR. libcurl's own SIZE and REST have it read no further than SIZE says,
 * whatever follows: the end of a longer file would be missed, and a server that says yes to REST
 * and begins at the beginning. The last segment of the path is the file's name, as for libcurl. */
static int make_commands(struct aside_own *own, const struct url *url, uint64_t offset) {
    const char *end = url->path + url->path_len, *from = memrchr(url->path, '/', url->path_len);
    _cleanup_(curl_freep) char *name =
        curl_easy_unescape(own->easy, from + 1, (int)(end - from) - 1, NULL);
    _cleanup_free_ char *size = NULL;
    char rest[32];

    if (!name || asprintf(&size, "*SIZE %s", name) < 0) {
        size = NULL;
        return -ENOMEM;
    }
    snprintf(rest, sizeof(rest), "REST %" PRIu64, offset);
    if (add_command(&own->anew, size) < 0 || add_command(&own->commands, size) < 0 ||
        (offset > 0 && add_command(&own->commands, rest) < 0))
        return -ENOMEM;
    return 0;
}

int ftp_fill_anew(CURL *easy, struct curl_slist *anew) {
    CURLcode c = CURLE_OK;

    SET(easy, c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)0);
    SET(easy, c, CURLOPT_PREQUOTE, anew);
    return c == CURLE_OK ? 0 : -ENOMEM;
}

static CURLcode set_ftp(struct aside_own *own, const struct url *url, uint64_t offset) {
    CURL *easy = own->easy;
    bool tls = url->scheme == URL_FTPS;
    CURLcode c = CURLE_OK;

    if (make_commands(own, url, offset) < 0)
        return CURLE_OUT_OF_MEMORY;
    SET(easy, c, CURLOPT_PREQUOTE, own->commands);
    SET(easy, c, CURLOPT_IGNORE_CONTENT_LENGTH, 1L);
    SET(easy, c, CURLOPT_TRANSFERTEXT, 0L);
    SET(easy, c, CURLOPT_FTP_SKIP_PASV_IP, 1L);
    SET(easy, c, CURLOPT_USE_SSL, (long)(tls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
    return c;
}

static int path_of_fd(int fd, char path[PATH_BYTES]) {
    return snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
}

/* libssh2 takes a key from a file only: one that is in no file system. */
static int open_key(const char *key, int *ret_fd) {
    _cleanup_close_ int fd = memfd_create("key", MFD_CLOEXEC);
    size_t n = strlen(key);

    if (fd < 0)
        return -errno;
    if (write(fd, key, n) != (ssize_t)n)
        return -EIO;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static CURLcode set_sftp(struct aside_own *own, const struct wire_config *config,
                         const struct wire_job *job, const struct address *address, uint64_t offset,
                         int *ret_known) {
    char path[PATH_BYTES], name[NAME_BYTES];
    CURLcode c = CURLE_OK;

    known_hosts_name(&address->url, name, sizeof(name));
    *ret_known = known_hosts_open(config->known_hosts, name, &own->known_hosts);
    if (*ret_known < 0)
        return CURLE_OUT_OF_MEMORY;
    path_of_fd(own->known_hosts, path);
    SET(own->easy, c, CURLOPT_SSH_KNOWNHOSTS, path);
    SET(own->easy, c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)offset);
    SET(own->easy, c, CURLOPT_TIMEOUT_MS, 0L);
    SET(own->easy, c, CURLOPT_LOW_SPEED_LIMIT, 0L);
    own->limits = (struct aside_limits){
        .timeout_usec = job->timeout_usec,
        .low_speed_usec = config->low_speed_time_usec,
        .low_speed_limit = config->low_speed_limit,
    };
    if (job->auth != WIRE_AUTH_KEY) {
        SET(own->easy, c, CURLOPT_SSH_AUTH_TYPES,
            (long)(CURLSSH_AUTH_PASSWORD | CURLSSH_AUTH_KEYBOARD));
        return c;
    }
    if (open_key(job->secret, &own->key) < 0)
        return CURLE_OUT_OF_MEMORY;
    path_of_fd(own->key, path);
    SET(own->easy, c, CURLOPT_SSH_PRIVATE_KEYFILE, path);
    SET(own->easy, c, CURLOPT_SSH_AUTH_TYPES, (long)CURLSSH_AUTH_PUBLICKEY);
    return c;
}

/* Is what the job shows of the kind that the server takes? */
static bool can_log_in(const struct wire_job *job, const struct address *address,
                       struct failure *f) {
    bool sftp = address->url.scheme == URL_SFTP;

    if (sftp && job->auth == WIRE_AUTH_NONE)
        failure_set(
            f, ERR_LOGIN,
            "%.200s: an SFTP server lets in nobody without a name; give the job \"auth\" of "
            "type basic or key",
            address->url.host_key);
    else if (job->auth != WIRE_AUTH_NONE && job->auth != WIRE_AUTH_BASIC &&
             !(sftp && job->auth == WIRE_AUTH_KEY))
        failure_set(f, ERR_LOGIN, "%.200s: an %s server knows no \"auth\" but that of type basic%s",
                    address->url.host_key, sftp ? "SFTP" : "FTP", sftp ? " or key" : "");
    return f->error == ERR_NONE;
}

bool ftp_fill(struct aside_own *own, const struct wire_config *config, const struct wire_job *job,
              const struct address *address, uint64_t offset, int *ret_known,
              struct failure *ret_failure) {
    CURLcode c;

    if (!can_log_in(job, address, ret_failure))
        return false;
    c = set_common(own->easy, config, job, address);
    if (c == CURLE_OK)
        c = address->url.scheme == URL_SFTP ? set_sftp(own, config, job, address, offset, ret_known)
                                            : set_ftp(own, &address->url, offset);
    if (c != CURLE_OK)
        failure_set(ret_failure, ERR_INTERNAL, "out of memory");
    return c == CURLE_OK;
}

/* ---- how it ended ---- */

static void judge_host_key(const struct attempt *a, const struct ftp_attempt *f,
                           struct failure *ret) {
    char name[NAME_BYTES];

    known_hosts_name(&f->address->url, name, sizeof(name));
    if (f->known > 0)
        failure_set(ret, ERR_HOST_KEY,
                    "%.200s shows another host key than %.200s has for %.200s: it was changed, or "
                    "somebody is in between; if it was changed, replace the key in that file",
                    a->host, f->known_hosts, name);
    else
        failure_set(ret, ERR_HOST_KEY,
                    "no host key is known of %.200s: find out that it is the right one, and put it "
                    "into %.200s with the name %.200s",
                    a->host, f->known_hosts, name);
}

static void judge_login(const struct attempt *a, const struct ftp_attempt *f, struct failure *ret) {
    failure_set(ret, ERR_LOGIN, "%.200s %s%s%s", a->host,
                f->authenticated ? "does not take the job's credential"
                                 : "lets in nobody without a name; give the job \"auth\"",
                *f->ftp->line ? ": " : "", f->ftp->line);
}

static void judge_sftp(const struct attempt *a, const struct ftp_attempt *f, struct failure *ret) {
    const char *says = *a->curl_text ? a->curl_text : curl_easy_strerror(a->code);

    switch ((int)a->code) {
    case CURLE_PEER_FAILED_VERIFICATION:
        judge_host_key(a, f, ret);
        break;
    case CURLE_LOGIN_DENIED:
        judge_login(a, f, ret);
        break;
    case CURLE_REMOTE_FILE_NOT_FOUND:
    case CURLE_REMOTE_ACCESS_DENIED:
        failure_set(ret, ERR_REFUSED, "%.200s: %s", a->host, says);
        break;
    case CURLE_FAILED_INIT: /* the handshake */
        failure_set(ret, ERR_CONNECT, "%.200s: %s", a->host, says);
        break;
    case CURLE_SSH:
        failure_set(ret, a->received > 0 ? ERR_RESET : ERR_REFUSED, "%.200s: %s", a->host, says);
        ret->transient = true;
        break;
    default:
        curlcode_judge(a, 0, ret);
    }
}

/* Whether the last reply is what it failed for. */
static bool judge_reply(const struct attempt *a, const struct ftp_attempt *f, struct failure *ret) {
    long reply = 0;

    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &reply);
    if (a->code == CURLE_LOGIN_DENIED || reply == 530 || reply == 532) {
        judge_login(a, f, ret);
        ret->transient = reply / 100 == 4;
        return true;
    }
    /* A reply that ends the transfer after the file began to come tells that it is not whole. */
    if (reply < 400 || reply > 599 || a->code == CURLE_PARTIAL_FILE ||
        (a->code == CURLE_OPERATION_TIMEDOUT && reply != 421))
        return false;
    failure_set(ret, ERR_REFUSED, "%.200s: %s", a->host, f->ftp->line);
    ret->transient = reply < 500;
    return true;
}

/* The time that the job gives an attempt. */
static bool is_over(const struct attempt *a) {
    curl_off_t usec = 0;

    curl_easy_getinfo(a->easy, CURLINFO_TOTAL_TIME_T, &usec);
    return a->timeout_usec > 0 && (uint64_t)usec + USEC_PER_MSEC >= a->timeout_usec;
}

static void judge_ftp(const struct attempt *a, const struct ftp_attempt *f, struct failure *ret) {
    const char *says = *a->curl_text ? a->curl_text : curl_easy_strerror(a->code);

    if (judge_reply(a, f, ret))
        return;
    switch ((int)a->code) {
    case CURLE_OPERATION_TIMEDOUT:
        if (!is_over(a) &&
            (strstr(a->curl_text, "response timeout") || strstr(a->curl_text, "looks dead")))
            failure_set(ret, ERR_STALLED, "%.200s has not answered for too long: %s", a->host,
                        says);
        else
            curlcode_judge(a, 0, ret);
        break;
    case CURLE_RECV_ERROR:
        if (strstr(a->curl_text, "Too large"))
            failure_set(ret, ERR_PROTOCOL, "%.200s sent more replies than there can be", a->host);
        else
            curlcode_judge(a, 0, ret);
        break;
    case CURLE_FTP_WEIRD_PASS_REPLY:
    case CURLE_FTP_WEIRD_PASV_REPLY:
    case CURLE_FTP_WEIRD_227_FORMAT:
    case CURLE_FTP_CANT_GET_HOST:
    case CURLE_FTP_COULDNT_SET_TYPE:
    case CURLE_FTP_COULDNT_RETR_FILE:
    case CURLE_QUOTE_ERROR:
        failure_set(ret, ERR_PROTOCOL, "%.200s: %s", a->host, says);
        break;
    case CURLE_USE_SSL_FAILED:
        failure_set(ret, ERR_TLS, "%.200s: %s", a->host, says);
        break;
    default:
        curlcode_judge(a, 0, ret);
    }
}

void ftp_judge(const struct attempt *a, const struct ftp_attempt *f, struct failure *ret_failure) {
    if (a->code == CURLE_OK)
        return;
    if (f->address->url.scheme == URL_SFTP)
        judge_sftp(a, f, ret_failure);
    else
        judge_ftp(a, f, ret_failure);
}
