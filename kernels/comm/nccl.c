/* NCCL between GPUs, on the stream that the CUDA filling computes on, and so inside its graphs. Knows the
 * device by kernels/cuda/device.h alone. What concerns host memory goes to the communicator of
 * the same ranks over which the id came. */
#include <nccl.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/comm.h"
#include "kernels/cuda/cuda.h"

_Static_assert(sizeof(ncclUniqueId) == OSV_NCCL_ID, "an id is handed over as bytes");
_Static_assert(sizeof(osv_real) == sizeof(float), "cuda computes in float");

typedef struct {
    osv_comm comm, *host;
    osv_ops *ops;
    ncclComm_t ranks;
    cudaStream_t stream;
} nccl;

static bool check(osv_error *e, ncclResult_t code, const char *what, const char *file, int line)
{
    if (code == ncclSuccess) return true;
    osv_error_set(e, OSV_DEVICE, file, line, "NCCL: %s: %s", what, ncclGetErrorString(code));
    return false;
}

#define NCCL(e, call) check(e, call, #call, __FILE__, __LINE__)

static void nccl_all_reduce(osv_comm *c, osv_real *x, size_t n, osv_reduction reduction)
{
    const nccl *s = c->state;
    if (osv_ops_status(s->ops) || n == 0) return;
    NCCL(s->ops->error,
         ncclAllReduce(x, x, n, ncclFloat, reduction == OSV_SUM ? ncclSum : ncclMax, s->ranks, s->stream));
}

static void nccl_all_gather(osv_comm *c, void *all, size_t bytes)
{
    const nccl *s = c->state;
    const char *own = (const char *)all + (size_t)c->rank * bytes;
    if (osv_ops_status(s->ops) || bytes == 0) return;
    NCCL(s->ops->error, ncclAllGather(own, all, bytes, ncclUint8, s->ranks, s->stream));
}

static void nccl_broadcast(osv_comm *c, void *x, size_t bytes, int root)
{
    const nccl *s = c->state;
    if (osv_ops_status(s->ops) || bytes == 0) return;
    NCCL(s->ops->error, ncclBroadcast(x, x, bytes, ncclUint8, root, s->ranks, s->stream));
}

static void nccl_exchange(osv_comm *c, void *out, const void *x, size_t bytes)
{
    osv_comm *host = ((const nccl *)c->state)->host;
    host->exchange(host, out, x, bytes);
}

static void nccl_close(osv_comm *c)
{
    nccl *s = c->state;
    osv_comm *host = s->host;
    s->ops->sync(s->ops, 0);
    if (osv_ops_status(s->ops))
        ncclCommAbort(s->ranks); /* what others wait for may never come */
    else
        ncclCommDestroy(s->ranks);
    free(s);
    host->close(host);
}

int osv_nccl_id(unsigned char id[OSV_NCCL_ID], osv_error *error)
{
    ncclUniqueId unique;
    if (NCCL(error, ncclGetUniqueId(&unique))) memcpy(id, &unique, sizeof unique);
    return error->status;
}

int osv_nccl_open(osv_comm **c, osv_ops *o, const unsigned char id[OSV_NCCL_ID], osv_comm *host)
{
    ncclUniqueId unique;
    nccl *s = calloc(1, sizeof *s);
    *c = NULL;
    if (!s) OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    memcpy(&unique, id, sizeof unique);
    if (osv_ops_status(o) || !NCCL(o->error, ncclCommInitRank(&s->ranks, host->size, unique, host->rank))) {
        free(s);
        host->close(host);
        return osv_ops_status(o);
    }
    *s = (nccl){.host = host,
                .ops = o,
                .ranks = s->ranks,
                .stream = osv_device_stream(osv_cuda_device(o)),
                .comm = {.name = "nccl",
                         .rank = host->rank,
                         .size = host->size,
                         .state = s,
                         .close = nccl_close,
                         .all_reduce = nccl_all_reduce,
                         .all_gather = nccl_all_gather,
                         .broadcast = nccl_broadcast,
                         .exchange = nccl_exchange}};
    *c = &s->comm;
    return OSV_OK;
}
