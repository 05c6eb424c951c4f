#include "kernels/comm_filling.h"

bool osv_nccl_filling_there(void)
{
    return false;
}

int osv_nccl_filling_id(unsigned char id[OSV_NCCL_ID], osv_error *error)
{
    (void)id;
    return OSV_FAIL(error, OSV_DEVICE, "this build has no NCCL");
}

int osv_nccl_filling_open(osv_comm **c, osv_ops *o, const unsigned char id[OSV_NCCL_ID], osv_comm *host)
{
    (void)id;
    *c = NULL;
    host->close(host);
    return OSV_FAIL(o->error, OSV_DEVICE, "this build has no NCCL");
}

const char *osv_nccl_filling_text(void)
{
    return "off";
}
