#include "tools/train_parity.h"

#include <stdbool.h>
#include <string.h>

static void extra_step(train_options *o)
{
    o->job.parity |= OSV_PARITY_EXTRA_STEP;
}

static void step_after_target(train_options *o)
{
    o->job.parity |= OSV_PARITY_STEP_AFTER_TARGET;
}

static void plateau(train_options *o)
{
    o->job.parity |= OSV_PARITY_PLATEAU_TOTAL;
    o->job.plateau_eps = o->job.eps;
    o->job.plateau_iters = o->job.target_iters;
}

static void constant_norm(train_options *o)
{
    o->form.constant_norm = o->form.kind == OSV_FORM_CLAMP;
}

static void cut(train_options *o)
{
    o->form.cut = o->joint;
}

static void one_minus(train_options *o)
{
    o->negated = false;
}

static const struct {
    const char *name;
    void (*set)(train_options *o);
} switches[] = {
    {"extra-step", extra_step},
    {"step-after-target", step_after_target},
    {"plateau", plateau},
    {"constant-norm", constant_norm},
    {"cut", cut},
    {"one-minus", one_minus},
};

int train_parity_resolve(train_options *o, osv_error *e)
{
    if (!o->parity) return OSV_OK;
    bool all = strcmp(o->parity, "reference") == 0;
    for (const char *name = o->parity;; name++) {
        size_t length = strcspn(name, ",");
        bool known = all;
        for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
            if (!all && (strlen(switches[i].name) != length || strncmp(switches[i].name, name, length) != 0))
                continue;
            switches[i].set(o);
            known = true;
        }
        if (!known)
            return OSV_FAIL(
                e, OSV_USAGE,
                "--parity %s: must be reference, or some of extra-step, step-after-target, plateau, "
                "constant-norm, cut, one-minus",
                o->parity);
        name += length;
        if (*name == '\0') return OSV_OK;
    }
}
