#include "kernels/world/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRACE = 2,   /* seconds after which a rank that failed is believed to be the only one */
    SAVING = 20, /* seconds for the checkpoint of a replica that has lost a rank */
    TEXT = 1024,
};

/* THERE -> LEAVING (it has said so) -> LEFT (all of its replica have), or LOST; ENDED: told to end. */
typedef enum { THERE, LEAVING, LEFT, LOST, ENDED } standing;

typedef struct {
    standing standing;
    double heard; /* when */
    osv_beat beat;
    uint32_t pending; /* OSV_AGREE, OSV_GATHER or OSV_ASK, with its data; 0: it waits for no reply */
    osv_bytes data;
    osv_group group; /* of OSV_GATHER */
    int status;      /* of LEAVING */
    double since;
} member;

/* LIVES -> SAVES (a rank is lost, the lowest one saves) -> OVER. */
typedef struct {
    enum { LIVES, SAVES, OVER } state;
    double since;
    int status; /* its ranks end with */
    int saver;  /* the rank that saves */
    bool saved, told;
} replica;

struct osv_hub {
    int size, tp, replicas;
    double timeout;
    const char (*host)[OSV_HOST];
    osv_hub_tell *tell;
    void *context;
    osv_world_service service;
    member *rank;
    replica *replica;
    bool broken, over; /* some rank is lost; all have been told the end */
};

osv_hub *osv_hub_open(int size, int tp, double timeout, const char (*host)[OSV_HOST], osv_hub_tell *tell,
                      void *context, double now)
{
    osv_hub *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    *h = (osv_hub){.size = size,
                   .tp = tp,
                   .replicas = size / tp,
                   .timeout = timeout,
                   .host = host,
                   .tell = tell,
                   .context = context,
                   .rank = calloc((size_t)size, sizeof *h->rank),
                   .replica = calloc((size_t)(size / tp), sizeof *h->replica)};
    if (h->rank && h->replica) {
        osv_hub_forgive(h, now);
        return h;
    }
    osv_hub_close(h);
    return NULL;
}

void osv_hub_close(osv_hub *h)
{
    if (!h) return;
    for (int r = 0; h->rank && r < h->size; r++) free(h->rank[r].data.data);
    free(h->rank);
    free(h->replica);
    free(h);
}

bool osv_hub_is_lost(const osv_hub *h, int rank)
{
    return h->rank[rank].standing == LOST;
}

void osv_hub_forgive(osv_hub *h, double now)
{
    for (int r = 0; r < h->size; r++) h->rank[r].heard = now;
}

/* ---- the end of a replica ---- */

/* Has it failed by itself? Then it has the last word. */
static bool failed(const member *m)
{
    return m->standing == LEAVING && m->status;
}

static void tell_lost(osv_hub *h, int k, const char *text)
{
    bool saves = true;
    for (int r = k * h->tp; r < (k + 1) * h->tp; r++) {
        const member *m = &h->rank[r];
        char body[sizeof(osv_last_words) + TEXT];
        if (m->standing == LOST || failed(m)) continue;
        const osv_last_words words = {.saves = saves, .speaks = saves && *text};
        memcpy(body, &words, sizeof words);
        snprintf(body + sizeof words, TEXT, "%s", text);
        h->tell(h->context, r, OSV_LOST, body, sizeof words + strlen(body + sizeof words));
        if (saves) h->replica[k].saver = r;
        saves = false;
    }
    h->replica[k].saved = saves; /* nobody is left to do it */
}

/* When it has saved what it had: others may go on with that. */
static void tell_service(osv_hub *h, int k)
{
    replica *p = &h->replica[k];
    if (p->state != OVER || p->told || !h->service.lost) return;
    p->told = true;
    h->service.lost(h->service.context, k);
}

