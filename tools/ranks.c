#include "tools/ranks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/host.h"
#include "tools/program.h"
#include "tools/ranks_start.h"

int ranks_threads(const osv_launch *l)
{
    int own = ranks_processors();
    bool bound = own < sysconf(_SC_NPROCESSORS_ONLN);
    int ranks = bound || l->local_size < 1 ? 1 : l->local_size;
    return own > ranks ? own / ranks : 1;
}

/* ---- a rank is lost: on the watching thread ---- */

static _Atomic(const ranks_rescuer *) rescuer;

void ranks_rescue_by(const ranks_rescuer *r)
{
    rescuer = r;
}

/* Not by stdio: whoever holds its lock may never let go of it. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list arguments;
    if (isatty(STDERR_FILENO)) dprintf(STDERR_FILENO, "\n"); /* a line of progress is there */
    va_start(arguments, format);
    vdprintf(STDERR_FILENO, format, arguments);
    va_end(arguments);
}

/* Is there a rank that does it, within this time? */
static bool others_do(const ranks_rescuer *r, double seconds)
{
    if (seconds <= 0) return false;
    if (r) return r->wait(seconds);
    osv_host_sleep(seconds);
    return false;
}

/* The message first: a launcher that sees the lost rank's end may give little time. */
static void lost(void *program, const char *text, double wait)
{
    const ranks_rescuer *r = rescuer;
    osv_error why = {0};
    if (others_do(r, wait)) return;
    const char *then = r && r->there() ? "; with --resume the run goes on" : "";
    if (text) say("%s: %s%s\n", (const char *)program, text, then);
    if (r) r->save(&why);
    if (text && why.status) say("%s: %s\n", (const char *)program, why.text);
}

static void end(void *program, int status)
{
    (void)program;
    _exit(status == OSV_PIPE_CLOSED ? OSV_OK : status);
}

/* ---- meeting ---- */

static osv_world *world;

static void tell_outside(bool outside)
{
    osv_world_outside(world, outside);
}

/* All that the launcher has started; --tp says how many of them share a model. */
static int meet(osv_machine *m, const char *program, bool replicas, osv_error *e)
{
    const osv_launch *l = &m->launch;
    bool told = false;
    int tp = m->tp > 0 ? m->tp : l->size;
    if (tp > OSV_RANKS)
        return OSV_FAIL(e, OSV_USAGE, "%d ranks cannot share a model; at most %d", tp, OSV_RANKS);
    if (l->size % tp != 0)
        return OSV_FAIL(e, OSV_USAGE, "--tp %d: %s started %d rank%s, which makes no replicas of %d", tp,
                        l->by ? l->by : "nobody", l->size, l->size == 1 ? "" : "s", tp);
    if (l->size != tp && !replicas)
        return OSV_FAIL(e, OSV_USAGE,
                        "--tp %d: %s started %d ranks; only osv-train has a use for more than %d", tp, l->by,
                        l->size, tp);
    if (m->share && m->tp == 0 && l->size > 1)
        return OSV_FAIL(e, OSV_USAGE, "--split-data: how many of the %d ranks share a model? give --tp",
                        l->size);
    if (l->size == 1) return OSV_OK;
    const osv_world_settings settings = {.launch = *l,
                                         .tp = m->share ? l->size : tp,
                                         .timeout = m->timeout,
                                         .observer = {(void *)(uintptr_t)program, lost, end}};
    int status = osv_world_open(&m->world, &settings, &told, e);
    if (told) osv_program_mute();
    world = m->world;
    osv_program_tell(tell_outside);
    return status;
}

/* Options in which ranks may differ; models are compared. */
static bool is_own(const char *word, bool *has_value)
{
    static const char *const own[] = {"--model", "--device", "--threads"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        size_t length = strlen(own[i]);
        *has_value = word[length] == '=';
        if (strncmp(word, own[i], length) == 0 && (*has_value || !word[length])) return true;
    }
    return false;
}

/* The words of the command line, but for those. */
static char *spell(char **argv)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    for (bool skip = false; out && *++argv;) {
        bool with_value = false, own = !skip && is_own(*argv, &with_value);
        if (!own && !skip) fprintf(out, "%s ", *argv);
        skip = own && !with_value;
    }
    if (out) fclose(out);
    return text;
}

static int agree(osv_world *w, const char *program, char **argv, osv_error *e)
{
    char build[256];
    snprintf(build, sizeof build, "%s %s, commit %s, %s", program, osv_program_version(),
             osv_program_commit(), osv_program_compiler());
    OSV_TRY(osv_world_agree(w, "build", build, e));
    char *spelled = spell(argv);
    if (!spelled) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    int status = osv_world_agree(w, "command line", spelled, e);
    free(spelled);
    return status;
}

int ranks_find(osv_machine *m, const char *program, char **argv, bool replicas, bool *quiet, osv_error *e)
{
    OSV_TRY(osv_launch_find(&m->launch, getenv, e));
    /* A shell that srun has started is one rank as well; but what was started does not start itself again. */
    bool ours = m->launch.by && (strcmp(m->launch.by, "mpirun") == 0 || strcmp(m->launch.by, "--tp") == 0);
    if (m->launch.size == 1 && m->tp > 1 && !ours) return ranks_start(m, argv, e);
    OSV_TRY(meet(m, program, replicas, e));
    int status = agree(m->world, program, argv, e);
    if (status) return ranks_fail(m, program, status, e);
    if (m->launch.rank == 0) return OSV_OK;
    *quiet = true;
    return freopen("/dev/null", "w", stdout) ? OSV_OK
                                             : OSV_FAIL(e, OSV_DEVICE, "/dev/null: %s", strerror(errno));
}

void ranks_be_verbose(const osv_machine *m, const char *program)
{
    const osv_world *w = m->world;
    osv_program_be_verbose(program, w ? w->rank : -1);
    if (w)
        osv_program_log("one of %d ranks, started by %s; replica %d of %d", w->size, w->launch.by, w->replica,
                        w->size / w->tp);
}

/* ---- the end ---- */

static bool left;

static void end_here(int status)
{
    fflush(stdout);
    _exit(status == OSV_PIPE_CLOSED ? OSV_OK : status); /* MPI would wait for the others */
}

int ranks_fail(const osv_machine *m, const char *program, int status, const osv_error *e)
{
    osv_world *w = m->world;
    int lowest, failure = e->status ? e->status : status == OSV_PIPE_CLOSED ? status : OSV_OK;
    if (!w || !failure || left) return status;
    left = true;
    if (w->rank > 0) osv_program_speak_for(w->rank);
    bool together = osv_world_leave(w, failure, &lowest);
    if (e->status && (!together || lowest == w->rank % w->tp)) osv_program_fail(program, e);
    osv_program_mute();
    if (!together) end_here(status);
    return status;
}

int ranks_end(const osv_machine *m, int status)
{
    int lowest;
    if (!m->world) return status;
    osv_program_tell(NULL);
    if (!left) osv_world_leave(m->world, OSV_OK, &lowest);
    if (!osv_world_close(m->world)) end_here(status);
    return status;
}
