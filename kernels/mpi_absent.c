#include "kernels/comm_filling.h"

static int absent(int ranks, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE,
                    "%d ranks: this build knows no MPI (it was made without; libopenmpi-dev on Debian)",
                    ranks);
}

bool osv_mpi_filling_there(void)
{
    return false;
}

int osv_mpi_filling_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g)
{
    (void)g;
    *c = NULL;
    return absent(w->size, o->error);
}

int osv_mpi_filling_tell(void *x, size_t bytes, const osv_launch *launch, osv_error *error)
{
    (void)x, (void)bytes;
    return absent(launch->size, error);
}

const char *osv_mpi_filling_text(void)
{
    return "off";
}
