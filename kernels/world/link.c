#include "kernels/world/link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/host.h"

typedef struct {
    uint32_t kind, bytes;
} header;

bool osv_bytes_add(osv_bytes *b, const void *data, size_t bytes)
{
    if (b->bytes + bytes > b->room) {
        size_t room = 2 * (b->bytes + bytes) + 256;
        char *wider = realloc(b->data, room);
        if (!wider) return false;
        b->data = wider;
        b->room = room;
    }
    if (bytes > 0) memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
    return true;
}

void osv_link_open(osv_link *l, int fd)
{
    int yes = 1;
    *l = (osv_link){.fd = fd, .heard = osv_host_seconds()};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

void osv_link_close(osv_link *l)
{
    if (l->fd >= 0) close(l->fd);
    free(l->in.data);
    free(l->out.data);
    *l = (osv_link){.fd = -1};
}

bool osv_link_ended(osv_link *l)
{
    bool ended = l->ended;
    l->ended = false;
    return ended;
}

void osv_link_why(char *text, size_t room, int error)
{
    if (error == 0 || error == ECONNRESET || error == EPIPE)
        snprintf(text, room, "its process has ended");
    else
        snprintf(text, room, "the connection to it broke: %s", strerror(error));
}

/* What has come stays. */
static bool broken(osv_link *l, int error)
{
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
    l->ended = true;
    l->error = error;
    return false;
}

bool osv_link_flush(osv_link *l)
{
    size_t sent = 0;
    if (l->fd < 0) return false;
    while (sent < l->out.bytes) {
        ssize_t n = send(l->fd, l->out.data + sent, l->out.bytes - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) { /* there may be something to read yet: that will find the end */
            l->out.bytes = 0;
            return false;
        }
        if (n < 0) break;
        sent += (size_t)n;
    }
    l->out.bytes -= sent;
    if (sent > 0) memmove(l->out.data, l->out.data + sent, l->out.bytes);
    return true;
}

bool osv_link_send(osv_link *l, uint32_t kind, const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const header head = {kind, (uint32_t)(a_bytes + b_bytes)};
    if (l->fd < 0) return false;
    if (!osv_bytes_add(&l->out, &head, sizeof head) || !osv_bytes_add(&l->out, a, a_bytes) ||
        !osv_bytes_add(&l->out, b, b_bytes))
        return broken(l, ENOMEM);
    return osv_link_flush(l);
}

bool osv_link_receive(osv_link *l)
{
    char piece[1 << 14];
    if (l->used > 0) {
        l->in.bytes -= l->used;
        memmove(l->in.data, l->in.data + l->used, l->in.bytes);
        l->used = 0;
    }
    while (l->fd >= 0) {
        ssize_t n = recv(l->fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return true;
        if (n <= 0) return broken(l, n < 0 ? errno : 0);
        l->heard = osv_host_seconds();
        if (!osv_bytes_add(&l->in, piece, (size_t)n)) return broken(l, ENOMEM);
    }
    return false;
}

bool osv_link_next(osv_link *l, osv_frame *f)
{
    header head;
    size_t there = l->in.bytes - l->used;
    if (there < sizeof head) return false;
    memcpy(&head, l->in.data + l->used, sizeof head);
    if (head.bytes > OSV_FRAME_MOST) return broken(l, EPROTO);
    if (there - sizeof head < head.bytes) return false;
    *f = (osv_frame){head.kind, head.bytes, l->in.data + l->used + sizeof head};
    l->used += sizeof head + head.bytes;
    return true;
}
