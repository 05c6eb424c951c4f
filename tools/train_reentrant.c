#include "tools/train_reentrant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader/file.h"
#include "optim/run_directory.h"
#include "tools/train_setup.h"

/* As in the work that reentrant steering is from, where the command line does not say otherwise. */
static const double EARLY_LR = 0.1, EARLY_TARGET_LOSS = 0.01;
enum { EARLY_MAX_ITERS = 50, EARLY_TARGET_ITERS = 20 };

static int set(train_options *o, const char *option, const char *value, osv_error *e)
{
    return osv_option_set(osv_options_find(train_option_table, option), value, o, e);
}

/* A map of rank 1 without a vector: what both runs have in common, and defaults for the rest. */
static int make_early(train_reentrant *r, const train_options *o, osv_error *e)
{
    train_options *early = &r->early;
    OSV_TRY(train_options_default(early, e));
    early->stage = OSV_STAGE_EARLY;
    early->model = o->model;
    early->data = o->data;
    early->out = r->folder;
    early->force = o->force;
    early->resume = o->resume;
    early->checkpoint_every = o->checkpoint_every;
    early->machine = o->machine;
    early->memory = o->memory;
    early->json = o->json;
    early->quiet = o->quiet;
    early->positions = o->positions;
    early->chat = o->chat;
    early->boundary = o->boundary;
    early->suppress = o->suppress;
    early->beta = o->beta;
    early->preference_signs = o->preference_signs;
    early->beam = o->beam;
    early->beam_width = o->beam_width;
    early->beam_tokens = o->beam_tokens;
    early->beam_rank = o->beam_rank;
    early->parity = o->parity;
    early->seeds = o->seeds;
    osv_option_one_seed(&early->seeds, 0);
    early->job.coldness = o->job.coldness;
    early->job.eps = o->job.eps;
    early->job.length_norm = o->job.length_norm;
    early->job.init_affine_norm = o->job.init_affine_norm;
    early->job.max_affine_norm = o->job.max_affine_norm;

    snprintf(r->layer, sizeof r->layer, "%d", o->reentrant);
    early->layer_text = r->layer;
    early->apply = "affine";
    OSV_TRY(set(early, "max-norm", "0", e));
    OSV_TRY(set(early, "init-norm", "0", e));
    early->lr.value[0] = isnan(o->early_lr) ? EARLY_LR : o->early_lr;
    early->target.kind = OSV_TARGET_NATS;
    early->target.x = isnan(o->early_target_loss) ? EARLY_TARGET_LOSS : o->early_target_loss;
    early->job.target_iters = EARLY_TARGET_ITERS;
    early->job.max_iters = o->early_max_iters < 0 ? EARLY_MAX_ITERS : o->early_max_iters;
    return train_options_resolve(early, e);
}

static void make_late(train_reentrant *r, const train_options *o)
{
    r->late = *o;
    r->late.stage = OSV_STAGE_LATE;
    if (r->folder) r->late.teacher.vector = (osv_option_list){.count = 1, .item = {r->folder}};
}

/* A plan of the late run needs no teacher, which is not there yet. */
static int check_late(const train_reentrant *r, osv_error *e)
{
    train_options plan = r->late;
    osv_run_mode mode = plan.force ? OSV_RUN_REPLACE : plan.resume ? OSV_RUN_RESUME : OSV_RUN_NEW;
    train_setup s;
    plan.plan = true;
    plan.teacher.vector.count = 0;
    OSV_TRY(osv_run_check(plan.out, mode, e));
    int status = train_setup_open(&s, &plan, e);
    train_setup_close(&s);
    return status;
}

int train_reentrant_make(train_reentrant *r, const train_options *o, osv_error *e)
{
    *r = (train_reentrant){0};
    if (o->plan || o->list) { /* there is no early run */
        make_late(r, o);
        return OSV_OK;
    }
    OSV_TRY(osv_path_join(&r->folder, o->out, "early", e));
    OSV_TRY(make_early(r, o, e));
    make_late(r, o);
    return check_late(r, e);
}

void train_reentrant_free(train_reentrant *r)
{
    free(r->folder);
    *r = (train_reentrant){0};
}
