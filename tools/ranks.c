#include "tools/ranks.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/program.h"

/* Processors that this process may run on, which a container or taskset can make fewer than there are. */
static int processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

int ranks_threads(const osv_launch *l)
{
    int own = processors();
    bool bound = own < sysconf(_SC_NPROCESSORS_ONLN);
    int ranks = bound || l->local_size < 1 ? 1 : l->local_size;
    return own > ranks ? own / ranks : 1;
}

static bool is_in_path(const char *program)
{
    const char *path = getenv("PATH");
    char file[4096];
    for (size_t length; path && *path; path += length + (path[length] == ':')) {
        length = strcspn(path, ":");
        if (length == 0) continue;
        snprintf(file, sizeof file, "%.*s/%s", (int)length, path, program);
        if (access(file, X_OK) == 0) return true;
    }
    return false;
}

/* ---- starting them ---- */

static pid_t mpirun;

/* A signal that ends is handed on as one that mpirun hands on in its turn. */
static void hand_on(int number)
{
    kill(mpirun, number == SIGINT ? SIGUSR1 : SIGUSR2);
}

/* mpirun's command line, in one allocation. */
static char **make_command(const osv_machine *m, char **argv, char *self, char *ranks, char *threads)
{
    static char *const head[] = {"mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "-n"};
    size_t n = 0, at = sizeof head / sizeof *head;
    while (argv[n]) n++;
    char **command = calloc(at + n + 5, sizeof *command);
    if (!command) return NULL;
    memcpy(command, head, sizeof head);
    command[at++] = ranks;
    command[at++] = self;
    memcpy(command + at, argv + 1, (n - 1) * sizeof *argv);
    if (m->threads > 0) return command;
    command[at + n - 1] = "--threads";
    command[at + n] = threads;
    return command;
}

/* In the child: mpirun gets no signal from the terminal, and ends with its parent. */
static void become_mpirun(char **command)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (geteuid() == 0) { /* whoever is root here has asked for it */
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
    execvp(command[0], command);
    fprintf(stderr, "mpirun: %s\n", strerror(errno));
    _exit(OSV_DEVICE);
}

static int wait_for_ranks(void)
{
    int status;
    struct sigaction action = {.sa_handler = hand_on, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (waitpid(mpirun, &status, 0) < 0) return OSV_DEVICE;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int start_ranks(const osv_machine *m, char **argv, osv_error *e)
{
    char self[4096], ranks[16], threads[16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return OSV_FAIL(e, OSV_DEVICE, "/proc/self/exe: %s", strerror(errno));
    self[length] = '\0';
    snprintf(ranks, sizeof ranks, "%d", m->tp);
    snprintf(threads, sizeof threads, "%d", processors() > m->tp ? processors() / m->tp : 1);
    if (!is_in_path("mpirun"))
        return OSV_FAIL(
            e, OSV_USAGE,
            "--tp %d: nobody has started %d ranks, and there is no mpirun here that could; install "
            "it (openmpi-bin on Debian), or start this with srun -n %d",
            m->tp, m->tp, m->tp);
    char **command = make_command(m, argv, self, ranks, threads);
    mpirun = command ? fork() : -1;
    if (mpirun == 0) become_mpirun(command);
    free(command);
    if (mpirun < 0)
        return OSV_FAIL(e, OSV_DEVICE, "--tp %d: cannot start mpirun: %s", m->tp, strerror(errno));
    exit(wait_for_ranks());
}

int ranks_find(osv_machine *m, char **argv, bool *quiet, osv_error *e)
{
    OSV_TRY(osv_launch_find(&m->launch, getenv, e));
    /* A shell that srun has started is one rank as well; but mpirun does not go into itself. */
    bool by_mpirun = m->launch.by && strcmp(m->launch.by, "mpirun") == 0;
    if (m->launch.size == 1 && m->tp > 1 && !by_mpirun) return start_ranks(m, argv, e);
    if (m->launch.rank == 0) return OSV_OK;
    *quiet = true;
    return freopen("/dev/null", "w", stdout) ? OSV_OK
                                             : OSV_FAIL(e, OSV_DEVICE, "/dev/null: %s", strerror(errno));
}

int ranks_leave(osv_comm *c, const osv_machine *m, const char *program, int status, const osv_error *e)
{
    int lowest, rank = m->launch.rank;
    if (rank > 0) osv_program_speak_for(rank);
    if (!c || c->size == 1) return status;
    bool together = c->leave(c, status, &lowest);
    /* Now, while the others wait for the end of MPI: mpirun ends all ranks when it sees the first one fail.
     */
    if (e->status && (!together || lowest == rank)) osv_program_fail(program, e);
    if (status) osv_program_mute();
    if (!together) c->abort(c, status);
    return status;
}
