#include "kernels/world/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/host.h"

/* A beat a second, and several within the timeout. */
static double beat_seconds(const osv_watch *w)
{
    double quarter = w->settings.timeout / 4;
    return quarter < 1 ? quarter : 1;
}

static bool is_first(const osv_watch *w)
{
    return w->hub != NULL;
}

/* ---- what rank 0 says to this rank: also to itself ---- */

static void receive(osv_watch *w, const osv_frame *f)
{
    int words[2];
    switch (f->kind) {
    case OSV_REPLY:
        w->reply.bytes = 0;
        w->replied = osv_bytes_add(&w->reply, f->data, f->bytes);
        w->left |= w->leaves;
        break;
    case OSV_LOST:
        if (f->bytes < sizeof w->words) break;
        memcpy(&w->words, f->data, sizeof w->words);
        snprintf(w->text, sizeof w->text, "%.*s", (int)(f->bytes - sizeof w->words),
                 (const char *)f->data + sizeof w->words);
        w->lost = true;
        break;
    case OSV_END:
        if (f->bytes != sizeof words) break;
        memcpy(words, f->data, sizeof words);
        w->end_status = words[0];
        w->broken = words[1];
        w->ended = true;
        break;
    default: break;
    }
    pthread_cond_broadcast(&w->changed);
}

/* osv_hub_tell */
static void tell(void *context, int rank, uint32_t kind, const void *data, size_t bytes)
{
    osv_watch *w = context;
    if (rank > 0)
        osv_link_send(&w->link[rank], kind, data, bytes, NULL, 0);
    else
        receive(w, &(osv_frame){kind, bytes, data});
}

/* To rank 0. */
static void say(osv_watch *w, uint32_t kind, const void *data, size_t bytes)
{
    if (is_first(w))
        osv_hub_receive(w->hub, 0, &(osv_frame){kind, bytes, data}, osv_host_seconds());
    else
        osv_link_send(&w->link[0], kind, data, bytes, NULL, 0);
}

static void beat(osv_watch *w)
{
    double since = w->waiting;
    const osv_beat b = {.waiting = since > 0 ? osv_host_seconds() - since : 0, .outside = w->outside};
    say(w, OSV_BEAT, &b, sizeof b);
    for (int r = 1; is_first(w) && r < w->links; r++) osv_link_send(&w->link[r], OSV_BEAT, NULL, 0, NULL, 0);
}

/* ---- the end ---- */

/* Without the lock: the main thread may hold what the observer needs, and waits for nobody here. */
static void bury(osv_watch *w)
{
    const osv_world_observer *o = &w->settings.observer;
    const osv_last_words words = w->words;
    char text[sizeof w->text];
    memcpy(text, w->text, sizeof text);
    w->lost = false;
    if (!words.saves) return;
    pthread_mutex_unlock(&w->lock);
    if (o->lost) o->lost(o->context, words.speaks ? text : NULL, 0);
    pthread_mutex_lock(&w->lock);
    say(w, OSV_SAVED, NULL, 0);
}

/* Rank 0 is gone, and nobody is told anything any more. */
static void end_alone(osv_watch *w, const char *why)
{
    enum { TURNS = 10 };
    const osv_world_observer *o = &w->settings.observer;
    const double a_turn = 3; /* the first one's end is by then that of all, where there is a launcher */
    int before = w->world.rank % w->world.tp - (w->world.replica == 0);
    char text[sizeof w->text];
    snprintf(text, sizeof text, "rank 0 (host %s) is lost: %s", w->host[0], why);
    if (o->lost) o->lost(o->context, text, a_turn * (before < TURNS ? before : TURNS));
    o->end(o->context, OSV_DEVICE);
}

/* ---- the thread ---- */

static void read_link(osv_watch *w, int i, double now)
{
    osv_link *l = &w->link[i];
    osv_frame f;
    osv_link_receive(l);
    while (osv_link_next(l, &f)) {
        if (is_first(w))
            osv_hub_receive(w->hub, i, &f, now);
        else
            receive(w, &f);
    }
    osv_link_flush(l);
    if (is_first(w) && osv_hub_is_lost(w->hub, i)) osv_link_close(l);
}

/* All that poll has said something of. False: this process was given up while it was stopped. *why: what has
 * become of rank 0, for the others. */
