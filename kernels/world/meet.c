#include "kernels/world/meet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/comm_filling.h"
#include "kernels/host.h"
#include "kernels/world/place.h"
#include "kernels/world/socket.h"

static const char magic[8] = "osv-w/1";

typedef struct {
    char magic[8];
    char token[sizeof((osv_place *)0)->token];
    int rank, size, tp;
    char host[OSV_HOST];
} hello;

void osv_meet_own_host(char host[OSV_HOST])
{
    memset(host, 0, OSV_HOST);
    gethostname(host, OSV_HOST - 1);
}

static hello greet(const osv_world_settings *s, const osv_place *p)
{
    hello h = {.rank = s->launch.rank, .size = s->launch.size, .tp = s->tp};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.token, p->token, sizeof h.token);
    osv_meet_own_host(h.host);
    return h;
}

static void wait_for(struct pollfd *fds, int n, double until)
{
    double left = until - osv_host_seconds();
    poll(fds, (nfds_t)n, left > 0 ? (int)(left * 1000) + 1 : 0);
}

/* ---- rank 0 ---- */

enum { STRANGERS = 64, PATIENCE = 5 /* seconds, with those who do not say who they are */ };

typedef struct {
    const osv_world_settings *settings;
    const osv_place *place;
    osv_link *link;
    char (*host)[OSV_HOST];
    osv_link stranger[STRANGERS];
    int strangers, missing;
    osv_error *error;
} reception;

/* Takes the i-th stranger out. */
static osv_link part(reception *r, int i)
{
    osv_link l = r->stranger[i];
    r->stranger[i] = r->stranger[--r->strangers];
    return l;
}

static int admit(reception *r, int i, const hello *h)
{
    int size = r->settings->launch.size, tp = r->settings->tp;
    if (h->size != size || h->tp != tp)
        return OSV_FAIL(
            r->error, OSV_DEVICE,
            "rank %d (host %.63s) was started as one of %d ranks, %d to a model, but rank 0 (host "
            "%.63s) as one of %d, %d to a model",
            h->rank, h->host, h->size, h->tp, r->host[0], size, tp);
    bool known = h->rank <= 0 || h->rank >= size || r->link[h->rank].fd >= 0;
    if (known)
        return OSV_FAIL(r->error, OSV_DEVICE,
                        "two processes were started as rank %d of %d (on hosts %.63s and %.63s)", h->rank,
                        size, h->rank >= 0 && h->rank < size ? r->host[h->rank] : "?", h->host);
    memcpy(r->host[h->rank], h->host, sizeof h->host);
    r->host[h->rank][OSV_HOST - 1] = '\0';
    r->link[h->rank] = part(r, i);
    r->missing--;
    osv_link_send(&r->link[h->rank], OSV_HEARD, NULL, 0, NULL, 0);
    return OSV_OK;
}

/* Has the i-th said who it is? What is none of ours is sent away. */
static int look_at_stranger(reception *r, int i)
{
    osv_link *l = &r->stranger[i];
    osv_frame f;
    hello h;
    bool open = osv_link_receive(l), ours = false;
    bool here = osv_link_next(l, &f);
    if (here) ours = f.kind == OSV_HELLO && f.bytes == sizeof h;
    if (ours) memcpy(&h, f.data, sizeof h);
    if (ours)
        ours = memcmp(h.magic, magic, sizeof magic) == 0 &&
               memcmp(h.token, r->place->token, sizeof h.token) == 0;
    if (ours && open) return admit(r, i, &h);
    if (open && !here && osv_host_seconds() - l->heard < PATIENCE) return OSV_OK;
    osv_link gone = part(r, i);
    osv_link_close(&gone);
    return OSV_OK;
}

static int look_at_rank(reception *r, int rank)
{
    if (osv_link_receive(&r->link[rank])) return OSV_OK;
    return OSV_FAIL(r->error, OSV_DEVICE, "rank %d (host %s) ended while the ranks met", rank, r->host[rank]);
}

