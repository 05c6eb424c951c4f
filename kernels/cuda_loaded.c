#include <dlfcn.h>

#include "kernels/cuda_filling.h"
#include "kernels/library.h"

static const char library[] = "libosv_cuda.so";

int osv_cuda_filling_open(osv_ops **o, osv_dtype dtype, int device, osv_error *error)
{
    typedef int open_function(osv_ops **, osv_dtype, int, osv_error *);
    open_function *open = (open_function *)osv_library_find(library, "osv_cuda_open");
    *o = NULL;
    if (!open) return OSV_FAIL(error, OSV_DEVICE, "--backend cuda: %s", dlerror());
    return open(o, dtype, device, error);
}

int osv_cuda_filling_devices(void)
{
    typedef int devices_function(void);
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL); /* without it there is no use in loading */
    if (!driver) return 0;
    dlclose(driver);
    devices_function *devices = (devices_function *)osv_library_find(library, "osv_cuda_devices");
    return devices ? devices() : 0;
}

const char *osv_cuda_filling_text(void)
{
    return OSV_HAS_CUDA;
}
