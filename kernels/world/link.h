/* A TCP connection that carries frames: a kind, and some bytes. Nothing here waits: what cannot be sent yet
 * is kept, what has not come whole is not there yet. */
#ifndef OSV_KERNELS_WORLD_LINK_H
#define OSV_KERNELS_WORLD_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OSV_FRAME_MOST = 4 << 20 /* bytes; more is no frame of ours */ };

typedef struct {
    char *data;
    size_t bytes, room;
} osv_bytes;

typedef struct {
    int fd;       /* -1: closed */
    bool ended;   /* which nobody has asked about yet: osv_link_ended */
    int error;    /* errno of what broke it; 0: the other side closed it */
    double heard; /* osv_host_seconds of the last bytes */
    osv_bytes in; /* the first `used` have been handed out */
    size_t used;
    osv_bytes out; /* not sent yet */
} osv_link;

typedef struct {
    uint32_t kind;
    size_t bytes;
    const void *data; /* until the next call */
} osv_frame;

void osv_link_open(osv_link *l, int fd);
void osv_link_close(osv_link *l);
/* Has it closed, by itself? True once. */
bool osv_link_ended(osv_link *l);
/* What has become of the other side, by the errno: a reset comes from its system, which is still there. */
void osv_link_why(char *text, size_t room, int error);
/* One frame of two parts, of which the second may be empty. False here and below: the link has closed. */
bool osv_link_send(osv_link *l, uint32_t kind, const void *a, size_t a_bytes, const void *b, size_t b_bytes);
bool osv_link_flush(osv_link *l);
/* Takes what has come. Frames that came before the end are still there. */
bool osv_link_receive(osv_link *l);
/* The next whole frame; false: none. */
bool osv_link_next(osv_link *l, osv_frame *f);

/* Appends; false: no memory. */
bool osv_bytes_add(osv_bytes *b, const void *data, size_t bytes);

#endif
