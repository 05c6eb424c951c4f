#include "optim/saved_run.h"

#include "fuzz.h"
#include "safetensors_mutate.h"

const char *const fuzz_names[] = {
    "bin.flat",       "bin.iter",    "bin.job",         "bin.last",       "bin.loss",
    "bin.losses",     "bin.bounds",  "bin.multipliers", "bin.met",        "bin.norm",
    "bin.steps",      "bin.stopped", "bin.stopped_at",  "job.iterations", "job.loss",
    "job.loss_start", "job.losses",  "job.nan_iter",    "job.norm",       "job.stage",
    "job.stopped",    "state.0",     "state.1",         "vector.0",       NULL};
const char *const fuzz_metadata[] = {"bin_iterations",
                                     "6",
                                     "format",
                                     "osv-checkpoint/2",
                                     "iterations",
                                     "20",
                                     "jobs",
                                     "4",
                                     "memory",
                                     "0",
                                     "recompute",
                                     "4",
                                     "trace_bytes",
                                     "100",
                                     "trace_bytes",
                                     "-1",
                                     NULL};

void fuzz_made(const uint8_t *data, size_t bytes, bool whole)
{
    (void)data, (void)bytes, (void)whole; /* a whole file need not be one of a run */
}

enum { JOBS = 4, D = 3, N = 5 };

/* Any file is refused, or says where a training can go on. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const int before[] = {0};
    static const osv_job job[JOBS] = {{.completions = 2},
                                      {.completions = 1},
                                      {.completions = 3},
                                      {.completions = 1, .befores = 1, .before = before}};
    const osv_saved_shape shape = {job, JOBS, D, N};
    osv_error e = {0};
    osv_saved_run saved;
    int status = osv_saved_run_read(&saved, as_file(data, bytes), &shape, &e);
    check_error(status, &e);
    if (status) return 0;
    const osv_training_state *s = &saved.state;
    MUST(s->jobs >= 0 && s->jobs <= JOBS && saved.trace_bytes >= 0);
    for (int i = 0; i < s->jobs; i++) {
        MUST(s->job[i] >= 0 && s->job[i] < JOBS && s->stage[s->job[i]] != OSV_JOB_WAITS);
        for (int k = 0; k < i; k++) MUST(s->job[k] != s->job[i]);
        MUST(s->state[s->job[i]].stopped == saved.outcome[s->job[i]].stopped);
        MUST(s->state[s->job[i]].iter <= s->state[s->job[i]].steps);
    }
    for (int j = 0; j < JOBS; j++) MUST((s->stage[j] == OSV_JOB_ENDED) == (saved.outcome[j].losses != NULL));
    osv_saved_run_free(&saved, &shape);
    return 0;
}
