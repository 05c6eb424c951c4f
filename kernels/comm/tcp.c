/* TCP between ranks, on host memory: a connection between any two of a group. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/comm/hosted.h"
#include "kernels/host.h"
#include "kernels/world/place.h"
#include "kernels/world/socket.h"

/* Between this rank and another one, of the call at hand. */
typedef struct {
    const char *out;
    char *in;
    size_t to_send, to_come;
} traffic;

typedef struct {
    int rank, size;
    osv_world *world;
    osv_group group;
    osv_error *error;
    int *fd;             /* [size] this rank's own is -1 */
    traffic *with;       /* [size] */
    struct pollfd *poll; /* [size] */
} tcp;

static int in_world(const tcp *t, int place)
{
    return osv_group_rank(t->group, t->world->rank, place);
}

/* ---- moving bytes ---- */

/* The rank at the other end is gone, or cannot be reached: the world says so, and ends this process. */
static bool is_gone(const tcp *t, int r, int error)
{
    double until = osv_host_seconds() + 2 * t->world->timeout;
    while (osv_host_seconds() < until) osv_host_sleep(1);
    OSV_FAIL(t->error, OSV_DEVICE, "the connection to rank %d broke: %s",
             osv_group_rank(t->group, t->world->rank, r), error ? strerror(error) : "it was closed");
    return false;
}

