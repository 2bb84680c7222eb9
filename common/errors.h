/*
 * errors.h - the one table of the ways in which a job can fail.
 *
 * A name is what `dlctl show` prints and scripts compare; the sentence says it to a person;
 * transient errors are tried again. The numbers go over the wire and into the store: append, never
 * renumber.
 */
#ifndef DLD_ERRORS_H
#define DLD_ERRORS_H

#include <stdbool.h>

/*  symbol, number, name, transient, sentence */
#define DLD_ERRORS(X)                                                                              \
    X(DNS, 1, "dns", true, "the host name could not be resolved")                                  \
    X(CONNECT, 2, "connect", true, "no connection could be made to the host")                      \
    X(TLS, 3, "tls", false, "the TLS connection could not be trusted or set up")                   \
    X(TIMEOUT, 4, "timeout", true, "the time allowed ran out")                                     \
    X(STALLED, 5, "stalled", true, "the server sent too little for too long")                      \
    X(RESET, 6, "reset", true, "the connection broke while it was in use")                         \
    X(PARTIAL, 7, "partial", true, "the body ended before it was complete")                        \
    X(HTTP, 8, "http", false, "the server answered with an error status")                          \
    X(REDIRECT, 9, "redirect", false, "the redirects could not be followed")                       \
    X(PROTOCOL, 10, "protocol", false, "the answer breaks the protocol")                           \
    X(TOO_LARGE, 11, "too-large", false, "the body is larger than max_size allows")                \
    X(NO_SPACE, 12, "no-space", true, "no room is left where the file belongs")                    \
    X(OUTPUT, 13, "output", false, "the output file could not be made")                            \
    X(EXISTS, 14, "exists", false, "a file of that name exists and on_conflict is fail")           \
    X(URL, 15, "url", false, "the URL can't be used")                                              \
    X(CRASH, 16, "crash", false, "the job crashed its workers and was taken out")                  \
    X(INTERNAL, 17, "internal", true, "dld itself failed")                                         \
    X(CHECKSUM, 18, "checksum", false, "the bytes are not those that were asked for or promised")  \
    X(DENIED_ADDRESS, 19, "denied-address", false,                                                 \
      "the host's address is one that may not be used")                                            \
    X(DEADLINE, 20, "deadline", false, "the job's deadline has passed")                            \
    X(SIZE, 21, "size", false, "the file has another size than was asked for")                     \
    X(CREDENTIAL, 22, "credential", false, "a credential that the job names can't be used")        \
    X(LOGIN, 23, "login", false, "the FTP or SFTP server lets nobody in with what the job has")    \
    X(REFUSED, 24, "refused", false, "the FTP or SFTP server does not give the file")              \
    X(HOST_KEY, 25, "host-key", false, "the SFTP server's host key is not the one that is known")

enum dld_error {
    ERR_NONE = 0,
#define X(symbol, number, name, transient, sentence) ERR_##symbol = number,
    DLD_ERRORS(X)
#undef X
        ERR_MAX_ = 26
};

/* NULL for ERR_NONE and for numbers that are not in the table. */
const char *error_name(unsigned e);
const char *error_sentence(unsigned e);
bool error_transient(unsigned e);

/* HTTP statuses worth another try: 408, 429 and the 5xx but 501 and 505 (RFC 9110 section 15). */
bool http_status_transient(unsigned status);

#endif
