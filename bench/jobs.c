#include "bench/jobs.h"

#include <math.h>
#include <stdlib.h>

int bench_jobs_make(bench_jobs *b, const osv_config *c, int jobs, int layer, int prompt, int completion,
                    int iterations, osv_error *e)
{
    int count = prompt + completion;
    size_t J = (size_t)jobs, tokens = J * (size_t)count;
    *b = (bench_jobs){.jobs = jobs,
                      .job = calloc(J, sizeof *b->job),
                      .index = calloc(J, sizeof *b->index),
                      .sequence = calloc(J, sizeof *b->sequence),
                      .ids = calloc(tokens, sizeof *b->ids),
                      .steer = calloc(tokens, sizeof *b->steer)};
    if (!b->job || !b->index || !b->sequence || !b->ids || !b->steer)
        return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (size_t i = 0; i < tokens; i++) {
        b->ids[i] = (int)((i * 7919 + 13) % (size_t)c->V);
        b->steer[i] = 1;
    }
    for (int j = 0; j < jobs; j++) {
        size_t at = (size_t)j * (size_t)count;
        b->index[j] = j;
        b->sequence[j] = (osv_sequence){.count = count,
                                        .prompt = prompt,
                                        .ids = b->ids + at,
                                        .steer = b->steer + at,
                                        .kind = OSV_PROMOTE};
        b->job[j] = (osv_job){.name = "bench",
                              .layer = layer,
                              .options = osv_job_defaults(),
                              .completions = 1,
                              .sequence = &b->sequence[j]};
        b->job[j].options.max_iters = iterations;
        b->job[j].options.plateau_iters = 0;
    }
    return OSV_OK;
}

void bench_jobs_free(bench_jobs *b)
{
    free(b->job);
    free(b->index);
    free(b->sequence);
    free(b->ids);
    free(b->steer);
}
