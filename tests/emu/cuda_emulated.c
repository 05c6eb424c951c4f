/* The emulation in the place of the CUDA filling, for a tool that is linked with it. */
#include "kernels/cuda_filling.h"
#include "tests/emu/device_emu.h"

int osv_cuda_filling_open(osv_ops **o, osv_dtype dtype, int device, osv_error *error)
{
    return osv_emu_open_device(o, dtype, device, error);
}

int osv_cuda_filling_devices(void)
{
    return 0; /* nobody should get the emulation who has not asked for it by name */
}

const char *osv_cuda_filling_text(void)
{
    return "emulated";
}
