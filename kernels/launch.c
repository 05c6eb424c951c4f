#include "kernels/launch.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *by, *rank, *size, *local_rank, *local_size;
    const char *also;         /* has to be there as well */
    const char *mpi;          /* where this is there, MPI can be started */
    const char *node, *tasks; /* instead of local_size: number of the host, and tasks of all of them */
} launchers[] = {
    {"--tp", "OSV_RANK", "OSV_RANKS", "OSV_RANK", "OSV_RANKS", NULL, NULL, NULL, NULL},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", NULL, "OMPI_COMM_WORLD_RANK", NULL, NULL},
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", NULL, NULL,
     NULL},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", NULL, NULL, "PMIX_RANK", "SLURM_NODEID",
     "SLURM_STEP_TASKS_PER_NODE"},
    {"RANK", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", NULL, NULL, NULL},
};

/* `other` where the variable is not set. */
static int read_number(int *x, char *(*get)(const char *name), const char *name, int other, osv_error *e)
{
    const char *text = name ? get(name) : NULL;
    char *end;
    *x = other;
    if (!text) return OSV_OK;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > 1 << 24)
        return OSV_FAIL(e, OSV_USAGE, "%s=%s in the environment is no number of ranks", name, text);
    *x = (int)value;
    return OSV_OK;
}

/* Slurm's "2(x3),1": two tasks on each of three nodes, one on the next. Of the node with this number; 0: it
 * does not say. */
static int read_tasks(const char *text, int node)
{
    while (text && *text) {
        char *end;
        long tasks = strtol(text, &end, 10), nodes = 1;
        if (end == text || tasks < 1 || tasks > 1 << 24) return 0;
        if (strncmp(end, "(x", 2) == 0) nodes = strtol(end + 2, &end, 10);
        if (node < nodes) return (int)tasks;
        node -= (int)nodes;
        text = strchr(end, ',');
        if (text) text++;
    }
    return 0;
}

int osv_launch_find(osv_launch *l, char *(*get)(const char *name), osv_error *e)
{
    int node;
    *l = (osv_launch){.size = 1};
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const char *rank = launchers[i].rank, *size = launchers[i].size;
        const char *also = launchers[i].also, *mpi = launchers[i].mpi;
        if (!get(rank) || !get(size) || (also && !get(also))) continue;
        l->mpi = mpi && get(mpi);
        l->by = launchers[i].by;
        OSV_TRY(read_number(&l->rank, get, rank, 0, e));
        OSV_TRY(read_number(&l->size, get, size, 1, e));
        OSV_TRY(read_number(&l->local_rank, get, launchers[i].local_rank, 0, e));
        OSV_TRY(read_number(&l->local_size, get, launchers[i].local_size, 0, e));
        OSV_TRY(read_number(&node, get, launchers[i].node, -1, e));
        if (node >= 0) l->local_size = read_tasks(get(launchers[i].tasks), node);
        if (l->rank < l->size) return OSV_OK;
        return OSV_FAIL(e, OSV_USAGE, "%s=%d and %s=%d in the environment: there is no such rank", rank,
                        l->rank, size, l->size);
    }
    return OSV_OK;
}
