#include "optim/objective.h"

#include <math.h>
#include <stdlib.h>

#include "optim/random.h"

osv_terms osv_terms_of(const osv_job *job, int c)
{
    const osv_job_options *o = &job->options;
    const osv_sequence *s = &job->sequence[c];
    osv_goal g = osv_job_goal(job, c);
    bool mean = o->length_norm || g.mean || s->target_layer > 0;
    return (osv_terms){.scale = mean ? 1.0 / osv_sequence_losses(s) : 1,
                       .weight = g.weight,
                       .target = o->satisfice && !g.aside ? osv_job_target(job, c) : NAN,
                       .partner = g.partner,
                       .beta = g.beta,
                       .reference = g.reference,
                       .bound = g.bound};
}

double osv_weight_of(const osv_job *job, int c, int steps)
{
    osv_goal g = osv_job_goal(job, c);
    if (g.sign == 0) return g.weight;
    int drawn = osv_random_sign(job->options.seed, osv_job_draws(job), (unsigned)steps);
    return drawn == g.sign ? 2 * g.weight : 0;
}

enum { ARRAYS = 6 }; /* of numbers: scale, weight, target, beta, reference, bound */

static void fill(osv_real *numbers, int *partner, osv_multiplier *multiplier, size_t C, const osv_job *all,
                 const int *job, int J)
{
    size_t c = 0;
    for (int j = 0; j < J; j++) {
        const osv_job *own = &all[job ? job[j] : j];
        size_t first = c;
        for (int k = 0; k < own->completions; k++, c++) {
            const osv_terms t = osv_terms_of(own, k);
            const double value[ARRAYS] = {t.scale, t.weight, t.target, t.beta, t.reference, t.bound};
            for (size_t i = 0; i < ARRAYS; i++) numbers[i * C + c] = (osv_real)value[i];
            multiplier[c] = (osv_multiplier){.slack = (osv_real)NAN};
            partner[c] = t.partner < 0 ? -1 : (int)first + t.partner;
        }
    }
}

void osv_objective_place(osv_objective *out, osv_bump *memory, const osv_batch *batch, const osv_job *all,
                         const int *job, int J)
{
    osv_ops *o = memory->o;
    size_t C = (size_t)batch->C;
    osv_real *numbers = o ? malloc(ARRAYS * C * sizeof *numbers + 1) : NULL;
    int *partner = o ? malloc(C * sizeof *partner + 1) : NULL;
    osv_multiplier *multiplier = o ? malloc(C * sizeof *multiplier + 1) : NULL;
    if (o && (!numbers || !partner || !multiplier)) OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    bool made = o && !osv_ops_status(o);
    if (made) fill(numbers, partner, multiplier, C, all, job, J);
    const int *first = osv_put(memory, batch->completion_first, C + 1, sizeof *first);
    const int *score =
        osv_put(memory, batch->completion_score, (size_t)batch->completion_tokens, sizeof *score);
    const osv_real *on_device = made ? osv_put(memory, numbers, ARRAYS * C, sizeof *numbers)
                                     : osv_take(memory, ARRAYS * C, sizeof *numbers);
    const int *partners = made ? osv_put(memory, partner, C, sizeof *partner)
                               : osv_take(memory, C, sizeof *partner);
    osv_multiplier *multipliers = made ? osv_put(memory, multiplier, C, sizeof *multiplier)
                                       : osv_take(memory, C, sizeof *multiplier);
    if (o) o->sync(o, 0); /* the host's arrays are read until here */
    free(numbers);
    free(partner);
    free(multiplier);
    *out = (osv_objective){
        .C = batch->C, .first = first, .score = score, .partner = partners, .multiplier = multipliers};
    if (!on_device) return;
    out->scale = on_device;
    out->weight = on_device + C;
    out->target = on_device + 2 * C;
    out->beta = on_device + 3 * C;
    out->reference = on_device + 4 * C;
    out->bound = on_device + 5 * C;
}