static int receive_once(reception *r, int fd, struct pollfd *fds, double until)
{
    int size = r->settings->launch.size, n = 0;
    fds[n++] = (struct pollfd){.fd = r->strangers < STRANGERS ? fd : -1, .events = POLLIN};
    for (int i = 0; i < r->strangers; i++)
        fds[n++] = (struct pollfd){.fd = r->stranger[i].fd, .events = POLLIN};
    for (int k = 1; k < size; k++) fds[n++] = (struct pollfd){.fd = r->link[k].fd, .events = POLLIN};
    double soon = osv_host_seconds() + 1;
    wait_for(fds, n, soon < until ? soon : until);
    for (int k = 1; k < size; k++)
        if (r->link[k].fd >= 0 && fds[1 + r->strangers + k - 1].revents) OSV_TRY(look_at_rank(r, k));
    for (int i = r->strangers - 1; i >= 0; i--) OSV_TRY(look_at_stranger(r, i));
    int came = fds[0].revents ? accept4(fd, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (came >= 0) osv_link_open(&r->stranger[r->strangers++], came);
    return OSV_OK;
}

static int missing_fail(const reception *r)
{
    int size = r->settings->launch.size, first = 1;
    while (first < size && r->link[first].fd >= 0) first++;
    return OSV_FAIL(r->error, OSV_DEVICE,
                    "rank %d of %d%s has not come to %s, port %d, within %g s; were all of them started, and "
                    "can they reach that address?",
                    first, size, r->missing > 1 ? ", and not alone," : "", r->place->host, r->place->port,
                    r->settings->timeout);
}

static int receive_all(reception *r, int fd)
{
    int size = r->settings->launch.size;
    struct pollfd *fds = calloc((size_t)(size + STRANGERS + 1), sizeof *fds);
    double until = osv_host_seconds() + r->settings->timeout;
    int status = fds ? OSV_OK : OSV_FAIL(r->error, OSV_DEVICE, "out of memory for %d ranks", size);
    while (!status && r->missing > 0) {
        if (osv_host_seconds() > until)
            status = missing_fail(r);
        else
            status = receive_once(r, fd, fds, until);
    }
    free(fds);
    return status;
}

static void refuse(osv_link *l, const osv_error *e)
{
    osv_link_send(l, OSV_REFUSE, e->text, strlen(e->text), NULL, 0);
}

static int meet_as_first(osv_link *link, char (*host)[OSV_HOST], const osv_world_settings *s,
                         const osv_place *p, int fd, osv_error *e)
{
    int size = s->launch.size;
    reception *r = calloc(1, sizeof *r);
    if (!r) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d ranks", size);
    *r = (reception){.settings = s, .place = p, .link = link, .host = host, .missing = size - 1, .error = e};
    for (int k = 0; k < size; k++) link[k] = (osv_link){.fd = -1};
    osv_meet_own_host(host[0]);
    int status = receive_all(r, fd);
    for (int k = 1; k < size; k++) {
        if (status)
            refuse(&link[k], e);
        else
            osv_link_send(&link[k], OSV_WELCOME, host[0], OSV_HOST, NULL, 0);
    }
    for (int i = 0; i < r->strangers; i++) {
        if (status) refuse(&r->stranger[i], e); /* one of them may be the reason */
        osv_link_close(&r->stranger[i]);
    }
    free(r);
    return status;
}

/* ---- the others ---- */

typedef enum { NOBODY, MET, REFUSED } answer;

/* The next frame; false: none before `until`. */
static bool await(osv_link *l, osv_frame *f, double until)
{
    while (!osv_link_next(l, f)) {
        struct pollfd wait = {.fd = l->fd, .events = POLLIN};
        if (osv_host_seconds() > until) return false;
        wait_for(&wait, 1, until);
        bool open = osv_link_receive(l);
        if (!open && !osv_link_next(l, f)) return false;
        if (!open) return true;
    }
    return true;
}

/* At one address. HEARD comes at once where it is the right one, the rest when all are there. */
static answer knock(osv_link *l, char host0[OSV_HOST], const char *host, int port, const hello *h,
                    double until, char *why, size_t room)
{
    enum { AT_ONCE = 2 };
    double now = osv_host_seconds();
    osv_frame f;
    int fd = osv_socket_connect(host, port, until - now < AT_ONCE ? until - now : AT_ONCE);
    if (fd < 0) return NOBODY;
    osv_link_open(l, fd);
    answer came = NOBODY;
    bool right = osv_link_send(l, OSV_HELLO, h, sizeof *h, NULL, 0) && await(l, &f, now + 2 * AT_ONCE);
    if (right && f.kind == OSV_HEARD) right = await(l, &f, until);
    if (right && f.kind == OSV_WELCOME && f.bytes == OSV_HOST) {
        memcpy(host0, f.data, OSV_HOST);
        return MET;
    }
    if (right && f.kind == OSV_REFUSE) {
        snprintf(why, room, "%.*s", (int)f.bytes, (const char *)f.data);
        came = REFUSED;
    }
    osv_link_close(l);
    return came;
}

static int meet_as_other(osv_link *link, char (*host)[OSV_HOST], const osv_world_settings *s,
                         const osv_place *p, bool *told, osv_error *e)
{
    const hello h = greet(s, p);
    char one[sizeof p->host], why[1024] = "";
    double until = osv_host_seconds() + s->timeout + 1; /* rank 0, if it is there, speaks first */
    answer came = NOBODY;
    *link = (osv_link){.fd = -1};
    while (came == NOBODY && osv_host_seconds() < until) {
        for (int i = 0; came == NOBODY && osv_place_host(one, sizeof one, p->host, i); i++)
            came = knock(link, host[0], one, p->port, &h, until, why, sizeof why);
        if (came == NOBODY) osv_host_sleep(0.05);
    }
    if (came == MET) return OSV_OK;
    *told = came == REFUSED;
    return *told ? OSV_FAIL(e, OSV_DEVICE, "%s", why)
                 : OSV_FAIL(e, OSV_DEVICE,
                            "rank %d of %d finds no rank 0 at %s, port %d, within %g s; was it started, and "
                            "can this host (%s) reach that address?",
                            h.rank, h.size, p->host, p->port, s->timeout, h.host);
}

/* ---- both ---- */

/* What rank 0 tells the others by MPI. */
typedef struct {
    char host[sizeof((osv_place *)0)->host], token[sizeof((osv_place *)0)->token];
    int port;
} told_place;

static int tell_by_mpi(osv_place *p, const osv_launch *l, int *fd, bool *told, osv_error *e)
{
    told_place t = {.port = 0};
    unsigned long long number = 0;
    int status = OSV_OK;
    if (l->rank == 0) {
        osv_socket_addresses(t.host, sizeof t.host);
        getrandom(&number, sizeof number, 0);
        snprintf(t.token, sizeof t.token, "mpi %llx", number);
        status = osv_socket_listen(fd, t.host, &t.port, e);
        if (status) t.port = 0;
    }
    int sent = osv_mpi_filling_tell(&t, sizeof t, l, e);
    if (status || sent) return status ? status : sent;
    *told = t.port == 0;
    if (*told) return OSV_FAIL(e, OSV_DEVICE, "rank 0 cannot listen for the other ranks");
    memcpy(p->host, t.host, sizeof p->host);
    memcpy(p->token, t.token, sizeof p->token);
    p->port = t.port;
    return OSV_OK;
}

static int listen_at(const osv_place *p, int *fd, osv_error *e)
{
    int port = p->port;
    osv_error why = {0};
    *fd = p->listening;
    if (*fd >= 0) return fcntl(*fd, F_SETFD, FD_CLOEXEC), OSV_OK;
    if (!osv_socket_listen(fd, p->host, &port, &why)) return OSV_OK;
    return OSV_FAIL(e, OSV_DEVICE,
                    "rank 0 %s; is another run there? OSV_RENDEZVOUS=host:port chooses another "
                    "one",
                    why.text);
}

int osv_meet(osv_link *link, char (*host)[OSV_HOST], const osv_world_settings *s, bool *local, bool *told,
             osv_error *e)
{
    osv_place p;
    int fd = -1;
    *told = false;
    OSV_TRY(osv_place_find(&p, &s->launch, getenv, e));
    if (p.by_mpi) OSV_TRY(tell_by_mpi(&p, &s->launch, &fd, told, e));
    *local = osv_socket_is_loopback(p.host);
    if (s->launch.rank > 0) return meet_as_other(link, host, s, &p, told, e);
    if (fd < 0) OSV_TRY(listen_at(&p, &fd, e));
    int status = meet_as_first(link, host, s, &p, fd, e);
    close(fd);
    return status;
}
