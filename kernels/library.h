/* Libraries of this project that are loaded when they are asked for, because what stands behind them is
 * large, slow to start, or not there. */
#ifndef OSV_KERNELS_LIBRARY_H
#define OSV_KERNELS_LIBRARY_H

/* The function of that name in a library beside libosv, which stays loaded. NULL: dlerror says why. */
typedef void osv_function(void);
osv_function *osv_library_find(const char *library, const char *name);

#endif