/* text "": somebody else says it */
static void end_replica(osv_hub *h, int k, int status, const char *text, double now)
{
    replica *p = &h->replica[k];
    h->broken = true;
    if (p->state != LIVES || h->rank[k * h->tp].standing == LEFT) return;
    *p = (replica){.state = SAVES, .status = status, .since = now};
    tell_lost(h, k, text);
    /* Rank 0 keeps what the others ask for; without its replica it does not go on. */
    for (int other = 1; k == 0 && other < h->replicas; other++) end_replica(h, other, status, "", now);
}

static void agree(osv_hub *h, double now);

static void lose(osv_hub *h, int r, const char *why, double now)
{
    char text[TEXT];
    member *m = &h->rank[r];
    replica *p = &h->replica[r / h->tp];
    if (m->standing == LOST || m->standing == ENDED) return;
    bool left = m->standing == LEFT;
    snprintf(text, sizeof text, "rank %d (host %s) is lost: %s", r, h->host[r], why);
    m->standing = LOST;
    m->pending = 0;
    h->broken = true;
    bool next_saves = !left && p->state == SAVES && !p->saved && r == p->saver;
    if (next_saves) tell_lost(h, r / h->tp, "");
    if (!left) end_replica(h, r / h->tp, OSV_DEVICE, text, now);
    agree(h, now); /* which may have waited for this one alone */
}

void osv_hub_closed(osv_hub *h, int rank, int error, double now)
{
    char why[256];
    osv_link_why(why, sizeof why, error);
    lose(h, rank, why, now);
}

/* ---- what is said ---- */

static void reply(osv_hub *h, int r, const void *data, size_t bytes)
{
    h->rank[r].pending = 0;
    h->tell(h->context, r, OSV_REPLY, data, bytes);
}

/* "what" and "value" in one blob */
static const char *value_of(const member *m)
{
    return m->data.data + strlen(m->data.data) + 1;
}

/* Where the first word begins in which they differ. */
static size_t differ_at(const char *a, const char *b)
{
    size_t word = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == ' ') word = i + 1;
    return word;
}

static void describe(const osv_hub *h, char text[TEXT], int r)
{
    enum { SHOWN = 120 };
    const member *m = &h->rank[r], *first = &h->rank[0];
    const char *what = first->data.data, *is = value_of(m), *should = value_of(first);
    size_t at = differ_at(is, should);
    if (strcmp(m->data.data, what) == 0)
        snprintf(text, TEXT, "rank %d (host %s) has another %s than rank 0 (host %s): %.*s, not %.*s", r,
                 h->host[r], what, h->host[0], SHOWN, is[at] ? is + at : "nothing", SHOWN,
                 should[at] ? should + at : "nothing");
    else
        snprintf(text, TEXT, "rank %d (host %s) has come to its %s, but rank 0 (host %s) to its %s", r,
                 h->host[r], m->data.data, h->host[0], what);
}

/* Do all say what rank 0 says? `text`: who does not, and what. */
static void compare(const osv_hub *h, char text[TEXT])
{
    const member *first = &h->rank[0];
    *text = '\0';
    for (int r = 1; r < h->size && !*text; r++) {
        const member *m = &h->rank[r];
        bool same = m->pending != OSV_AGREE || (m->data.bytes == first->data.bytes &&
                                                memcmp(m->data.data, first->data.data, m->data.bytes) == 0);
        if (!same) describe(h, text, r);
    }
}

/* Rank 0 has failed before: nobody else has a value to go by. */
static void end_agreement(osv_hub *h, double now)
{
    for (int r = h->tp; r < h->size; r++)
        if (h->rank[r].pending == OSV_AGREE) end_replica(h, r / h->tp, h->rank[0].status, "", now);
}

