/* Rank 0's part of a world: who is there, who is lost, what they have said. Knows nothing of sockets and
 * clocks: frames come in by osv_hub_receive, and go out by `tell`. */
#ifndef OSV_KERNELS_WORLD_HUB_H
#define OSV_KERNELS_WORLD_HUB_H

#include "kernels/world/meet.h"

typedef struct osv_hub osv_hub;

/* A frame to a rank. */
typedef void osv_hub_tell(void *context, int rank, uint32_t kind, const void *data, size_t bytes);

/* host [size] is borrowed. NULL: no memory. */
osv_hub *osv_hub_open(int size, int tp, double timeout, const char (*host)[OSV_HOST], osv_hub_tell *tell,
                      void *context, double now);
void osv_hub_close(osv_hub *h);

void osv_hub_receive(osv_hub *h, int rank, const osv_frame *f, double now);
/* The connection to a rank has closed; error: errno of what broke it, 0: the rank closed it. */
void osv_hub_closed(osv_hub *h, int rank, int error, double now);
/* Several times within the timeout. */
void osv_hub_look(osv_hub *h, double now);
/* This process has been stopped for a while: that nobody was heard says nothing. */
void osv_hub_forgive(osv_hub *h, double now);
void osv_hub_serve(osv_hub *h, const osv_world_service *s);
bool osv_hub_is_lost(const osv_hub *h, int rank);

#endif
