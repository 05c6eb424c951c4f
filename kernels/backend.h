/* The fillings by name. */
#ifndef OSV_KERNELS_BACKEND_H
#define OSV_KERNELS_BACKEND_H

#include "kernels/comm.h"

enum { OSV_DTYPE_AUTO = OSV_DTYPE_BF16 + 1 };

/* Where and how it is computed, as a user says it. */
typedef struct {
    const char *backend; /* "auto" (cuda where there is a GPU, else cpu), "cpu", "ref", "cuda" */
    int dtype;           /* osv_dtype; OSV_DTYPE_AUTO: bf16 on cuda, f32 elsewhere */
    int threads;         /* of cpu; <= 0: one a processor */
    int device;          /* of cuda, counted from 0; < 0: the first, or on each rank of a host another one */
    int tp;              /* ranks that share a model; 0: all that were launched */
    bool share;          /* replicas divide the completions of each job among them */
    int comm;            /* osv_comm_choice */
    double timeout;      /* seconds without a word from a rank, after which it is lost */
    osv_launch launch;
    osv_world *world; /* of several ranks that were launched; borrowed */
} osv_machine;

/* How ranks talk to each other. Auto: NCCL between GPUs, where this build has it; else MPI, where it has that
 * and the launcher can start it; else TCP. */
typedef enum { OSV_COMM_AUTO, OSV_COMM_MPI, OSV_COMM_NCCL, OSV_COMM_TCP } osv_comm_choice;

/* An unknown name, and a device for a filling that has none, are OSV_USAGE; what this build or machine lacks
 * is OSV_DEVICE. `error` becomes the ops' sticky error. */
int osv_backend_open(osv_ops **o, const osv_machine *machine, osv_error *error);

/* The communicator of the ranks that share a model with this one, its replica in the world; `self` where it
 * is alone. */
int osv_backend_comm(osv_comm **c, osv_ops *o, const osv_machine *machine);
/* With machine->share: that of the ranks that have the same place in their replicas; else, and where there is
 * one replica, `self`. */
int osv_backend_sharers(osv_comm **c, osv_ops *o, const osv_machine *machine);

/* What a filling takes of the memory that it computes in, known without opening it: for plans. */
typedef struct {
    const char *backend; /* which one it would be */
    osv_dtype dtype;
    size_t fixed;   /* bytes it allocates whatever the model: scratch, workspaces */
    size_t runtime; /* bytes that the libraries under it take for themselves, about */
} osv_footprint;
int osv_backend_footprint(osv_footprint *f, const osv_machine *machine, osv_error *error);
/* Bytes of a weight as `place` leaves it: in the mapped file, or a copy. */
size_t osv_footprint_weight(const osv_footprint *f, const osv_weight *w);

/* GPUs that cuda can use here; 0 in a build without it. */
int osv_backend_gpus(void);

/* For --version: what the fillings stand on, a line each. */
const char *osv_backend_blas(void);
const char *osv_backend_cuda(void);
const char *osv_backend_mpi(void);
const char *osv_backend_nccl(void);

#endif
