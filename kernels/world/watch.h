/* The thread that watches, and what the main thread has to do with it. */
#ifndef OSV_KERNELS_WORLD_WATCH_H
#define OSV_KERNELS_WORLD_WATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "kernels/world/hub.h"

struct osv_world_state {
    osv_world world;
    osv_world_settings settings;
    osv_link *link;         /* to the others; on these to rank 0 alone */
    char (*host)[OSV_HOST]; /* of all; on the others rank 0's alone */
    osv_hub *hub;           /* rank 0 */
    int links;              /* rank 0's own is closed */
    int wake[2];            /* a pipe */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below, and of links and hub */
    pthread_cond_t changed;
    bool replied; /* what the main thread waits for is there: */
    osv_bytes reply;
    bool lost; /* a rank of this replica is: text */
    osv_last_words words;
    char text[1024];
    bool ended, broken; /* told to end; with end_status, and whether ranks were lost */
    int end_status;
    bool leaves, left;      /* this rank has said its last word; and been answered */
    _Atomic double waiting; /* since when; 0: not */
    _Atomic int outside;
};
typedef struct osv_world_state osv_watch;

/* The thread starts; link, host and wake are there. */
int osv_watch_start(osv_watch *w, osv_error *e);
/* Says something to rank 0, and waits for the reply, which stays until the next call. */
const osv_bytes *osv_watch_call(osv_watch *w, uint32_t kind, const void *data, size_t bytes);
/* Until all have left. */
void osv_watch_end(osv_watch *w);

#endif
