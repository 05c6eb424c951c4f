#include "tools/ranks_start.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/comm_filling.h"
#include "kernels/host.h"
#include "kernels/world/socket.h"

int ranks_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
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

/* ---- the children: mpirun, or the ranks ---- */

static struct {
    pid_t pid[OSV_RANKS]; /* 0: it has ended */
    int count;
    bool by_mpirun;
} children;

/* A signal that ends; mpirun gets it as one that it hands on in its turn. */
static void hand_on(int number)
{
    int other = number == SIGINT ? SIGUSR1 : SIGUSR2;
    for (int i = 0; i < children.count; i++)
        if (children.pid[i] > 0) kill(children.pid[i], children.by_mpirun ? other : number);
}

/* In a child: no signal from the terminal, and an end with the parent. */
static void leave_parent(void)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void become(char **command)
{
    execvp(command[0], command);
    fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
    _exit(OSV_DEVICE);
}

/* In one allocation: `head`, the program, what follows it on its command line, and --threads. */
static char **make_command(const osv_machine *m, char *const *head, size_t heads, char *self, char **argv,
                           char *threads)
{
    size_t n = 0, at = heads;
    while (argv[n]) n++;
    char **command = calloc(at + n + 3, sizeof *command);
    if (!command) return NULL;
    if (heads > 0) memcpy(command, head, heads * sizeof *head);
    command[at++] = self;
    memcpy(command + at, argv + 1, (n - 1) * sizeof *argv);
    if (m->threads > 0) return command;
    command[at + n - 1] = "--threads";
    command[at + n] = threads;
    return command;
}

/* ---- waiting for them ---- */

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void note_end(pid_t pid)
{
    for (int i = 0; i < children.count; i++)
        if (children.pid[i] == pid) children.pid[i] = 0;
}

/* Ranks that outlive one that failed are ended: those that hang, or are stopped. One that a signal has ended
 * they still have to miss, and to save what there is; one that exits tells that they have. */
static int wait_for_all(void)
{
    enum { AFTER_EXIT = 1, AFTER_SIGNAL = 30 };
    double until = 0;
    int result = 0, status;
    bool exited = false;
    for (int left = children.count; left > 0;) {
        pid_t pid = waitpid(-1, &status, until > 0 ? WNOHANG : 0);
        if (pid < 0 && errno != EINTR) return OSV_DEVICE;
        if (pid == 0 && osv_host_seconds() > until) {
            for (int i = 0; i < children.count; i++)
                if (children.pid[i] > 0) kill(children.pid[i], SIGKILL);
            until = osv_host_seconds() + AFTER_SIGNAL;
        }
        if (pid == 0) osv_host_sleep(0.01);
        if (pid <= 0) continue;
        left--;
        note_end(pid);
        if (code_of(status) == 0 || exited) continue;
        exited = WIFEXITED(status);
        if (exited || result == 0) result = code_of(status);
        until = osv_host_seconds() + (exited ? AFTER_EXIT : AFTER_SIGNAL);
    }
    return result;
}

static int wait_and_exit(void)
{
    struct sigaction action = {.sa_handler = hand_on, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    exit(wait_for_all());
}

/* ---- mpirun ---- */

static int start_mpirun(const osv_machine *m, char *self, char **argv, char *threads, osv_error *e)
{
    char ranks[16];
    char *const head[] = {"mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "-n", ranks};
    snprintf(ranks, sizeof ranks, "%d", m->tp);
    char **command = make_command(m, head, sizeof head / sizeof *head, self, argv, threads);
    pid_t pid = command ? fork() : -1;
    if (pid == 0) {
        leave_parent();
        if (geteuid() == 0) { /* whoever is root here has asked for it */
            setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
            setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
        }
        become(command);
    }
    free(command);
    if (pid < 0) return OSV_FAIL(e, OSV_DEVICE, "--tp %d: cannot start mpirun: %s", m->tp, strerror(errno));
    children.pid[children.count++] = pid;
    children.by_mpirun = true;
    return wait_and_exit();
}

/* ---- by itself ---- */

/* In the child that becomes a rank. Rank 0 alone has standard input, and the socket. */
static void become_rank(int rank, int listening, char **command)
{
    char text[16];
    leave_parent();
    snprintf(text, sizeof text, "%d", rank);
    setenv("OSV_RANK", text, 1);
    snprintf(text, sizeof text, "%d", listening);
    setenv("OSV_RENDEZVOUS_FD", text, 1);
    if (rank == 0) fcntl(listening, F_SETFD, 0);
    int null = rank > 0 ? open("/dev/null", O_RDONLY) : -1;
    if (null >= 0) dup2(null, STDIN_FILENO);
    become(command);
}

static int start_ranks(const osv_machine *m, char *self, char **argv, char *threads, osv_error *e)
{
    char text[64];
    int listening, port = 0;
    OSV_TRY(osv_socket_listen(&listening, "127.0.0.1", &port, e));
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    setenv("OSV_RENDEZVOUS", text, 1);
    snprintf(text, sizeof text, "%d", m->tp);
    setenv("OSV_RANKS", text, 1);
    char **command = make_command(m, NULL, 0, self, argv, threads);
    pid_t pid = command ? 1 : -1;
    for (int r = 0; r < m->tp && pid > 0; r++) {
        pid = fork();
        if (pid == 0) become_rank(r, listening, command);
        if (pid > 0) children.pid[children.count++] = pid;
    }
    int why = errno;
    close(listening);
    free(command);
    if (pid > 0) return wait_and_exit();
    hand_on(SIGKILL);
    return OSV_FAIL(e, OSV_DEVICE, "--tp %d: cannot start so many processes: %s", m->tp, strerror(why));
}

int ranks_start(const osv_machine *m, char **argv, osv_error *e)
{
    char self[4096], threads[16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return OSV_FAIL(e, OSV_DEVICE, "/proc/self/exe: %s", strerror(errno));
    self[length] = '\0';
    snprintf(threads, sizeof threads, "%d", ranks_processors() > m->tp ? ranks_processors() / m->tp : 1);
    bool mpirun = osv_mpi_filling_there() && m->comm != OSV_COMM_TCP && is_in_path("mpirun");
    return (mpirun ? start_mpirun : start_ranks)(m, self, argv, threads, e);
}
