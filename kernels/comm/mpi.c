/* MPI between ranks, on host memory: what ops keep in a device comes and goes through osv_ops.on_host.
 *
 * Sums are not left to MPI_Allreduce, which promises neither an order nor the same bytes on every rank: here
 * numbers are added up in the order of the ranks, each of them on one rank, or, where they are few, on every
 * rank in the same way. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/comm.h"
#include "kernels/host.h"

enum {
    PIECE = 1 << 22, /* numbers that are reduced at once */
    FEW = 1 << 13,   /* numbers up to which sending all of them to everybody takes less time */
    GRACE = 2,       /* seconds after which a rank that failed believes that it is the only one */
};

typedef struct mpi mpi;

/* What on_host is told. */
typedef struct {
    mpi *m;
    enum { REDUCE, BROADCAST } what;
    osv_reduction reduction;
    int root;
} order;

struct mpi {
    osv_comm comm;
    osv_ops *ops;
    MPI_Comm ranks, farewell;
    order *order;   /* [2 + size] the reductions, then broadcasts by root */
    osv_real *part; /* [PIECE, or size x FEW] what all ranks have of some numbers */
    int *share;     /* [4, size] of MPI's counts and places */
};

static bool check(const mpi *m, int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (code == MPI_SUCCESS) return true;
    MPI_Error_string(code, text, &length);
    OSV_FAIL(m->ops->error, OSV_DEVICE, "rank %d of %d: %s: %s", m->comm.rank, m->comm.size, what, text);
    return false;
}

/* ---- on memory of the ops ---- */

static MPI_Datatype real_type(void)
{
    return sizeof(osv_real) == sizeof(float) ? MPI_FLOAT : MPI_DOUBLE;
}

/* x [n] = part [size, n] reduced */
static void reduce(osv_real *x, const osv_real *part, int size, size_t n, osv_reduction reduction)
{
    for (size_t i = 0; i < n; i++) {
        double sum = (double)part[i];
        for (int r = 1; r < size; r++) {
            double other = (double)part[(size_t)r * n + i];
            if (reduction == OSV_SUM)
                sum += other;
            else if (!(other <= sum)) /* NaN too */
                sum = other;
        }
        x[i] = (osv_real)sum;
    }
}

static void reduce_few(const mpi *m, osv_real *x, size_t n, osv_reduction reduction)
{
    int code = MPI_Allgather(x, (int)n, real_type(), m->part, (int)n, real_type(), m->ranks);
    if (check(m, code, "MPI_Allgather")) reduce(x, m->part, m->comm.size, n, reduction);
}

/* Each rank reduces a share of the numbers, and gives it to all. */
static void reduce_piece(const mpi *m, osv_real *x, size_t n, osv_reduction reduction)
{
    int size = m->comm.size, rank = m->comm.rank;
    int *count = m->share, *at = count + size, *own_count = at + size, *own_at = own_count + size;
    for (int r = 0; r < size; r++) {
        at[r] = (int)(n * (size_t)r / (size_t)size);
        count[r] = (int)(n * ((size_t)r + 1) / (size_t)size) - at[r];
    }
    for (int r = 0; r < size; r++) {
        own_count[r] = count[rank];
        own_at[r] = r * count[rank];
    }
    int code = MPI_Alltoallv(x, count, at, real_type(), m->part, own_count, own_at, real_type(), m->ranks);
    if (!check(m, code, "MPI_Alltoallv")) return;
    reduce(x + at[rank], m->part, size, (size_t)count[rank], reduction);
    code = MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x, count, at, real_type(), m->ranks);
    check(m, code, "MPI_Allgatherv");
}

static void run(void *context, void *memory, size_t bytes)
{
    const order *o = context;
    const mpi *m = o->m;
    size_t size = o->what == REDUCE ? sizeof(osv_real) : 1, n = bytes / size;
    for (size_t at = 0; at < n; at += PIECE) {
        char *x = (char *)memory + at * size;
        size_t part = n - at < PIECE ? n - at : PIECE;
        if (o->what == BROADCAST)
            check(m, MPI_Bcast(x, (int)part, MPI_BYTE, o->root, m->ranks), "MPI_Bcast");
        else
            (part <= FEW ? reduce_few : reduce_piece)(m, (osv_real *)(void *)x, part, o->reduction);
    }
}

static void mpi_all_reduce(osv_comm *c, osv_real *x, size_t n, osv_reduction reduction)
{
    mpi *m = c->state;
    m->ops->on_host(m->ops, x, n * sizeof *x, run, &m->order[reduction]);
}

static void mpi_broadcast(osv_comm *c, void *x, size_t bytes, int root)
{
    mpi *m = c->state;
    m->ops->on_host(m->ops, x, bytes, run, &m->order[2 + root]);
}

