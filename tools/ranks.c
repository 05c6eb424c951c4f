#include "tools/ranks.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/program.h"

/* mpirun sends SIGTERM to the ranks when it is interrupted, and SIGKILL so many seconds later: time to save.
 */
static const char seconds_to_save[] = "600";

/* Processors that each of `ranks` processes here can have for itself. */
static int fair_share(int ranks)
{
    cpu_set_t set;
    int all = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return all > ranks ? all / ranks : 1;
}

static int start_ranks(const osv_machine *m, char **argv, osv_error *e)
{
    char self[4096], ranks[16], threads[16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return OSV_FAIL(e, OSV_DEVICE, "/proc/self/exe: %s", strerror(errno));
    self[length] = '\0';
    snprintf(ranks, sizeof ranks, "%d", m->tp);
    snprintf(threads, sizeof threads, "%d", fair_share(m->tp));
    const char *head[] = {"mpirun",
                          "--quiet",
                          "--oversubscribe",
                          "--bind-to",
                          "none",
                          "--mca",
                          "odls_base_sigkill_timeout",
                          seconds_to_save,
                          "-n",
                          ranks,
                          self};
    size_t heads = sizeof head / sizeof *head, n = 0;
    while (argv[n]) n++;
    char **command = calloc(heads + n + 3, sizeof *command);
    if (!command) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    memcpy(command, head, sizeof head);
    memcpy(command + heads, argv + 1, (n - 1) * sizeof *argv);
    if (m->threads <= 0) {
        command[heads + n - 1] = "--threads";
        command[heads + n] = threads;
    }
    if (geteuid() == 0) { /* whoever is root here has asked for it */
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
    execvp(command[0], command);
    free(command);
    return OSV_FAIL(e, OSV_USAGE,
                    "--tp %d: nobody has started %d ranks, and mpirun, which could, is not to be had (%s); "
                    "install it (openmpi-bin on Debian), or start this with srun -n %d",
                    m->tp, m->tp, strerror(errno), m->tp);
}

int ranks_find(osv_machine *m, char **argv, bool *quiet, osv_error *e)
{
    OSV_TRY(osv_launch_find(&m->launch, getenv, e));
    if (!m->launch.by && m->tp > 1) return start_ranks(m, argv, e);
    if (m->launch.rank == 0) return OSV_OK;
    *quiet = true;
    return freopen("/dev/null", "w", stdout) ? OSV_OK
                                             : OSV_FAIL(e, OSV_DEVICE, "/dev/null: %s", strerror(errno));
}

int ranks_leave(osv_comm *c, const osv_machine *m, const char *program, int status, const osv_error *e)
{
    int lowest, rank = m->launch.rank;
    if (rank > 0) osv_program_speak_for(rank);
    if (!c) { /* what is wrong with the command line is wrong with everybody's */
        if (rank > 0 && status == OSV_USAGE) osv_program_mute();
        return status;
    }
    if (c->leave(c, status, &lowest)) {
        if (lowest < rank) osv_program_mute();
        return status;
    }
    if (e->status) osv_program_fail(program, e);
    c->abort(c, status);
    return status;
}
