/* How ranks find each other when they start: rank 0 listens, the others come and say who they are. */
#ifndef OSV_KERNELS_WORLD_MEET_H
#define OSV_KERNELS_WORLD_MEET_H

#include "kernels/world.h"
#include "kernels/world/link.h"

enum { OSV_HOST = 64 };

/* What frames are. From a rank to rank 0, but for those marked with <-. */
enum {
    OSV_HELLO,   /* who it is */
    OSV_HEARD,   /* <- this is the right place */
    OSV_WELCOME, /* <- all are here; rank 0's host */
    OSV_REFUSE,  /* <- and why */
    OSV_BEAT,    /* osv_beat; <- nothing */
    OSV_AGREE,   /* what, and value: replied to when those of all are here */
    OSV_GATHER,  /* a blob, and osv_group: replied to when those of the group are here */
    OSV_ASK,     /* a request */
    OSV_LEAVE,   /* int status */
    OSV_REPLY,   /* <- to these four */
    OSV_LOST,    /* <- osv_last_words, and a text */
    OSV_SAVED,   /* what there was to be saved is saved */
    OSV_END,     /* <- int status, int whether ranks were lost */
};

typedef struct {
    double waiting; /* seconds for the other ranks of its replica; 0: it does not */
    int outside;    /* it waits for files, or for whoever reads what it prints */
} osv_beat;

typedef struct {
    int saves, speaks; /* the rank that gets this */
} osv_last_words;

/* link [size] on rank 0, without its own; on the others link[0], to rank 0. host [size], or rank 0's in
 * host[0]. *local: at a loopback address. */
int osv_meet(osv_link *link, char (*host)[OSV_HOST], const osv_world_settings *s, bool *local, bool *told,
             osv_error *e);

void osv_meet_own_host(char host[OSV_HOST]);

#endif