static void mpi_all_gather(osv_comm *c, void *all, size_t bytes)
{
    for (int r = 0; r < c->size; r++) mpi_broadcast(c, (char *)all + (size_t)r * bytes, bytes, r);
}

/* ---- on host memory ---- */

static void mpi_exchange(osv_comm *c, void *out, const void *x, size_t bytes)
{
    const mpi *m = c->state;
    m->ops->sync(m->ops, 0);
    check(m, MPI_Allgather(x, (int)bytes, MPI_BYTE, out, (int)bytes, MPI_BYTE, m->ranks), "MPI_Allgather");
}

static bool mpi_leave(osv_comm *c, int status, int *lowest)
{
    const mpi *m = c->state;
    MPI_Request request;
    int done = 0, own = status ? c->rank : c->size;
    double start = osv_host_seconds();
    if (MPI_Iallreduce(&own, lowest, 1, MPI_INT, MPI_MIN, m->farewell, &request) != MPI_SUCCESS) return false;
    for (;;) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
        if (done) return true;
        if (status && osv_host_seconds() - start > GRACE) return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void mpi_abort(osv_comm *c, int status)
{
    (void)c;
    MPI_Abort(MPI_COMM_WORLD, status);
}

/* ---- the communicator ---- */

static void release(mpi *m)
{
    free(m->order);
    free(m->part);
    free(m->share);
    free(m);
}

static void mpi_close(osv_comm *c)
{
    mpi *m = c->state;
    m->ops->sync(m->ops, 0);
    MPI_Comm_free(&m->ranks);
    MPI_Comm_free(&m->farewell);
    release(m);
}

static mpi *allocate(osv_ops *o, int rank, int size)
{
    size_t n = (size_t)size, numbers = n * FEW > PIECE + n ? n * FEW : PIECE + n;
    mpi *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    *m = (mpi){.ops = o,
               .comm = {.name = "mpi",
                        .rank = rank,
                        .size = size,
                        .state = m,
                        .close = mpi_close,
                        .all_reduce = mpi_all_reduce,
                        .all_gather = mpi_all_gather,
                        .broadcast = mpi_broadcast,
                        .exchange = mpi_exchange,
                        .leave = mpi_leave,
                        .abort = mpi_abort},
               .order = calloc(2 + n, sizeof *m->order),
               .part = malloc(numbers * sizeof *m->part),
               .share = calloc(4 * n, sizeof *m->share)};
    if (!m->order || !m->part || !m->share) {
        release(m);
        return NULL;
    }
    m->order[OSV_SUM] = (order){m, REDUCE, OSV_SUM, 0};
    m->order[OSV_MAX] = (order){m, REDUCE, OSV_MAX, 0};
    for (int r = 0; r < size; r++) m->order[2 + r] = (order){m, BROADCAST, OSV_SUM, r};
    return m;
}

/* MPI starts once in a process, and ends with it. */
static void finalize(void)
{
    MPI_Finalize();
}

static int start(const mpi *m)
{
    int started = 0, given;
    MPI_Initialized(&started);
    if (started) return OSV_OK;
    /* What on_host is given runs on a thread of its own where there is a GPU, though never beside another. */
    check(m, MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given), "MPI_Init_thread");
    if (osv_ops_status(m->ops)) return osv_ops_status(m->ops);
    return atexit(finalize) ? OSV_FAIL(m->ops->error, OSV_DEVICE, "out of memory") : OSV_OK;
}

/* MPI is there; is it the one that started us? */
static int check_world(const osv_launch *launch, osv_error *e)
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

int osv_mpi_open(osv_comm **c, osv_ops *o, const osv_launch *launch, int size, int stride)
{
    *c = NULL;
    if (osv_ops_status(o)) return osv_ops_status(o);
    if (size > OSV_RANKS)
        return OSV_FAIL(o->error, OSV_USAGE, "%d ranks cannot share a model; at most %d", size, OSV_RANKS);
    int rank = launch->rank / stride % size;
    mpi *m = allocate(o, rank, size);
    if (!m) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d ranks", size);
    if (!start(m) && !check_world(launch, o->error)) {
        MPI_Comm_split(MPI_COMM_WORLD, launch->rank - rank * stride, rank,
                       &m->ranks); /* by their first one */
        MPI_Comm_dup(m->ranks, &m->farewell);
        MPI_Comm_set_errhandler(m->ranks, MPI_ERRORS_RETURN);
        MPI_Comm_set_errhandler(m->farewell, MPI_ERRORS_RETURN);
        *c = &m->comm;
        return OSV_OK;
    }
    release(m);
    return osv_ops_status(o);
}
