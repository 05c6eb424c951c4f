#include <math.h>

#include "fuzz.h"
#include "optim/vector_file.h"
#include "tools/train_sweep.h"

/* What a job may be, whatever the file says. */
static void check_job(const train_options *o)
{
    MUST(o->joint ? o->layers >= 1 && o->layers <= OSV_MAX_VECTOR_LAYERS : o->layers == 1);
    for (int i = 0; i < o->layers; i++)
        MUST(o->layer[i] >= (i ? o->layer[i - 1] + 1 : 0) && o->layer[i] < OSV_MAX_BLOCKS);
    MUST(o->form.kind != OSV_FORM_AFFINE || o->form.rank >= 1);
    MUST(isfinite(o->form.clamp) && o->job.max_affine_norm >= 0 && o->job.warmup >= 0);
    MUST(o->job.lr > 0 && isfinite(o->job.lr) && o->job.init_norm >= 0 && isfinite(o->job.init_norm));
    MUST(o->job.max_norm == -1 || o->job.max_norm >= 0);
    MUST(o->job.beta1 >= 0 && o->job.beta1 < 1 && o->job.beta2 >= 0 && o->job.beta2 < 1);
    MUST(o->job.coldness > 0 && o->job.eps > 0 && o->job.eps <= 1 && o->job.adam_eps > 0);
    MUST(o->job.max_iters >= 0 && o->job.target_iters >= 1 && o->job.plateau_iters >= 0);
    MUST(isnan(o->job.target_loss) || isfinite(o->job.target_loss));
}

static void check_sweep(const train_sweep *s)
{
    MUST(s->lines >= 1);
    for (int k = 0; k < s->lines; k++) {
        const train_line *line = &s->line[k];
        int jobs = train_line_jobs(&line->options);
        MUST(line->line >= 1 && (jobs == -1 || (jobs >= 1 && jobs <= TRAIN_MOST_JOBS)));
        MUST(!line->job || line->job[0]);
        for (int i = 0; i < jobs; i += 1 + jobs / 64) {
            train_options o;
            train_line_job(&o, &line->options, i);
            check_job(&o);
        }
    }
}

/* Any file is refused, or gives configurations that can be trained; with and without a --layer beside it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static train_options defaults;
    char *argv[] = {"osv-train", NULL};
    osv_error e = {0};
    if (!defaults.positions) {
        defaults = (train_options){.machine = TOOL_MACHINE_DEFAULT, .job = osv_job_defaults()};
        MUST(osv_options_parse(train_option_table, 1, argv, &defaults, &e) == OSV_OK);
    }
    const char *path = as_file(data, bytes);
    for (int layer = 0; layer < 2; layer++) {
        train_options o = defaults;
        train_sweep s;
        o.sweep = path;
        if (layer) o.layer_text = "1,4-6";
        e = (osv_error){0};
        int status = train_sweep_open(&s, &o, &e);
        check_error(status, &e);
        if (!status) check_sweep(&s);
        train_sweep_close(&s);
    }
    return 0;
}
