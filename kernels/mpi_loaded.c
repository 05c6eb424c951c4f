#include <dlfcn.h>

#include "kernels/comm_filling.h"
#include "kernels/library.h"

static const char library[] = "libosv_mpi.so";

bool osv_mpi_filling_there(void)
{
    return true;
}

int osv_mpi_filling_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g)
{
    typedef int open_function(osv_comm **, osv_ops *, osv_world *, osv_group);
    open_function *open = (open_function *)osv_library_find(library, "osv_mpi_open");
    *c = NULL;
    if (!open) return OSV_FAIL(o->error, OSV_DEVICE, "%d ranks: %s", w->size, dlerror());
    return open(c, o, w, g);
}

int osv_mpi_filling_tell(void *x, size_t bytes, const osv_launch *launch, osv_error *error)
{
    typedef int tell_function(void *, size_t, const osv_launch *, osv_error *);
    tell_function *tell = (tell_function *)osv_library_find(library, "osv_mpi_tell");
    if (!tell) return OSV_FAIL(error, OSV_DEVICE, "%d ranks: %s", launch->size, dlerror());
    return tell(x, bytes, launch, error);
}

const char *osv_mpi_filling_text(void)
{
    return OSV_HAS_MPI;
}
