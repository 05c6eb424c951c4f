#include "optim/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int osv_job_state_open(osv_job_state *s, size_t numbers, int completions, osv_error *e)
{
    *s = (osv_job_state){0};
    s->vector = calloc(numbers * OSV_STATE_ROWS, sizeof *s->vector);
    s->losses = calloc((size_t)completions + 1, sizeof *s->losses);
    s->bound = calloc((size_t)completions + 1, sizeof *s->bound);
    s->multiplier = calloc((size_t)completions + 1, sizeof *s->multiplier);
    if (!s->vector || !s->losses || !s->bound || !s->multiplier) {
        osv_job_state_close(s);
        return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    }
    for (int c = 0; c < completions; c++) s->multiplier[c].slack = (osv_real)NAN;
    s->m = s->vector + numbers * OSV_HISTORY;
    s->s = s->m + numbers;
    s->kept = s->s + numbers;
    return OSV_OK;
}

void osv_job_state_copy(osv_job_state *to, const osv_job_state *from, size_t numbers, int completions)
{
    osv_job_state own = *to;
    *to = *from;
    to->vector = own.vector;
    to->m = own.m;
    to->s = own.s;
    to->kept = own.kept;
    to->bound = own.bound;
    to->losses = own.losses;
    to->multiplier = own.multiplier;
    memcpy(to->vector, from->vector, numbers * OSV_STATE_ROWS * sizeof *to->vector);
    memcpy(to->losses, from->losses, (size_t)completions * sizeof *to->losses);
    memcpy(to->bound, from->bound, (size_t)completions * sizeof *to->bound);
    memcpy(to->multiplier, from->multiplier, (size_t)completions * sizeof *to->multiplier);
}

/* What is known without them stays: the job's verdict. */
void osv_job_state_close(osv_job_state *s)
{
    free(s->vector);
    free(s->losses);
    free(s->bound);
    free(s->multiplier);
    s->vector = s->m = s->s = s->kept = NULL;
    s->losses = s->bound = NULL;
    s->multiplier = NULL;
}
