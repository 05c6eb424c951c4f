#include "kernels/library.h"

#include <dlfcn.h>

/* Found by the run path. Global: what MPI loads in its turn looks for MPI's own names there. */
osv_function *osv_library_find(const char *library, const char *name)
{
    osv_function *found = 0;
    void *loaded = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    if (loaded) *(void **)&found = dlsym(loaded, name); /* as POSIX wants functions to be had */
    return found;
}
