#include "tools/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/host.h"
#include "version.h" /* made by meson: the commit */

const char *osv_program_version(void)
{
    return OSV_VERSION;
}

const char *osv_program_commit(void)
{
    return OSV_COMMIT;
}

const char *osv_program_compiler(void)
{
#ifdef __clang__
    return __VERSION__;
#else
    return "gcc " __VERSION__;
#endif
}

void osv_program_print_version(FILE *out, const char *program)
{
    fprintf(out, "%s %s\n", program, osv_program_version());
    fprintf(out, "commit:   %s\n", osv_program_commit());
    fprintf(out, "compiler: %s\n", osv_program_compiler());
    fprintf(out, "BLAS:     %s\n", osv_backend_blas());
    fprintf(out, "CUDA:     %s\n", osv_backend_cuda());
    fprintf(out, "MPI:      %s\n", osv_backend_mpi());
    fprintf(out, "NCCL:     %s\n", osv_backend_nccl());
}

enum { SPEAKER = 100 };
static char speaker[SPEAKER];
static bool mute;

static void name_rank(char name[SPEAKER], int rank)
{
    char host[64] = "?";
    gethostname(host, sizeof host - 1);
    snprintf(name, SPEAKER, "rank %d (host %s): ", rank, host);
}

void osv_program_speak_for(int rank)
{
    name_rank(speaker, rank);
}

void osv_program_mute(void)
{
    mute = true;
}

static const char *log_of; /* the program, if it is verbose */
static char log_speaker[SPEAKER];

void osv_program_be_verbose(const char *program, int rank)
{
    log_of = program;
    if (rank >= 0) name_rank(log_speaker, rank);
}

void osv_program_log(const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (!log_of) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s: %s%s\n", log_of, log_speaker, text); /* whole lines: other ranks write there, too */
}

static osv_launch launched(void)
{
    osv_error ignored = {0};
    osv_launch l;
    return osv_launch_find(&l, getenv, &ignored) ? (osv_launch){.size = 1} : l;
}

/* What is wrong with the command line is wrong with every rank's. */
static bool others_say_it(const osv_error *e)
{
    return mute || (e->status == OSV_USAGE && launched().rank > 0);
}

int osv_program_fail(const char *program, const osv_error *e)
{
    if (others_say_it(e)) {
        /* mpirun ends all ranks with the first one, which is to be the one that says it. */
        if (!mute) osv_host_sleep(1);
        return e->status;
    }
    fprintf(stderr, "%s: %s%s\n", program, speaker, e->text);
    if (e->status == OSV_USAGE) fprintf(stderr, "%s --help lists the options\n", program);
    return e->status;
}

void osv_program_start(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) /* the lowest free number is this one; opened the wrong way round, so that
                                       using it fails as it did */
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static void (*told)(bool outside);

void osv_program_tell(void (*waits)(bool outside))
{
    told = waits;
}

static void tell(bool outside)
{
    if (told) told(outside);
}

static bool flush_output(void)
{
    tell(true);
    bool failed = fflush(stdout) || ferror(stdout);
    tell(false);
    return !failed;
}

int osv_program_flush(osv_error *e)
{
    if (flush_output() || errno == EPIPE) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT, "standard output: cannot write: %s", strerror(errno));
}

int osv_program_write(const char *text, size_t bytes, osv_error *e)
{
    errno = 0;
    tell(true);
    fwrite(text, 1, bytes, stdout);
    if (flush_output()) return OSV_OK;
    if (errno == EPIPE) return OSV_PIPE_CLOSED;
    return osv_program_flush(e);
}

bool osv_program_color(void)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool dumb = !term || !*term || strcmp(term, "dumb") == 0;
    bool terminal = isatty(STDOUT_FILENO) && launched().size == 1; /* mpirun makes one for each rank */
    return terminal && !dumb && !(no_color && *no_color);
}

volatile sig_atomic_t osv_program_signal;
static volatile sig_atomic_t held, impatient;

static void note_signal(int number)
{
    if (number == SIGUSR1) number = SIGINT;
    if (number == SIGUSR2) number = SIGTERM;
    bool again = number == SIGINT && osv_program_signal == SIGINT;
    if (again && !held) _exit(OSV_INTERRUPTED);
    if (again) impatient = 1;
    osv_program_signal = number;
}

void osv_program_hold(void)
{
    held = 1;
    tell(true);
}

void osv_program_release(void)
{
    held = 0;
    tell(false);
    if (impatient) _exit(OSV_INTERRUPTED);
}

void osv_program_catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
}
