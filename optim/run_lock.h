/* One process at a time in the folder of a run: <folder>/lock names who holds it, who renews it. A lock whose
 * process is gone (kill -9, a crash) is taken over: at once where it can be seen from here, of another host,
 * that shares the folder, when it has not been renewed for a minute. */
#ifndef OSV_OPTIM_RUN_LOCK_H
#define OSV_OPTIM_RUN_LOCK_H

#include "kernels/error.h"

typedef struct {
    char *path;        /* NULL: not held */
    int file;          /* open, and locked for the kernel too, as long as it is held */
    long long renewed; /* seconds, of the clock since 1970 */
} osv_run_lock;

/* Held by somebody: OSV_BAD_INPUT, naming host and process. Changes nothing. */
int osv_run_lock_check(const char *folder, osv_error *e);
/* The folder exists. What failed leaves *lock empty. */
int osv_run_lock_take(osv_run_lock *lock, const char *folder, osv_error *e);
/* To be called again and again while it is held; does something every few seconds. OSV_BAD_INPUT if it has
 * been taken over, from a process that had stopped for long. */
int osv_run_lock_renew(osv_run_lock *lock, osv_error *e);
/* Removes the file; of a lock that is not held nothing. */
void osv_run_lock_release(osv_run_lock *lock);

#endif
