/* All ranks of a launch, known to each other over TCP: a star around rank 0. Consecutive ranks that share a
 * model are a replica. Each process has one thread that watches: it hears from rank 0, and rank 0 from all,
 * several times within `timeout`. A rank that has ended without a word, is not heard of, fails alone or keeps
 * the others waiting is lost, and with it its replica; with rank 0 all replicas are. Small messages go the
 * same way: what ranks agree on, and what they ask rank 0.
 *
 * One rank has no world: NULL, which everything here takes and finds nothing to do for. */
#ifndef OSV_KERNELS_WORLD_H
#define OSV_KERNELS_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/launch.h"

enum { OSV_RANKS = 1024 /* of a replica, at most */, OSV_EXCHANGE = 1024, OSV_MESSAGE = 4096 /* bytes */ };

typedef struct osv_world osv_world;

/* Ranks that do something together: `size` of them that lie `stride` apart. All ranks are in such groups. */
typedef struct {
    int size, stride;
} osv_group;
/* Place of a rank in its group. */
static inline int osv_group_place(osv_group g, int rank)
{
    return rank / g.stride % g.size;
}
/* The rank at a place of this rank's group. */
static inline int osv_group_rank(osv_group g, int rank, int place)
{
    return rank + (place - osv_group_place(g, rank)) * g.stride;
}

/* Whom the watching thread tells, on that thread, while the main thread may wait for the lost rank. */
typedef struct {
    void *context;
    /* This rank is the lowest one that its replica has left, and saves what can be saved, while the others
     * wait for it. `text`: "rank 3 (host b) is lost: ..."; NULL: another rank says it. wait > 0: rank 0 is
     * the one that is lost, and nobody can say who is the lowest; another rank saves first, if it is still
     * there, and after so many seconds it can be seen whether it has. */
    void (*lost)(void *context, const char *text, double wait);
    /* There is nobody to go on with. Has to end the process (_exit). */
    void (*end)(void *context, int status);
} osv_world_observer;

typedef struct {
    osv_launch launch; /* of several ranks */
    int tp;            /* ranks of a replica; divides launch.size */
    double timeout;    /* seconds; also of the meeting */
    osv_world_observer observer;
} osv_world_settings;

struct osv_world {
    int rank, size;
    int tp;      /* ranks of a replica */
    int replica; /* this one's, rank / tp */
    osv_launch launch;
    double timeout; /* seconds */
    bool local;     /* all are on this host: they met at its loopback address */
    struct osv_world_state *state;
};

/* The ranks of a replica. */
static inline osv_group osv_world_replica(const osv_world *w)
{
    return (osv_group){w->tp, 1};
}

/* Meets the others: where rank 0 listens is told by the environment (kernels/world/place.c). A port that is
 * taken, ranks that were started as one of another number, and a rank that does not come are OSV_DEVICE.
 * *told: another rank says it. */
int osv_world_open(osv_world **w, const osv_world_settings *s, bool *told, osv_error *e);
/* After osv_world_leave. Waits until all others have left too, or are lost; rank 0 answers them until then.
 * True: all have left. Else what waits for all of them, as the end of MPI does, is not to be waited for. */
bool osv_world_close(osv_world *w);

/* ---- agreement ---- */

/* All ranks of the launch call it with the same `what`, a few words: "the build". The first one that has
 * another value than rank 0 is named to all of them, OSV_DEVICE. */
int osv_world_agree(osv_world *w, const char *what, const char *value, osv_error *e);
/* What each rank of a group has to say, to all of these: out [size, bytes], bytes <= OSV_EXCHANGE. */
int osv_world_gather(osv_world *w, osv_group g, void *out, const void *x, size_t bytes, osv_error *e);

/* ---- asking rank 0 ---- */

/* What rank 0 answers, one call at a time, on any of its threads. Neither may call what is declared here. */
typedef struct {
    void *context;
    /* Writes an answer of at most OSV_MESSAGE bytes, and returns how many. */
    size_t (*answer)(void *context, int rank, const void *request, size_t bytes, void *answer);
    /* A replica is no more; what it could save is saved. */
    void (*lost)(void *context, int replica);
} osv_world_service;

/* On rank 0. Those that have asked already have waited, and are answered now; of replicas that are lost
 * already it hears now, too. Until osv_world_close, or another service: one of NULLs lets who asks wait. */
void osv_world_serve(osv_world *w, const osv_world_service *s);
/* Waits for the answer, which has *got of `room` bytes. Rank 0 may ask itself. */
int osv_world_ask(osv_world *w, const void *request, size_t bytes, void *answer, size_t room, size_t *got,
                  osv_error *e);

/* ---- the end ---- */

/* Around what waits for other ranks of the replica, which come to the same point. Who keeps them waiting for
 * longer than the timeout, and itself waits for nothing, is lost. */
void osv_world_waits(osv_world *w, bool waits);
/* Around what waits for files, or for whoever reads what is printed: then others may have to wait for long.
 */
void osv_world_outside(osv_world *w, bool outside);

/* The last word of a rank to its replica, whatever became of it. True: all of them have left, *lowest is the
 * lowest one of the replica whose status is a failure, `tp` where there is none. False: this one failed while
 * the others go on: it has the message, they have saved what they had and end with the same status. */
bool osv_world_leave(osv_world *w, int status, int *lowest);

#endif
