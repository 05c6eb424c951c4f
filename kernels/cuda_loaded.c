#include <dlfcn.h>

#include "kernels/cuda_filling.h"

/* Found beside libosv, by its run path. */
static const char library[] = "libosv_cuda.so";

/* The library, once and for all; NULL, and dlerror says why. */
static void *load(void)
{
    static void *loaded;
    if (!loaded) loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return loaded;
}

int osv_cuda_filling_open(osv_ops **o, osv_dtype dtype, int device, osv_error *error)
{
    int (*open)(osv_ops **, osv_dtype, int, osv_error *) = NULL;
    void *from = load();
    *o = NULL;
    if (from) *(void **)&open = dlsym(from, "osv_cuda_open"); /* as POSIX wants functions to be had */
    if (!open) return OSV_FAIL(error, OSV_DEVICE, "--backend cuda: %s", dlerror());
    return open(o, dtype, device, error);
}

int osv_cuda_filling_devices(void)
{
    int (*devices)(void) = NULL;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL); /* without it there is no use in loading */
    if (!driver) return 0;
    dlclose(driver);
    void *from = load();
    if (from) *(void **)&devices = dlsym(from, "osv_cuda_devices");
    return devices ? devices() : 0;
}

const char *osv_cuda_filling_text(void)
{
    return OSV_HAS_CUDA;
}
