/* Who started this process, and as which of how many: read from what launchers put into the environment.
 *
 *     --tp       OSV_RANK, OSV_RANKS: this program's own start (tools/ranks_start.c)
 *     mpirun     OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
 *     torchrun   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, TORCHELASTIC_RUN_ID
 *     srun       SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, SLURM_NODEID, SLURM_STEP_TASKS_PER_NODE
 *     somebody   torchrun's, but for the last one
 *
 * in this order: Slurm's variables are also there, and wrong, for what mpirun or torchrun start in a job.
 * SLURM_NTASKS says nothing: it is set where no step was started, and a program run plainly in a batch script
 * would wait for ranks that do not exist. */
#ifndef OSV_KERNELS_LAUNCH_H
#define OSV_KERNELS_LAUNCH_H

#include <stdbool.h>

#include "kernels/error.h"

typedef struct {
    const char *by; /* "--tp", "mpirun", "srun", "torchrun", "RANK"; NULL: nobody, this process is alone */
    int rank, size;
    int local_rank, local_size; /* on this host; local_size 0: the launcher does not say */
    bool mpi;                   /* its ranks can start MPI */
} osv_launch;

/* `get` is getenv, or a test's. Variables that contradict each other are OSV_USAGE. */
int osv_launch_find(osv_launch *l, char *(*get)(const char *name), osv_error *e);

#endif
