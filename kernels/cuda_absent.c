#include "kernels/cuda_filling.h"

int osv_cuda_filling_open(osv_ops **o, osv_dtype dtype, int device, osv_error *error)
{
    (void)dtype, (void)device;
    *o = NULL;
    return OSV_FAIL(error, OSV_DEVICE,
                    "--backend cuda: this build has no CUDA backend (it was made without nvcc)");
}

int osv_cuda_filling_devices(void)
{
    return 0;
}

const char *osv_cuda_filling_text(void)
{
    return "off";
}
