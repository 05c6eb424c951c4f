/* MPI between ranks, on host memory. Sums are not left to MPI_Allreduce, which promises neither an order nor
 * the same bytes on every rank: kernels/comm/hosted.c. */
#include <mpi.h>
#include <stdlib.h>

#include "kernels/comm/hosted.h"

typedef struct {
    int rank, size;
    osv_error *error;
    MPI_Comm ranks;
    int *share; /* [2, size] of MPI's counts and places */
} mpi;

static bool check(const mpi *m, int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (code == MPI_SUCCESS) return true;
    MPI_Error_string(code, text, &length);
    OSV_FAIL(m->error, OSV_DEVICE, "%s: %s", what, text);
    return false;
}

static bool gather(void *state, void *out, const void *x, size_t bytes)
{
    const mpi *m = state;
    return check(m, MPI_Allgather(x, (int)bytes, MPI_BYTE, out, (int)bytes, MPI_BYTE, m->ranks),
                 "MPI_Allgather");
}

static bool trade(void *state, void *out, const void *x, const int *at, const int *bytes)
{
    const mpi *m = state;
    int *own_bytes = m->share, *own_at = own_bytes + m->size;
    for (int r = 0; r < m->size; r++) {
        own_bytes[r] = bytes[m->rank];
        own_at[r] = r * bytes[m->rank];
    }
    return check(m, MPI_Alltoallv(x, bytes, at, MPI_BYTE, out, own_bytes, own_at, MPI_BYTE, m->ranks),
                 "MPI_Alltoallv");
}

static bool join(void *state, void *x, const int *at, const int *bytes)
{
    const mpi *m = state;
    return check(m, MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x, bytes, at, MPI_BYTE, m->ranks),
                 "MPI_Allgatherv");
}

static bool broadcast(void *state, void *x, size_t bytes, int root)
{
    const mpi *m = state;
    return check(m, MPI_Bcast(x, (int)bytes, MPI_BYTE, root, m->ranks), "MPI_Bcast");
}

static void close_mpi(void *state)
{
    mpi *m = state;
    if (m->ranks != MPI_COMM_NULL) MPI_Comm_free(&m->ranks);
    free(m->share);
    free(m);
}

/* ---- starting it: once in a process, with which it ends ---- */

static void finalize(void)
{
    MPI_Finalize();
}

/* MPI is there; is it the one that started us? */
static int check_launch(const osv_launch *launch, osv_error *e)
{
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank == launch->rank && size == launch->size) return OSV_OK;
    return OSV_FAIL(
        e, OSV_DEVICE,
        "%s started this as rank %d of %d, but MPI takes it for rank %d of %d: the library and the "
        "launcher do not fit (with srun: --mpi=pmix)",
        launch->by, launch->rank, launch->size, rank, size);
}

static int start(const osv_launch *launch, osv_error *e)
{
    int started = 0, given;
    MPI_Initialized(&started);
    if (started) return check_launch(launch, e);
    /* What on_host is given runs on a thread of its own where there is a GPU, though never beside another. */
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given) != MPI_SUCCESS)
        return OSV_FAIL(e, OSV_DEVICE, "MPI does not start");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (atexit(finalize)) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    return check_launch(launch, e);
}

int osv_mpi_tell(void *x, size_t bytes, const osv_launch *launch, osv_error *error)
{
    OSV_TRY(start(launch, error));
    if (MPI_Bcast(x, (int)bytes, MPI_BYTE, 0, MPI_COMM_WORLD) == MPI_SUCCESS) return OSV_OK;
    return OSV_FAIL(error, OSV_DEVICE, "MPI_Bcast: the ranks do not hear rank 0");
}

int osv_mpi_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g)
{
    mpi *m = calloc(1, sizeof *m);
    *c = NULL;
    if (!m || osv_ops_status(o) || start(&w->launch, o->error)) {
        free(m);
        return m ? osv_ops_status(o) : OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d ranks", g.size);
    }
    *m = (mpi){.rank = osv_group_place(g, w->rank),
               .size = g.size,
               .error = o->error,
               .ranks = MPI_COMM_NULL,
               .share = calloc(2 * (size_t)g.size, sizeof *m->share)};
    const osv_transport transport = {.name = "mpi",
                                     .state = m,
                                     .close = close_mpi,
                                     .gather = gather,
                                     .trade = trade,
                                     .join = join,
                                     .broadcast = broadcast};
    if (!m->share ||
        !check(m, MPI_Comm_split(MPI_COMM_WORLD, osv_group_rank(g, w->rank, 0), w->rank, &m->ranks),
               "MPI_Comm_split")) {
        close_mpi(m);
        return OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d ranks", g.size);
    }
    MPI_Comm_set_errhandler(m->ranks, MPI_ERRORS_RETURN);
    return osv_hosted_open(c, o, w, g, &transport);
}
