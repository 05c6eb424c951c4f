/* Iterations for a profiler that looks at the process (Nsight Systems, Nsight Compute): after some to warm
 * up, the profiler collects `count` iterations op by op, in which every op and every part of a pass is a
 * range of its name, and then `count` as they always run, recorded, in which the gaps between kernels are
 * real. */
#ifndef OSV_OPTIM_PROFILE_H
#define OSV_OPTIM_PROFILE_H

#include "kernels/ops.h"

enum { OSV_PROFILE_WARM = 4 }; /* both graphs are recorded and have run once more */

/* Starts with ops and count alone. */
typedef struct {
    osv_ops *o;
    int count;     /* 0: nothing is profiled */
    int iteration; /* begun so far */
    bool on;       /* the profiler collects */
} osv_profile;

/* True where the next iteration is run in another way than the one before. */
bool osv_profile_turns(const osv_profile *p);
/* Around an iteration; begin says whether it is to run op by op. */
bool osv_profile_begin(osv_profile *p);
void osv_profile_end(osv_profile *p);
/* Where the training ended before the profile did. */
void osv_profile_close(osv_profile *p);

#endif
