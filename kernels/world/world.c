#include "kernels/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/host.h"
#include "kernels/world/watch.h"

static void release(osv_watch *w)
{
    for (int i = 0; w->link && i < w->links; i++) osv_link_close(&w->link[i]);
    for (int i = 0; i < 2; i++)
        if (w->wake[i] >= 0) close(w->wake[i]);
    osv_hub_close(w->hub);
    free(w->link);
    free(w->host);
    free(w->reply.data);
    free(w);
}

static osv_watch *allocate(const osv_world_settings *s)
{
    int rank = s->launch.rank, links = rank == 0 ? s->launch.size : 1;
    osv_watch *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    *w = (osv_watch){.settings = *s,
                     .links = links,
                     .wake = {-1, -1},
                     .link = calloc((size_t)links, sizeof *w->link),
                     .host = calloc((size_t)links, sizeof *w->host)};
    w->world = (osv_world){.rank = rank,
                           .size = s->launch.size,
                           .tp = s->tp,
                           .replica = rank / s->tp,
                           .launch = s->launch,
                           .timeout = s->timeout,
                           .state = w};
    for (int i = 0; w->link && i < links; i++) w->link[i].fd = -1;
    if (w->link && w->host) return w;
    release(w);
    return NULL;
}

int osv_world_open(osv_world **out, const osv_world_settings *s, bool *told, osv_error *e)
{
    *out = NULL;
    *told = false;
    osv_watch *w = allocate(s);
    if (!w) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d ranks", s->launch.size);
    int status = osv_meet(w->link, w->host, s, &w->world.local, told, e);
    if (!status && pipe2(w->wake, O_CLOEXEC | O_NONBLOCK))
        status = OSV_FAIL(e, OSV_DEVICE, "cannot make a pipe: %s", strerror(errno));
    if (!status) status = osv_watch_start(w, e);
    if (status)
        release(w);
    else
        *out = &w->world;
    return status;
}

bool osv_world_close(osv_world *w)
{
    if (!w) return true;
    osv_watch *s = w->state;
    osv_watch_end(s);
    bool whole = !s->broken;
    release(s);
    return whole;
}

/* Two parts in one frame; NULL: no memory. */
static const osv_bytes *say_both(osv_world *w, uint32_t kind, const void *a, size_t a_bytes, const void *b,
                                 size_t b_bytes)
{
    osv_bytes frame = {0};
    bool good = osv_bytes_add(&frame, a, a_bytes) && osv_bytes_add(&frame, b, b_bytes);
    const osv_bytes *reply = good ? osv_watch_call(w->state, kind, frame.data, frame.bytes) : NULL;
    free(frame.data);
    return reply;
}

int osv_world_agree(osv_world *w, const char *what, const char *value, osv_error *e)
{
    if (!w) return OSV_OK;
    const osv_bytes *reply = say_both(w, OSV_AGREE, what, strlen(what) + 1, value, strlen(value) + 1);
    if (!reply) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    return reply->bytes == 0 ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "%.*s", (int)reply->bytes, reply->data);
}

int osv_world_gather(osv_world *w, osv_group g, void *out, const void *x, size_t bytes, osv_error *e)
{
    if (!w) {
        memmove(out, x, bytes);
        return OSV_OK;
    }
    const osv_bytes *reply = say_both(w, OSV_GATHER, x, bytes, &g, sizeof g);
    if (!reply || reply->bytes != (size_t)g.size * bytes)
        return OSV_FAIL(e, OSV_DEVICE, "what %d ranks have to say did not come together", g.size);
    memcpy(out, reply->data, reply->bytes);
    return OSV_OK;
}

void osv_world_serve(osv_world *w, const osv_world_service *service)
{
    osv_watch *s = w->state;
    pthread_mutex_lock(&s->lock);
    osv_hub_serve(s->hub, service);
    pthread_mutex_unlock(&s->lock);
}

int osv_world_ask(osv_world *w, const void *request, size_t bytes, void *answer, size_t room, size_t *got,
                  osv_error *e)
{
    const osv_bytes *reply = osv_watch_call(w->state, OSV_ASK, request, bytes);
    *got = reply->bytes;
    if (*got > room)
        return OSV_FAIL(e, OSV_DEVICE, "rank 0 answers with %zu bytes; expected at most %zu", *got, room);
    memcpy(answer, reply->data, *got);
    return OSV_OK;
}

void osv_world_waits(osv_world *w, bool waits)
{
    if (w) w->state->waiting = waits ? osv_host_seconds() : 0;
}

void osv_world_outside(osv_world *w, bool outside)
{
    if (w) w->state->outside = outside;
}

bool osv_world_leave(osv_world *w, int status, int *lowest)
{
    int words[2] = {true, status ? 0 : 1};
    if (w) {
        const osv_bytes *reply = osv_watch_call(w->state, OSV_LEAVE, &status, sizeof status);
        if (reply->bytes == sizeof words) memcpy(words, reply->data, sizeof words);
    }
    *lowest = words[1];
    return words[0];
}
