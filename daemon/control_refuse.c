#include "daemon/control_refuse.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control.h"

void refuse_client(int fd, const char *text) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);

    json_begin(&b, NULL, '{');
    json_str(&b, "jsonrpc", "2.0");
    json_none(&b, "id");
    json_begin(&b, "error", '{');
    json_int(&b, "code", RPC_BUSY);
    json_str(&b, "message", text);
    json_end(&b, '}');
    json_end(&b, '}');
    buf_addc(&b, '\n');
    if (!buf_error(&b)) /* it fits into an empty socket; or the client has gone already */
        (void)!send(fd, buf_head(&b), buf_size(&b), MSG_NOSIGNAL | MSG_DONTWAIT);
    close_fd(fd);
}

int refuse_reserve(void) {
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool refuse_next(int listener, int *reserve, const char *text) {
    int client;

    if (*reserve < 0)
        return false;
    close_fd(*reserve);
    client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client >= 0)
        refuse_client(client, text);
    *reserve = refuse_reserve();
    return client >= 0;
}
