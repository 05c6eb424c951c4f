/* Sockets that listen and connect, by the names of hosts. */
#ifndef OSV_KERNELS_WORLD_SOCKET_H
#define OSV_KERNELS_WORLD_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/error.h"

/* This host's addresses, with commas between: those of the network, or, where there is none, loopback. */
void osv_socket_addresses(char *text, size_t room);

/* Listens at all addresses of this host, or, where `host` is loopback, at that alone. *port 0: it becomes one
 * that is free. */
int osv_socket_listen(int *fd, const char *host, int *port, osv_error *e);

/* Is this a name or an address of loopback? */
bool osv_socket_is_loopback(const char *host);

/* -1: nobody there within `seconds`. */
int osv_socket_connect(const char *host, int port, double seconds);

#endif
