#include "kernels/backend.h"

#include <cblas.h>
#include <string.h>

#ifdef OSV_HAS_CUDA
static int open_cuda(osv_ops **o, osv_dtype dtype, int device, osv_error *error)
{
    return osv_cuda_open(o, dtype, device, error);
}

int osv_backend_gpus(void)
{
    return osv_cuda_devices();
}
#else
static int open_cuda(osv_ops **o, osv_dtype dtype, int device, osv_error *error)
{
    (void)o, (void)dtype, (void)device;
    return OSV_FAIL(error, OSV_DEVICE,
                    "--backend cuda: this build has no CUDA backend (it was made without nvcc)");
}

int osv_backend_gpus(void)
{
    return 0;
}
#endif

int osv_backend_open(osv_ops **o, const osv_machine *m, osv_error *error)
{
    const char *name = m->backend;
    *o = NULL;
    if (strcmp(name, "auto") == 0) name = osv_backend_gpus() > 0 ? "cuda" : "cpu";
    bool cuda = strcmp(name, "cuda") == 0, cpu = strcmp(name, "cpu") == 0, ref = strcmp(name, "ref") == 0;
    osv_dtype dtype = m->dtype != OSV_DTYPE_AUTO ? (osv_dtype)m->dtype
                      : cuda                     ? OSV_DTYPE_BF16
                                                 : OSV_DTYPE_F32;
    if (!cuda && !cpu && !ref)
        return OSV_FAIL(error, OSV_USAGE, "--backend %s: must be one of auto, cpu, cuda, ref", name);
    if (!cuda && m->device >= 0)
        return OSV_FAIL(error, OSV_USAGE, "--device %d: the backend is %s; only cuda has devices", m->device,
                        name);
    if (ref) return osv_ref_open(o, dtype, error);
    if (cpu) return osv_cpu_open(o, dtype, m->threads, error);
    return open_cuda(o, dtype, m->device < 0 ? 0 : m->device, error);
}

const char *osv_backend_blas(void)
{
    return openblas_get_config();
}

const char *osv_backend_cuda(void)
{
#ifdef OSV_HAS_CUDA
    return OSV_HAS_CUDA;
#else
    return "off";
#endif
}
