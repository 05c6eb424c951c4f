#include "kernels/backend.h"

#include <cblas.h>
#include <string.h>

#ifdef OSV_HAS_CUDA
static int open_cuda(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cuda_open(o, dtype, 0, error);
}
#else
static int open_cuda(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    (void)o, (void)dtype;
    return OSV_FAIL(error, OSV_DEVICE,
                    "--backend cuda: this build has no CUDA backend (it was made without nvcc)");
}
#endif

int osv_backend_open(osv_ops **o, const char *name, osv_dtype dtype, int threads, osv_error *error)
{
    *o = NULL;
    if (strcmp(name, "ref") == 0) return osv_ref_open(o, dtype, error);
    if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0) return osv_cpu_open(o, dtype, threads, error);
    if (strcmp(name, "cuda") == 0) return open_cuda(o, dtype, error);
    return OSV_FAIL(error, OSV_USAGE, "--backend %s: must be one of auto, cpu, ref, cuda", name);
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
