#include <dlfcn.h>

#include "kernels/comm_filling.h"
#include "kernels/library.h"

static const char library[] = "libosv_nccl.so";

bool osv_nccl_filling_there(void)
{
    return osv_library_find(library, "osv_nccl_open");
}

int osv_nccl_filling_id(unsigned char id[OSV_NCCL_ID], osv_error *error)
{
    typedef int id_function(unsigned char *, osv_error *);
    id_function *make = (id_function *)osv_library_find(library, "osv_nccl_id");
    return make ? make(id, error) : OSV_FAIL(error, OSV_DEVICE, "NCCL: %s", dlerror());
}

int osv_nccl_filling_open(osv_comm **c, osv_ops *o, const unsigned char id[OSV_NCCL_ID], osv_comm *host)
{
    typedef int open_function(osv_comm **, osv_ops *, const unsigned char *, osv_comm *);
    open_function *open = (open_function *)osv_library_find(library, "osv_nccl_open");
    if (open) return open(c, o, id, host);
    *c = NULL;
    host->close(host);
    return OSV_FAIL(o->error, OSV_DEVICE, "NCCL: %s", dlerror());
}

const char *osv_nccl_filling_text(void)
{
    return OSV_HAS_NCCL;
}
