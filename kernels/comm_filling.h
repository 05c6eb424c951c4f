/* The communicators between ranks as the others see them: libraries of their own beside libosv, loaded when
 * there are ranks, so that a program that runs alone neither needs nor starts MPI. Defined by mpi_loaded.c or
 * mpi_absent.c, and by nccl_loaded.c or nccl_absent.c. */
#ifndef OSV_KERNELS_COMM_FILLING_H
#define OSV_KERNELS_COMM_FILLING_H

#include "kernels/comm.h"

/* Has this build MPI? */
bool osv_mpi_filling_there(void);
/* As osv_mpi_open and osv_mpi_tell. */
int osv_mpi_filling_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g);
int osv_mpi_filling_tell(void *x, size_t bytes, const osv_launch *launch, osv_error *error);
/* For --version. */
const char *osv_mpi_filling_text(void);

/* False where anything is missing. */
bool osv_nccl_filling_there(void);
const char *osv_nccl_filling_text(void);
/* As osv_nccl_id and osv_nccl_open. */
int osv_nccl_filling_id(unsigned char id[OSV_NCCL_ID], osv_error *error);
int osv_nccl_filling_open(osv_comm **c, osv_ops *o, const unsigned char id[OSV_NCCL_ID], osv_comm *host);

#endif
