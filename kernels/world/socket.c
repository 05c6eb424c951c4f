#include "kernels/world/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* Addresses that mean the same on every host of a network: not fe80::, which needs an interface beside it. */
static bool text_of(char *text, size_t room, const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text,
                         (socklen_t)room);
    if (a->sa_family != AF_INET6) return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    return !IN6_IS_ADDR_LINKLOCAL(six) && inet_ntop(AF_INET6, six, text, (socklen_t)room);
}

void osv_socket_addresses(char *text, size_t room)
{
    struct ifaddrs *all = NULL;
    size_t length = 0;
    *text = '\0';
    if (getifaddrs(&all)) all = NULL;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        char one[INET6_ADDRSTRLEN];
        bool good = i->ifa_addr && (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK);
        if (!good || !text_of(one, sizeof one, i->ifa_addr) || length + strlen(one) + 2 > room) continue;
        length += (size_t)snprintf(text + length, room - length, "%s%s", length ? "," : "", one);
    }
    if (all) freeifaddrs(all);
    if (length == 0) snprintf(text, room, "127.0.0.1");
}

static struct addrinfo *look_up(const char *host, int port, int flags)
{
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    const struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    return getaddrinfo(host, service, &want, &found) ? NULL : found;
}

bool osv_socket_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

static bool listens(int *fd, const struct addrinfo *a)
{
    int yes = 1, no = 0;
    *fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (*fd < 0) return false;
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (a->ai_family == AF_INET6) setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (bind(*fd, a->ai_addr, a->ai_addrlen) == 0 && listen(*fd, BACKLOG) == 0) return true;
    int why = errno;
    close(*fd);
    *fd = -1;
    errno = why;
    return false;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t length = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &length)) return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&a)->sin6_port
                                         : ((struct sockaddr_in *)(void *)&a)->sin_port);
}

int osv_socket_listen(int *fd, const char *host, int *port, osv_error *e)
{
    struct addrinfo *found = look_up(osv_socket_is_loopback(host) ? host : "::", *port, AI_PASSIVE);
    *fd = -1;
    errno = EADDRNOTAVAIL;
    bool good = found && listens(fd, found);
    if (!good && !osv_socket_is_loopback(host) && errno != EADDRINUSE) { /* a host without IPv6 */
        if (found) freeaddrinfo(found);
        found = look_up("0.0.0.0", *port, AI_PASSIVE);
        good = found && listens(fd, found);
    }
    int why = errno;
    if (found) freeaddrinfo(found);
    if (good) *port = port_of(*fd);
    return good ? OSV_OK
                : OSV_FAIL(e, OSV_DEVICE, "cannot listen at port %d for the other ranks: %s", *port,
                           strerror(why));
}

static bool connects(int fd, const struct addrinfo *a, double seconds)
{
    int error = 0;
    socklen_t length = sizeof error;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return true;
    if (errno != EINPROGRESS || poll(&wait, 1, (int)(seconds * 1000) + 1) != 1) return false;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

int osv_socket_connect(const char *host, int port, double seconds)
{
    struct addrinfo *found = look_up(host, port, 0);
    int fd = -1;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
        if (fd < 0 || connects(fd, a, seconds)) continue;
        close(fd);
        fd = -1;
    }
    if (found) freeaddrinfo(found);
    return fd;
}
