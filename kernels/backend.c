#include "kernels/backend.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/comm_filling.h"
#include "kernels/cuda_filling.h"

int osv_backend_gpus(void)
{
    return osv_cuda_filling_devices();
}

/* What a machine comes to; checked. */
typedef struct {
    enum { REF, CPU, CUDA } filling;
    osv_dtype dtype;
} choice;

static int choose(choice *c, const osv_machine *m, osv_error *error)
{
    static const char *const names[] = {[REF] = "ref", [CPU] = "cpu", [CUDA] = "cuda"};
    const char *name = m->backend;
    *c = (choice){.filling = REF};
    if (strcmp(name, "auto") == 0) name = names[osv_backend_gpus() > 0 ? CUDA : CPU];
    int i = REF;
    while (i <= CUDA && strcmp(name, names[i]) != 0) i++;
    if (i > CUDA)
        return OSV_FAIL(error, OSV_USAGE, "--backend %s: must be one of auto, cpu, cuda, ref", name);
    if (i != CUDA && m->device >= 0)
        return OSV_FAIL(error, OSV_USAGE, "--device %d: the backend is %s; only cuda has devices", m->device,
                        name);
    c->filling = i;
    c->dtype = m->dtype != OSV_DTYPE_AUTO ? (osv_dtype)m->dtype : i == CUDA ? OSV_DTYPE_BF16 : OSV_DTYPE_F32;
    return OSV_OK;
}

int osv_backend_open(osv_ops **o, const osv_machine *m, osv_error *error)
{
    choice c;
    *o = NULL;
    OSV_TRY(choose(&c, m, error));
    if (c.filling == REF) return osv_ref_open(o, c.dtype, error);
    if (c.filling == CPU) return osv_cpu_open(o, c.dtype, m->threads, error);
    int devices = osv_backend_gpus(), own = devices > 0 ? m->launch.local_rank % devices : 0;
    return osv_cuda_filling_open(o, c.dtype, m->device < 0 ? own : m->device, error);
}

/* On GPUs: the id of the NCCL of the group's first rank goes to all of them. What concerns host memory is
 * little, and TCP's. */
static int open_nccl(osv_comm **c, osv_ops *o, osv_world *w, osv_group g)
{
    unsigned char id[OSV_NCCL_ID] = {0}, *ids = malloc((size_t)g.size * sizeof id);
    osv_comm *host;
    if (!ids) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    int status = osv_group_place(g, w->rank) == 0 ? osv_nccl_filling_id(id, o->error) : OSV_OK;
    if (!status) status = osv_world_gather(w, g, ids, id, sizeof id, o->error);
    memcpy(id, ids, sizeof id);
    free(ids);
    OSV_TRY(status);
    OSV_TRY(osv_tcp_open(&host, o, w, g));
    return osv_nccl_filling_open(c, o, id, host);
}

static int open_group(osv_comm **c, osv_ops *o, const osv_machine *m, osv_group g)
{
    osv_world *w = m->world;
    bool gpus = strcmp(o->name, "cuda") == 0 && osv_backend_gpus() > 0;
    bool nccl = gpus && osv_nccl_filling_there();
    bool mpi = osv_mpi_filling_there() && w && w->launch.mpi;
    *c = NULL;
    if (g.size == 1) return osv_comm_self_open(c, o->error);
    if (m->comm == OSV_COMM_NCCL && !nccl)
        return OSV_FAIL(o->error, OSV_USAGE, "--comm nccl: %s",
                        gpus ? "this build has no NCCL" : "it is between GPUs, with --backend cuda");
    if (m->comm == OSV_COMM_NCCL || (m->comm == OSV_COMM_AUTO && nccl)) return open_nccl(c, o, w, g);
    if (m->comm == OSV_COMM_MPI || (m->comm == OSV_COMM_AUTO && mpi)) return osv_mpi_filling_open(c, o, w, g);
    return osv_tcp_open(c, o, w, g);
}

/* Ranks that share a model. */
static int ranks_of_replica(const osv_machine *m)
{
    if (!m->world) return 1;
    return m->tp > 0 ? m->tp : m->world->size;
}

int osv_backend_comm(osv_comm **c, osv_ops *o, const osv_machine *m)
{
    return open_group(c, o, m, (osv_group){ranks_of_replica(m), 1});
}

int osv_backend_sharers(osv_comm **c, osv_ops *o, const osv_machine *m)
{
    int tp = ranks_of_replica(m);
    return open_group(c, o, m,
                      m->share && m->world ? (osv_group){m->world->size / tp, tp} : (osv_group){1, 1});
}

/* The program, its libraries, and the buffers of OpenBLAS: measured at 11.3 to 12.0 MB from 2M to 0.5B. */
enum { HOST_RUNTIME = 12 * 1000 * 1000 };

int osv_backend_footprint(osv_footprint *f, const osv_machine *m, osv_error *error)
{
    static const osv_footprint of[] = {
        [REF] = {.backend = "ref", .runtime = HOST_RUNTIME},
        [CPU] = {.backend = "cpu", .runtime = HOST_RUNTIME},
        [CUDA] = {.backend = "cuda", .fixed = OSV_CUDA_FIXED, .runtime = (size_t)500 << 20},
    };
    choice c;
    OSV_TRY(choose(&c, m, error));
    *f = of[c.filling];
    f->dtype = c.dtype;
    return OSV_OK;
}

size_t osv_footprint_weight(const osv_footprint *f, const osv_weight *w)
{
    size_t n = (size_t)w->rows * (size_t)w->cols;
    bool cuda = strcmp(f->backend, "cuda") == 0, bf16 = f->dtype == OSV_DTYPE_BF16 && w->rows > 1;
    if (bf16) return n * osv_format_bytes(OSV_BF16); /* on ref it is rounded as it is read */
    return n * osv_format_bytes(cuda ? OSV_F32 : w->format);
}

const char *osv_backend_blas(void)
{
    return openblas_get_config();
}

const char *osv_backend_cuda(void)
{
    return osv_cuda_filling_text();
}

const char *osv_backend_mpi(void)
{
    return osv_mpi_filling_text();
}

const char *osv_backend_nccl(void)
{
    return osv_nccl_filling_text();
}
