/* What launchers put into the environment, and what is made of it (kernels/launch.h). The rows were read from
 * Open MPI 4.1, Slurm 22 and torchrun. */
#include "kernels/launch.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "tests/files.h"

enum { MOST = 12 };

static const char *const *environment; /* name, value, name, value, ..., NULL */

static char *get(const char *name)
{
    for (const char *const *at = environment; *at; at += 2)
        if (strcmp(at[0], name) == 0) return (char *)(uintptr_t)at[1];
    return NULL;
}

#define OMPI(rank, size)                                                                            \
    "OMPI_COMM_WORLD_RANK", rank, "OMPI_COMM_WORLD_SIZE", size, "OMPI_COMM_WORLD_LOCAL_RANK", rank, \
        "OMPI_COMM_WORLD_LOCAL_SIZE", size, "PMIX_RANK", rank

static const struct {
    const char *what;
    const char *environment[2 * MOST];
    osv_launch want;
} rows[] = {
    {"a shell", {"HOME", "/root"}, {NULL, 0, 1, 0, 0, false}},
    {"mpirun", {OMPI("1", "4")}, {"mpirun", 1, 4, 1, 4, true}},
    {"--tp",
     {"OSV_RANK", "1", "OSV_RANKS", "2", "RANK", "0", "WORLD_SIZE", "1", "LOCAL_RANK", "0"},
     {"--tp", 1, 2, 1, 2, false}},
    {"srun, 2 tasks on two nodes",
     {"SLURM_PROCID", "1", "SLURM_NTASKS", "2", "SLURM_STEP_NUM_TASKS", "2", "SLURM_LOCALID", "0",
      "PMIX_RANK", "1"},
     {"srun", 1, 2, 0, 0, true}},
    {"srun --mpi=none",
     {"SLURM_PROCID", "1", "SLURM_STEP_NUM_TASKS", "2", "SLURM_LOCALID", "1"},
     {"srun", 1, 2, 1, 0, false}},
    {"srun, 7 tasks on four nodes, the second one",
     {"SLURM_PROCID", "2", "SLURM_STEP_NUM_TASKS", "7", "SLURM_LOCALID", "0", "SLURM_NODEID", "1",
      "SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
     {"srun", 2, 7, 0, 2, false}},
    {"srun, 7 tasks on four nodes, the last one",
     {"SLURM_PROCID", "6", "SLURM_STEP_NUM_TASKS", "7", "SLURM_LOCALID", "0", "SLURM_NODEID", "3",
      "SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
     {"srun", 6, 7, 0, 1, false}},
    {"srun, a node that is not there",
     {"SLURM_PROCID", "0", "SLURM_STEP_NUM_TASKS", "2", "SLURM_LOCALID", "0", "SLURM_NODEID", "5",
      "SLURM_STEP_TASKS_PER_NODE", "1(x2)"},
     {"srun", 0, 2, 0, 0, false}},
    {"a plain program in a batch script",
     {"SLURM_PROCID", "0", "SLURM_NTASKS", "2"},
     {NULL, 0, 1, 0, 0, false}},
    {"a shell of salloc", {"SLURM_NTASKS", "2"}, {NULL, 0, 1, 0, 0, false}},
    {"mpirun -n 2 in a batch script",
     {OMPI("1", "2"), "SLURM_PROCID", "0", "SLURM_NTASKS", "1", "SLURM_STEP_NUM_TASKS", "1"},
     {"mpirun", 1, 2, 1, 2, true}},
    {"torchrun",
     {"RANK", "5", "WORLD_SIZE", "8", "LOCAL_RANK", "1", "LOCAL_WORLD_SIZE", "4", "MASTER_ADDR", "a",
      "MASTER_PORT", "29500", "TORCHELASTIC_RUN_ID", "none"},
     {"torchrun", 5, 8, 1, 4, false}},
    {"torchrun that srun has started on each node",
     {"RANK", "5", "WORLD_SIZE", "8", "LOCAL_RANK", "1", "LOCAL_WORLD_SIZE", "4", "TORCHELASTIC_RUN_ID",
      "none", "SLURM_PROCID", "1", "SLURM_STEP_NUM_TASKS", "2"},
     {"torchrun", 5, 8, 1, 4, false}},
    {"torchrun's variables, by hand",
     {"RANK", "1", "WORLD_SIZE", "2", "LOCAL_RANK", "1"},
     {"RANK", 1, 2, 1, 0, false}},
    {"somebody's RANK and WORLD_SIZE", {"RANK", "5", "WORLD_SIZE", "8"}, {NULL, 0, 1, 0, 0, false}},
};

Test(launch, what_launchers_set)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        osv_error e = {0};
        osv_launch l, want = rows[i].want;
        environment = rows[i].environment;
        cr_expect_eq(osv_launch_find(&l, get, &e), OSV_OK, "%s: %s", rows[i].what, e.text);
        cr_expect((!l.by && !want.by) || (l.by && want.by && strcmp(l.by, want.by) == 0), "%s: by %s",
                  rows[i].what, l.by ? l.by : "nobody");
        cr_expect(l.rank == want.rank && l.size == want.size, "%s: rank %d of %d", rows[i].what, l.rank,
                  l.size);
        cr_expect(l.local_rank == want.local_rank && l.local_size == want.local_size, "%s: local %d of %d",
                  rows[i].what, l.local_rank, l.local_size);
        cr_expect_eq(l.mpi, want.mpi, "%s: MPI", rows[i].what);
    }
}

static const struct {
    const char *environment[2 * MOST];
    const char *piece;
} broken[] = {
    {{OMPI("4", "4")}, "OMPI_COMM_WORLD_RANK=4 and OMPI_COMM_WORLD_SIZE=4"},
    {{OMPI("", "4")}, "OMPI_COMM_WORLD_RANK= "},
    {{OMPI("0", "4x")}, "OMPI_COMM_WORLD_SIZE=4x"},
    {{"SLURM_PROCID", "-1", "SLURM_STEP_NUM_TASKS", "2"}, "SLURM_PROCID=-1"},
};

Test(launch, contradictions)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        osv_error e = {0};
        osv_launch l;
        environment = broken[i].environment;
        check_failure(broken[i].piece, osv_launch_find(&l, get, &e), &e, OSV_USAGE, broken[i].piece);
    }
}