/* Sends and receives what there is to; *moved: something was. */
static bool move(const tcp *t, int r, bool *moved)
{
    traffic *w = &t->with[r];
    if (w->to_send > 0) {
        ssize_t n = send(t->fd[r], w->out, w->to_send, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return is_gone(t, r, errno);
        if (n > 0) w->out += n, w->to_send -= (size_t)n, *moved = true;
    }
    if (w->to_come > 0) {
        ssize_t n = recv(t->fd[r], w->in, w->to_come, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return is_gone(t, r, n ? errno : 0);
        if (n > 0) w->in += n, w->to_come -= (size_t)n, *moved = true;
    }
    return true;
}

/* All that `with` says, with all ranks at once: none waits for another one's turn. */
static bool move_all(tcp *t)
{
    for (;;) {
        bool moved = false;
        int left = 0;
        for (int i = 1; i < t->size; i++) {
            int r = (t->rank + i) % t->size; /* each begins with another one */
            const traffic *w = &t->with[r];
            if (!move(t, r, &moved)) return false;
            short events = (short)((w->to_come > 0 ? POLLIN : 0) | (w->to_send > 0 ? POLLOUT : 0));
            if (events) t->poll[left++] = (struct pollfd){.fd = t->fd[r], .events = events};
        }
        if (left == 0) return true;
        if (!moved) poll(t->poll, (nfds_t)left, -1);
    }
}

static bool gather(void *state, void *out, const void *x, size_t bytes)
{
    tcp *t = state;
    char *all = out;
    for (int r = 0; r < t->size; r++) t->with[r] = (traffic){x, all + (size_t)r * bytes, bytes, bytes};
    memmove(all + (size_t)t->rank * bytes, x, bytes);
    return move_all(t);
}

static bool trade(void *state, void *out, const void *x, const int *at, const int *bytes)
{
    tcp *t = state;
    size_t own = (size_t)bytes[t->rank];
    for (int r = 0; r < t->size; r++)
        t->with[r] = (traffic){(const char *)x + at[r], (char *)out + (size_t)r * own, (size_t)bytes[r], own};
    memcpy(t->with[t->rank].in, t->with[t->rank].out, own);
    return move_all(t);
}

static bool join(void *state, void *x, const int *at, const int *bytes)
{
    tcp *t = state;
    char *all = x;
    for (int r = 0; r < t->size; r++)
        t->with[r] = (traffic){all + at[t->rank], all + at[r], (size_t)bytes[t->rank], (size_t)bytes[r]};
    return move_all(t);
}

static bool broadcast(void *state, void *x, size_t bytes, int root)
{
    tcp *t = state;
    for (int r = 0; r < t->size; r++)
        t->with[r] = (traffic){x, x, t->rank == root ? bytes : 0, r == root ? bytes : 0};
    return move_all(t);
}

static void close_tcp(void *state)
{
    tcp *t = state;
    for (int r = 0; t->fd && r < t->size; r++)
        if (t->fd[r] >= 0) close(t->fd[r]);
    free(t->fd);
    free(t->with);
    free(t->poll);
    free(t);
}

/* ---- connecting ---- */

/* Where a rank listens. */
typedef struct {
    char host[sizeof((osv_place *)0)->host];
    int port;
    uint64_t key; /* whoever connects says it, and so does who is found */
} address;

typedef struct {
    uint64_t key;
    int rank;
} greeting;

static bool set_up(int fd)
{
    int yes = 1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0;
}

/* All of it, within a few seconds. */
static bool get(int fd, void *x, size_t bytes)
{
    enum { PATIENCE = 5000 /* ms */ };
    size_t got = 0;
    while (got < bytes) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&wait, 1, PATIENCE) == 1 ? recv(fd, (char *)x + got, bytes - got, MSG_DONTWAIT) : 0;
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

static bool put(int fd, const void *x, size_t bytes)
{
    return send(fd, x, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

/* A rank below. */
static bool reach(tcp *t, int r, const address *a)
{
    enum { SECONDS = 2 };
    char host[sizeof a->host];
    const greeting own = {a->key, t->rank};
    uint64_t key;
    for (int i = 0; osv_place_host(host, sizeof host, a->host, i); i++) {
        int fd = osv_socket_connect(host, a->port, SECONDS);
        if (fd < 0) continue;
        bool good = set_up(fd) && put(fd, &own, sizeof own) && get(fd, &key, sizeof key) && key == a->key;
        if (good) {
            t->fd[r] = fd;
            return true;
        }
        close(fd);
    }
    return false;
}

/* One of the ranks above, or a stranger. */
static bool accept_one(tcp *t, int listening, const address *own, double until)
{
    greeting g;
    struct pollfd wait = {.fd = listening, .events = POLLIN};
    double left = until - osv_host_seconds();
    if (left <= 0) return false;
    int fd = poll(&wait, 1, (int)(left * 1000) + 1) == 1 ? accept4(listening, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (fd < 0) return true;
    bool ours = get(fd, &g, sizeof g) && g.key == own->key && g.rank > t->rank && g.rank < t->size &&
                t->fd[g.rank] < 0 && set_up(fd) && put(fd, &own->key, sizeof own->key);
    if (ours)
        t->fd[g.rank] = fd;
    else
        close(fd);
    return true;
}

static int missing(const tcp *t)
{
    int r = 0;
    while (r < t->size && (r == t->rank || t->fd[r] >= 0)) r++;
    return r;
}

/* Every rank reaches those below itself, and is reached by those above. */
static int connect_all(tcp *t, int listening, const address *all)
{
    double until = osv_host_seconds() + t->world->timeout;
    const address *own = &all[t->rank];
    for (int r = 0; r < t->rank; r++)
        if (!reach(t, r, &all[r]))
            return OSV_FAIL(t->error, OSV_DEVICE, "cannot reach rank %d, at %s, port %d", in_world(t, r),
                            all[r].host, all[r].port);
    while (missing(t) < t->size && accept_one(t, listening, own, until)) continue;
    if (missing(t) == t->size) return OSV_OK;
    return OSV_FAIL(t->error, OSV_DEVICE, "rank %d cannot reach this one, at %s, port %d",
                    in_world(t, missing(t)), own->host, own->port);
}

static int meet(tcp *t)
{
    address own = {.host = "127.0.0.1"}, *all = malloc((size_t)t->size * sizeof *all);
    int listening = -1, status = OSV_OK;
    if (!all) return OSV_FAIL(t->error, OSV_DEVICE, "out of memory for %d ranks", t->size);
    if (!t->world->local) osv_socket_addresses(own.host, sizeof own.host);
    getrandom(&own.key, sizeof own.key, 0);
    status = osv_socket_listen(&listening, own.host, &own.port, t->error);
    if (!status) status = osv_world_gather(t->world, t->group, all, &own, sizeof own, t->error);
    if (!status) status = connect_all(t, listening, all);
    if (listening >= 0) close(listening);
    free(all);
    return status;
}

int osv_tcp_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g)
{
    size_t n = (size_t)g.size;
    tcp *t = calloc(1, sizeof *t);
    *c = NULL;
    if (!t) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d ranks", g.size);
    *t = (tcp){.rank = osv_group_place(g, w->rank),
               .size = g.size,
               .world = w,
               .group = g,
               .error = o->error,
               .fd = malloc(n * sizeof *t->fd),
               .with = calloc(n, sizeof *t->with),
               .poll = calloc(n, sizeof *t->poll)};
    for (size_t r = 0; t->fd && r < n; r++) t->fd[r] = -1;
    int status = t->fd && t->with && t->poll
                     ? meet(t)
                     : OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d ranks", g.size);
    if (status) {
        close_tcp(t);
        return status;
    }
    const osv_transport transport = {.name = "tcp",
                                     .state = t,
                                     .close = close_tcp,
                                     .gather = gather,
                                     .trade = trade,
                                     .join = join,
                                     .broadcast = broadcast};
    return osv_hosted_open(c, o, w, g, &transport);
}
