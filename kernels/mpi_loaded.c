#include <dlfcn.h>

#include "kernels/comm_filling.h"
#include "kernels/library.h"

int osv_mpi_filling_open(osv_comm **c, osv_ops *o, const osv_launch *launch, int size, int stride)
{
    typedef int open_function(osv_comm **, osv_ops *, const osv_launch *, int, int);
    open_function *open = (open_function *)osv_library_find("libosv_mpi.so", "osv_mpi_open");
    *c = NULL;
    if (!open) return OSV_FAIL(o->error, OSV_DEVICE, "%d ranks: %s", size, dlerror());
    return open(c, o, launch, size, stride);
}

const char *osv_mpi_filling_text(void)
{
    return OSV_HAS_MPI;
}
