#include "kernels/backend.h"

#include <cblas.h>
#include <string.h>

int osv_backend_open(osv_ops **o, const char *name, osv_dtype dtype, int threads, osv_error *error)
{
    *o = NULL;
    if (strcmp(name, "ref") == 0) return osv_ref_open(o, dtype, error);
    if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0) return osv_cpu_open(o, dtype, threads, error);
    if (strcmp(name, "cuda") == 0) return OSV_FAIL(error, OSV_DEVICE, "this build has no CUDA backend");
    return OSV_FAIL(error, OSV_USAGE, "--backend %s: must be one of auto, cpu, ref, cuda", name);
}

const char *osv_backend_blas(void)
{
    return openblas_get_config();
}

const char *osv_backend_cuda(void)
{
    return "off";
}
