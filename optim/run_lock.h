/* One process at a time in the folder of a run: <folder>/lock names who holds it. A lock whose process is
 * gone (kill -9, a crash) is taken over; one of another host cannot be judged from here and is refused. */
#ifndef OSV_OPTIM_RUN_LOCK_H
#define OSV_OPTIM_RUN_LOCK_H

#include "kernels/error.h"

typedef struct {
    char *path; /* NULL: not held */
    int file;   /* open, and locked for the kernel too, as long as it is held */
} osv_run_lock;

/* Held by somebody: OSV_BAD_INPUT, naming host and process. Changes nothing. */
int osv_run_lock_check(const char *folder, osv_error *e);
/* The folder exists. What failed leaves *lock empty. */
int osv_run_lock_take(osv_run_lock *lock, const char *folder, osv_error *e);
/* Removes the file; of a lock that is not held nothing. */
void osv_run_lock_release(osv_run_lock *lock);

#endif