/* Replies when those of all ranks are there; those that are lost or have left are not waited for. */
static void agree(osv_hub *h, double now)
{
    char text[TEXT];
    bool first = h->rank[0].pending == OSV_AGREE;
    if (!first && h->rank[0].standing == LEFT && h->rank[0].status) end_agreement(h, now);
    for (int r = 0; r < h->size; r++)
        if (h->rank[r].pending != OSV_AGREE && h->rank[r].standing == THERE) return;
    if (!first) return;
    compare(h, text);
    for (int r = 0; r < h->size; r++)
        if (h->rank[r].pending == OSV_AGREE) reply(h, r, text, strlen(text));
}

/* The same of the group of a rank. */
static void gather(osv_hub *h, int rank)
{
    osv_group g = h->rank[rank].group;
    osv_bytes together = {0};
    bool good = true;
    for (int i = 0; i < g.size; i++) {
        const member *m = &h->rank[osv_group_rank(g, rank, i)];
        if (m->pending != OSV_GATHER || m->group.size != g.size || m->group.stride != g.stride) return;
    }
    for (int i = 0; i < g.size; i++) {
        const osv_bytes *said = &h->rank[osv_group_rank(g, rank, i)].data;
        good = good && osv_bytes_add(&together, said->data, said->bytes);
    }
    for (int i = 0; i < g.size; i++)
        reply(h, osv_group_rank(g, rank, i), together.data, good ? together.bytes : 0);
    free(together.data);
}

static void answer(osv_hub *h, int r)
{
    char text[OSV_MESSAGE];
    const osv_bytes *asked = &h->rank[r].data;
    if (!h->service.answer) return; /* later: osv_hub_serve */
    reply(h, r, text, h->service.answer(h->service.context, r, asked->data, asked->bytes, text));
}

void osv_hub_serve(osv_hub *h, const osv_world_service *s)
{
    h->service = *s;
    for (int k = 0; k < h->replicas; k++) tell_service(h, k);
    for (int r = 0; r < h->size; r++)
        if (h->rank[r].pending == OSV_ASK) answer(h, r);
}

static bool is_group(const osv_hub *h, osv_group g)
{
    return g.size > 0 && g.stride > 0 && g.size <= h->size && g.stride <= h->size &&
           h->size % (g.size * g.stride) == 0;
}

/* Keeps what a rank wants to have a reply to. */
static bool hold(member *m, const osv_frame *f)
{
    m->data.bytes = 0;
    m->pending = f->kind;
    return osv_bytes_add(&m->data, f->data, f->bytes);
}

static void note_leave(osv_hub *h, int r, int status, double now)
{
    member *m = &h->rank[r];
    int k = r / h->tp, lowest = h->tp;
    m->status = status;
    m->standing = LEAVING;
    m->since = now;
    for (int i = h->tp - 1; i >= 0; i--) {
        if (h->rank[k * h->tp + i].standing != LEAVING) return;
        if (h->rank[k * h->tp + i].status) lowest = i;
    }
    const int words[2] = {true, lowest};
    for (int i = k * h->tp; i < (k + 1) * h->tp; i++) {
        h->rank[i].standing = LEFT;
        reply(h, i, words, sizeof words);
    }
    agree(h, now); /* which may have waited for these */
}

void osv_hub_receive(osv_hub *h, int rank, const osv_frame *f, double now)
{
    member *m = &h->rank[rank];
    int number;
    m->heard = now;
    switch (f->kind) {
    case OSV_BEAT:
        if (f->bytes == sizeof m->beat) memcpy(&m->beat, f->data, sizeof m->beat);
        break;
    case OSV_AGREE:
        if (hold(m, f)) agree(h, now);
        break;
    case OSV_GATHER: /* the group behind the blob */
        if (f->bytes < sizeof m->group || !hold(m, f)) break;
        m->data.bytes -= sizeof m->group;
        memcpy(&m->group, m->data.data + m->data.bytes, sizeof m->group);
        if (is_group(h, m->group)) gather(h, rank);
        break;
    case OSV_ASK:
        if (hold(m, f)) answer(h, rank);
        break;
    case OSV_LEAVE:
        if (f->bytes != sizeof number || m->standing != THERE) break;
        memcpy(&number, f->data, sizeof number);
        note_leave(h, rank, number, now);
        break;
    case OSV_SAVED: h->replica[rank / h->tp].saved = true; break;
    default: break;
    }
}