static bool read_links(osv_watch *w, const struct pollfd *fds, bool was_stopped, char *why, size_t room)
{
    double now = osv_host_seconds();
    *why = '\0';
    for (int i = 0; i < w->links; i++) {
        osv_link *l = &w->link[i];
        if (l->fd >= 0 && fds[i].revents) read_link(w, i, now);
        if (!osv_link_ended(l) || w->ended) continue;
        if (was_stopped) return false;
        if (is_first(w))
            osv_hub_closed(w->hub, i, l->error, now);
        else
            osv_link_why(why, room, l->error);
    }
    if (!is_first(w) && !*why && !w->ended && now - w->link[0].heard > w->settings.timeout)
        snprintf(why, room, "nothing was heard of it for %g s", w->settings.timeout);
    return true;
}

static void wait_for_news(osv_watch *w, struct pollfd *fds, double until)
{
    int n = 0;
    double left = until - osv_host_seconds();
    for (int i = 0; i < w->links; i++) {
        const osv_link *l = &w->link[i];
        fds[n++] = (struct pollfd){.fd = l->fd, .events = (short)(POLLIN | (l->out.bytes ? POLLOUT : 0))};
    }
    fds[n++] = (struct pollfd){.fd = w->wake[0], .events = POLLIN};
    pthread_mutex_unlock(&w->lock);
    poll(fds, (nfds_t)n, left > 0 ? (int)(left * 1000) + 1 : 0);
    pthread_mutex_lock(&w->lock);
    char drained[64];
    if (fds[n - 1].revents && read(w->wake[0], drained, sizeof drained) < 0) return;
}

static bool unsent(const osv_watch *w)
{
    for (int i = 0; i < w->links; i++)
        if (w->link[i].fd >= 0 && w->link[i].out.bytes > 0) return true;
    return false;
}

/* A process that did not run for a while cannot judge the others; and may have been given up. */
static bool was_stopped(osv_watch *w, double now, double last)
{
    if (now - last <= w->settings.timeout / 2) return false;
    if (is_first(w)) osv_hub_forgive(w->hub, now);
    for (int i = 0; i < w->links; i++) w->link[i].heard = now;
    return true;
}

/* Until told to end. Then the frames that tell others so are still to be sent, for a while. */
static void watch(osv_watch *w, struct pollfd *fds)
{
    enum { FAREWELL = 2 };
    double next = osv_host_seconds(), last = next, stopped = -w->settings.timeout, ended = 0;
    char why[256];
    while (!w->ended || (unsent(w) && osv_host_seconds() - ended < FAREWELL)) {
        double now = osv_host_seconds();
        if (was_stopped(w, now, last)) stopped = now;
        last = now;
        if (now >= next) {
            beat(w);
            next = now + beat_seconds(w);
        }
        if (!read_links(w, fds, now - stopped < w->settings.timeout, why, sizeof why))
            w->settings.observer.end(w->settings.observer.context, OSV_DEVICE);
        if (*why && !w->left) end_alone(w, why);
        if (*why) w->ended = w->broken = true; /* all that was left to do was to wait for the others */
        if (is_first(w)) osv_hub_look(w->hub, now);
        if (w->lost) {
            bury(w);
            last = osv_host_seconds(); /* that may take its time */
        }
        if (!w->ended) ended = now;
        if (!w->ended || unsent(w)) wait_for_news(w, fds, w->ended ? now + 0.01 : next);
    }
    pthread_cond_broadcast(&w->changed);
}

static void *run(void *context)
{
    osv_watch *w = context;
    struct pollfd *fds = calloc((size_t)w->links + 1, sizeof *fds);
    pthread_mutex_lock(&w->lock);
    if (fds) watch(w, fds);
    int status = fds ? w->end_status : OSV_DEVICE;
    pthread_mutex_unlock(&w->lock);
    free(fds);
    if (status) w->settings.observer.end(w->settings.observer.context, status);
    return NULL;
}

/* ---- for the main thread ---- */

int osv_watch_start(osv_watch *w, osv_error *e)
{
    sigset_t all, before;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (w->world.rank == 0)
        w->hub = osv_hub_open(w->world.size, w->world.tp, w->settings.timeout,
                              (const char(*)[OSV_HOST])w->host, tell, w, osv_host_seconds());
    if (w->world.rank == 0 && !w->hub) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d ranks", w->links);
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code ? OSV_FAIL(e, OSV_DEVICE, "cannot start a thread: %s", strerror(code)) : OSV_OK;
}

static void wake(osv_watch *w)
{
    while (write(w->wake[1], "", 1) < 0 && errno == EINTR) continue;
}

const osv_bytes *osv_watch_call(osv_watch *w, uint32_t kind, const void *data, size_t bytes)
{
    pthread_mutex_lock(&w->lock);
    w->replied = false;
    w->leaves |= kind == OSV_LEAVE;
    say(w, kind, data, bytes);
    wake(w);
    while (!w->replied) pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return &w->reply;
}

void osv_watch_end(osv_watch *w)
{
    pthread_join(w->thread, NULL);
}