/* ---- looking ---- */

static void look_for_silence(osv_hub *h, double now)
{
    for (int r = 1; r < h->size; r++) {
        char why[128];
        if (now - h->rank[r].heard <= h->timeout) continue;
        snprintf(why, sizeof why, "nothing was heard of it for %g s", h->timeout);
        lose(h, r, why, now);
    }
}

/* Whom the others of a replica wait for: one who does not wait. */
static void look_for_waiting(osv_hub *h, int k, double now)
{
    int waiting = 0, idle = -1;
    char why[256];
    for (int r = (k + 1) * h->tp - 1; r >= k * h->tp; r--) {
        const osv_beat *b = &h->rank[r].beat;
        if (h->rank[r].standing != THERE || b->outside) return;
        waiting += b->waiting > h->timeout;
        if (b->waiting <= 0) idle = r;
    }
    if (waiting == 0) return;
    snprintf(why, sizeof why, "the others have waited for it for %g s", h->timeout);
    if (idle >= 0) lose(h, idle, why, now);
    if (idle >= 0 || waiting < h->tp) return;
    snprintf(why, sizeof why,
             "ranks %d to %d have waited for each other for %g s: a connection between them is broken",
             k * h->tp, (k + 1) * h->tp - 1, h->timeout);
    end_replica(h, k, OSV_DEVICE, why, now);
}

/* Those that failed while the others go on. */
static void look_for_failures(osv_hub *h, int k, double now)
{
    for (int r = k * h->tp; r < (k + 1) * h->tp; r++)
        if (failed(&h->rank[r]) && now - h->rank[r].since > GRACE) {
            end_replica(h, k, h->rank[r].status, "", now);
            return;
        }
}

static void end_rank(osv_hub *h, int r)
{
    static const int alone[2] = {false, 0};
    member *m = &h->rank[r];
    const int words[2] = {h->replica[r / h->tp].status, true};
    if (m->standing == LOST || m->standing == ENDED) return;
    if (failed(m))
        reply(h, r, alone, sizeof alone);
    else
        h->tell(h->context, r, OSV_END, words, sizeof words);
    m->standing = ENDED;
}

/* Where the checkpoint of a replica is written its ranks may end; rank 0 is the last one. */
static void look_at_end(osv_hub *h, int k, double now)
{
    replica *p = &h->replica[k];
    if (p->state != SAVES || (!p->saved && now - p->since < SAVING)) return;
    for (int r = (k + 1) * h->tp - 1; r >= k * h->tp && r > 0; r--) end_rank(h, r);
    for (int other = 1; k == 0 && other < h->replicas; other++)
        if (h->replica[other].state == SAVES) return;
    p->state = OVER;
    tell_service(h, k);
    if (k == 0) end_rank(h, 0);
}

/* All have left, or are gone. */
static void look_for_all(osv_hub *h)
{
    for (int r = 0; r < h->size; r++)
        if (h->rank[r].standing == THERE || h->rank[r].standing == LEAVING) return;
    const int words[2] = {OSV_OK, h->broken};
    for (int r = h->size - 1; r >= 0; r--) {
        if (h->rank[r].standing != LEFT) continue;
        h->tell(h->context, r, OSV_END, words, sizeof words);
        h->rank[r].standing = ENDED;
    }
}

void osv_hub_look(osv_hub *h, double now)
{
    look_for_silence(h, now);
    for (int k = h->replicas - 1; k >= 0; k--) {
        if (h->replica[k].state == LIVES) look_for_waiting(h, k, now);
        if (h->replica[k].state == LIVES) look_for_failures(h, k, now);
        look_at_end(h, k, now);
    }
    look_for_all(h);
}
