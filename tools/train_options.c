#include "tools/train_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapoints.h"
#include "optim/form.h"
#include "optim/profile.h"
#include "optim/vector_file.h"
#include "tools/train_parity.h"

#define FIELD(name) .offset = offsetof(train_options, name)
#define AT_LEAST(x) .low = (x), .high = INFINITY
#define ABOVE(x)    .low = (x), .high = INFINITY, .above = true

const osv_option train_option_table[] = {
    {"model", "DIR", NULL, "model folder as downloaded, or random:SHAPE (random: lists them)",
     OSV_OPTION_TEXT, FIELD(model), .group = "What is trained:"},
    {"data", "FILE", NULL, "datapoints, JSON Lines: prompt, promote, suppress, match, anchor, ...",
     OSV_OPTION_TEXT, FIELD(data)},
    {"layer", "L", NULL, "the vector enters block L: 12 | 10,12 | 8-14", OSV_OPTION_TEXT, FIELD(layer_text)},
    {"out", "DIR", NULL, "folder of the run: vectors/, trace.jsonl, run.json", OSV_OPTION_TEXT, FIELD(out)},
    {"force", NULL, NULL, "replace a run, or a dump, that is in the folder already", OSV_OPTION_FLAG,
     FIELD(force)},
    {"resume", NULL, NULL, "go on with the run in --out where it was interrupted or killed", OSV_OPTION_FLAG,
     FIELD(resume)},
    {"checkpoint-every", "N", "50", "iterations between two checkpoints; 0: only when interrupted",
     OSV_OPTION_INT, FIELD(checkpoint_every), .low = 0, .high = INT_MAX},
    {"apply", "FORM", "add", "how it enters: add | add-norm | clamp | ablate | affine, see below",
     OSV_OPTION_TEXT, FIELD(apply)},
    {"clamp", "C", "1", "of --apply clamp: the component along v becomes C |v|", OSV_OPTION_NUMBER,
     FIELD(clamp), .low = -INFINITY, .high = INFINITY},
    {"offset", "FILE", NULL, "of --apply clamp: a vector whose component along v is kept", OSV_OPTION_TEXT,
     FIELD(offset)},
    {"rank", "R", "1", "of the map of --apply affine", OSV_OPTION_INT, FIELD(rank), .low = 1, .high = 4096},
    {"joint", "shared|per-layer", NULL, "one job for all of --layer: one vector, or one for each",
     OSV_OPTION_TEXT, FIELD(joint_text)},
    {"init", "FILE", NULL, "start from this vector file, taken as it is, instead of a random one",
     OSV_OPTION_TEXT, FIELD(init)},
    {"init-norm", "X", "1", "norm of the random start vector", OSV_OPTION_NUMBERS, FIELD(init_norm),
     AT_LEAST(0)},
    {"init-affine-norm", "X", "1", "norm of each row of a random map's two factors", OSV_OPTION_NUMBER,
     FIELD(job.init_affine_norm), AT_LEAST(0)},
    {"seed", "N", "0", "of the random start vectors", OSV_OPTION_SEEDS, FIELD(seeds), .high = 1},
    {"seeds", "N-N,N", NULL, "in place of --seed: 0-23 | 0,3,7-9", OSV_OPTION_SEEDS, FIELD(seeds),
     .high = TRAIN_MOST_JOBS},
    {"orthogonal", NULL, NULL, "vectors of --seeds one after the other, each orthogonal to those before",
     OSV_OPTION_FLAG, FIELD(orthogonal)},
    {"orthogonal-to", "FILE,..", NULL, "vectors that all are kept orthogonal to", OSV_OPTION_TEXT,
     FIELD(orthogonal_to)},
    {"sweep", "FILE", NULL, "configurations, JSON Lines: see below", OSV_OPTION_TEXT, FIELD(sweep)},

    {"lr", "X", "0.01", "learning rate of Adam", OSV_OPTION_NUMBERS, FIELD(lr), ABOVE(0),
     .group = "Optimizer:"},
    {"lr-schedule", "constant|linear|cosine", "constant", "how it falls to 0 over --max-iters",
     OSV_OPTION_CHOICE, FIELD(schedule)},
    {"warmup", "N", "0", "first steps, over which it rises", OSV_OPTION_INT, FIELD(job.warmup), .low = 0,
     .high = INT_MAX},
    {"max-iters", "N", "100", "steps at most", OSV_OPTION_INT, FIELD(job.max_iters), .low = 0,
     .high = INT_MAX},
    {"betas", "B1,B2", "0.9,0.999", "decay of Adam's two moments", OSV_OPTION_TEXT, FIELD(betas)},
    {"adam-eps", "X", "1e-8", "added to the root of Adam's second moment", OSV_OPTION_NUMBER,
     FIELD(job.adam_eps), ABOVE(0)},
    {"max-norm", "X", NULL, "longest vector; scaled back after each step (default: no limit)",
     OSV_OPTION_NUMBERS, FIELD(max_norm), AT_LEAST(0)},
    {"max-affine-norm", "X", "2", "longest row of the map's factors; scaled back after each step",
     OSV_OPTION_NUMBER, FIELD(job.max_affine_norm), AT_LEAST(0)},

    {"noise", "X", "0", "take gradients at v + noise, each component normal of this deviation",
     OSV_OPTION_NUMBER, FIELD(job.noise), AT_LEAST(0)},
    {"noise-draws", "N", "1", "draws of it a step, whose gradients are averaged", OSV_OPTION_INT,
     FIELD(job.noise_draws), .low = 1, .high = 1000},
    {"noise-kind", "plain|tangent|no-gain|anti", "plain", "what is left of a draw: see below",
     OSV_OPTION_CHOICE, FIELD(noise_kind)},

    {"coldness", "X", "0.7", "c in P = softmax(c x logits)", OSV_OPTION_NUMBER, FIELD(job.coldness), ABOVE(0),
     .group = "Loss, in nats:"},
    {"eps", "X", "1e-6", "inside the logarithms; also the slack of --satisfice", OSV_OPTION_NUMBER,
     FIELD(job.eps), .low = 0, .high = 1, .above = true},
    {"suppress-loss", "one-minus|negated", "one-minus", "-ln(1 - P + eps) or +ln(P + eps)", OSV_OPTION_CHOICE,
     FIELD(suppress)},
    {"melbo", "L", NULL, "score no tokens: go as far as possible from the unsteered stream at block L",
     OSV_OPTION_INT, FIELD(melbo), .low = 1, .high = OSV_MAX_BLOCKS - 1},
    {"melbo-power", "P", "1", "of the distance, before the mean over positions", OSV_OPTION_NUMBER,
     FIELD(job.power), .low = 1, .high = 8},
    {"length-norm", NULL, NULL, "divide each completion's loss by its number of tokens", OSV_OPTION_FLAG,
     FIELD(job.length_norm)},
    {"satisfice", NULL, NULL, "bring each loss to its target instead of as low as it goes", OSV_OPTION_FLAG,
     FIELD(job.satisfice)},
    {"l1", "W", "0", "optimize W |v|_1 as well, which makes components small; not in the loss",
     OSV_OPTION_NUMBER, FIELD(job.l1), AT_LEAST(0)},
    {"group-sparsity", "W", "0", "of --joint per-layer: W times the sum of the vectors' norms, likewise",
     OSV_OPTION_NUMBER, FIELD(job.group_sparsity), AT_LEAST(0)},

    {"beta", "X", "0.1", "of \"prefer\": weight of a log-probability against the unsteered one",
     OSV_OPTION_NUMBER, FIELD(beta), ABOVE(0), .group = "Preferences:"},
    {"preference-signs", "plus|both|random", "plus",
     "+v prefers what is chosen, and -v what is rejected; or one, drawn", OSV_OPTION_CHOICE,
     FIELD(preference_signs)},

    {"promote-from-beam", NULL, NULL,
     "promote the likeliest continuation of each prompt, found by beam search", OSV_OPTION_FLAG, FIELD(beam),
     .group = "Beam search:"},
    {"beam-width", "N", "5", "continuations that are followed", OSV_OPTION_INT, FIELD(beam_width), .low = 1,
     .high = 1024},
    {"beam-tokens", "N", "8", "tokens of what is found, at most", OSV_OPTION_INT, FIELD(beam_tokens),
     .low = 1, .high = 1024},
    {"beam-rank", "total|last", "total", "by the probability of all tokens, or of the last one alone",
     OSV_OPTION_CHOICE, FIELD(beam_rank)},

    {"teacher", "FILE[:SCALE]", NULL,
     "of \"match\": the model steered by this; or a run's folder; repeatable", OSV_OPTION_LIST,
     FIELD(teacher.vector), .group = "Matching a teacher, and anchors:"},
    {"teacher-apply", "FORM", NULL, "how its vectors enter (default: as the files say)", OSV_OPTION_TEXT,
     FIELD(teacher.apply)},
    {"match-tokens", "N", "10", "tokens that the teacher writes where \"match\" is true", OSV_OPTION_INT,
     FIELD(match_tokens), .low = 1, .high = 4096},
    {"kl", "forward|reverse", "forward", "KL(teacher || steered), or the other way round", OSV_OPTION_CHOICE,
     FIELD(kl)},
    {"anchor-weight", "X", "1", "weight of KL(unsteered || steered) at anchors, mean over tokens",
     OSV_OPTION_NUMBER, FIELD(anchor_weight), AT_LEAST(0)},
    {"anchor-bound", "X", NULL, "in place of a weight: each anchor's KL stays below, nats", OSV_OPTION_NUMBER,
     FIELD(anchor_bound), ABOVE(0)},
    {"bound-lr", "X", "0.1", "learning rate of the multipliers that hold bounds", OSV_OPTION_NUMBER,
     FIELD(job.bound_lr), ABOVE(0)},

    {"reentrant", "EARLY", NULL, "train a teacher first, a map of rank 1 at block EARLY: see below",
     OSV_OPTION_INT, FIELD(reentrant), .low = 0, .high = OSV_MAX_BLOCKS - 1, .group = "Reentrant steering:"},
    {"early-lr", "X", NULL, "learning rate of the map (default 0.1)", OSV_OPTION_NUMBER, FIELD(early_lr),
     ABOVE(0)},
    {"early-max-iters", "N", NULL, "steps of it at most (default 50)", OSV_OPTION_INT, FIELD(early_max_iters),
     .low = 0, .high = INT_MAX},
    {"early-target-loss", "X", NULL, "it is done after 20 iterations at this loss, nats (default 0.01)",
     OSV_OPTION_NUMBER, FIELD(early_target_loss), .low = -INFINITY, .high = INFINITY},

    {"target-loss", "X", NULL, "stop at this loss: nats, or as unsteered, or 0.75x that (default: do not)",
     OSV_OPTION_TARGET, FIELD(target), .group = "Stopping:"},
    {"target-rule", "sum|each", "sum", "compare the sum of the losses, or each completion's",
     OSV_OPTION_CHOICE, FIELD(target_rule)},
    {"target-iters", "N", "1", "iterations in a row that have to meet the target", OSV_OPTION_INT,
     FIELD(job.target_iters), .low = 1, .high = INT_MAX},
    {"min-norm", "N", "0", "then N iterations that shorten the vector, with no loss higher", OSV_OPTION_INT,
     FIELD(job.min_norm_iters), .low = 0, .high = INT_MAX / 4},
    {"min-norm-lr", "X", NULL, "learning rate of these (default: --lr)", OSV_OPTION_NUMBER,
     FIELD(job.min_norm_lr), ABOVE(0)},
    {"plateau-eps", "X", "1e-6", "a change of the loss below this counts as none, nats", OSV_OPTION_NUMBER,
     FIELD(job.plateau_eps), AT_LEAST(0)},
    {"plateau-iters", "N", "1", "stop after so many such changes in a row; 0: never", OSV_OPTION_INT,
     FIELD(job.plateau_iters), .low = 0, .high = INT_MAX},
    {"parity", "reference|LIST", NULL,
     "train as the published implementation does, quirks and all: see below", OSV_OPTION_TEXT, FIELD(parity)},

    {"positions", "SPEC", "all", "steered: all | prompt | completion, or a slice such as prompt:-20:",
     OSV_OPTION_TEXT, FIELD(positions), .group = "Tokens:"},
    {"chat", "FORMAT", "auto", "how \"messages\" become text; auto: as the model's own template",
     OSV_OPTION_TEXT, FIELD(chat)},
    {"boundary", "auto|joint|apart", "auto", "how text is split between prompt and completion",
     OSV_OPTION_CHOICE, FIELD(boundary)},

    {"scan", NULL, NULL, "print what each block offers and suggest some; with --out train there",
     OSV_OPTION_FLAG, FIELD(scan), .group = "Where to steer:"},
    {"scan-norm", "X", "0.1", "the step that is judged, in lengths of the residual stream", OSV_OPTION_NUMBER,
     FIELD(scan_norm), ABOVE(0)},
    {"scan-positions", NULL, NULL, "print each token at each block as well", OSV_OPTION_FLAG,
     FIELD(scan_positions)},

    TOOL_MACHINE_OPTIONS,
    TOOL_RANK_OPTIONS,
    {"split-data", NULL, NULL, "replicas divide the completions of each job, not the jobs", OSV_OPTION_FLAG,
     FIELD(machine.share)},
    {"memory", "SIZE", NULL, "memory for all of it, such as 20G (default: what is free)", OSV_OPTION_BYTES,
     FIELD(memory)},
    {"profile", "N", NULL, "an attached profiler sees N iterations op by op, then N as they run",
     OSV_OPTION_INT, FIELD(profile), .low = 1, .high = 1000},
    {"dump", "DIR", NULL, "no training: what every block computes at the start vectors, and its gradients",
     OSV_OPTION_TEXT, FIELD(dump)},
    {"plan", NULL, NULL, "print tokens, work and memory of each bin of jobs, and run nothing",
     OSV_OPTION_FLAG, FIELD(plan)},
    {"ranks", "N", NULL, "of --plan: started in all, N / --tp replicas of the model (default: --tp)",
     OSV_OPTION_INT, FIELD(ranks), .low = 1, .high = 1 << 20},
    {"host-ranks", "N", "8", "of --plan: ranks of a host", OSV_OPTION_INT, FIELD(host_ranks), .low = 1,
     .high = OSV_RANKS},
    {"host-network", "X", NULL, "of --plan: between hosts, Gbit/s (default: 3200 with cuda, else 10)",
     OSV_OPTION_NUMBER, FIELD(host_network), ABOVE(0)},
    {"list", NULL, NULL, "print the jobs, with --json one object a line, and run nothing", OSV_OPTION_FLAG,
     FIELD(list)},

    {"json", NULL, NULL, "results as one JSON object", OSV_OPTION_FLAG, FIELD(json), .group = "Output:"},
    {"quiet", NULL, NULL, "no progress and no notes on standard error", OSV_OPTION_FLAG, FIELD(quiet)},
    {"verbose", NULL, NULL, "each rank says on standard error what it does", OSV_OPTION_FLAG, FIELD(verbose)},
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {"version", NULL, NULL, "version, commit, compiler, libraries", OSV_OPTION_FLAG, FIELD(version)},
    {0},
};

static int add_layer(train_options *o, int layer, osv_error *e)
{
    for (int i = 0; i < o->layers; i++)
        if (o->layer[i] == layer)
            return OSV_FAIL(e, OSV_USAGE, "--layer %s: names layer %d twice", o->layer_text, layer);
    o->layer[o->layers++] = layer; /* there is room: numbers below OSV_MAX_BLOCKS, none twice */
    return OSV_OK;
}

/* "12", "10,12", "8-14", "1,4-6" */
static int parse_layers(train_options *o, osv_error *e)
{
    char part[32];
    o->layers = 0;
    for (const char *s = o->layer_text;; s++) {
        size_t length = strcspn(s, ",");
        int first, last;
        if (length >= sizeof part) break;
        memcpy(part, s, length);
        part[length] = '\0';
        char *dash = strchr(part, '-');
        if (dash) *dash = '\0';
        if (!osv_parse_int(part, 0, OSV_MAX_BLOCKS - 1, &first)) break;
        if (!osv_parse_int(dash ? dash + 1 : part, first, OSV_MAX_BLOCKS - 1, &last)) break;
        for (int layer = first; layer <= last; layer++) OSV_TRY(add_layer(o, layer, e));
        s += length;
        if (*s == '\0') return OSV_OK;
    }
    return OSV_FAIL(e, OSV_USAGE, "--layer %s: must be block numbers below %d such as 12, 10,12 or 8-14",
                    o->layer_text, OSV_MAX_BLOCKS);
}

static int parse_betas(train_options *o, osv_error *e)
{
    char first[64];
    const char *comma = strchr(o->betas, ',');
    if (comma && comma - o->betas < (ptrdiff_t)sizeof first) {
        memcpy(first, o->betas, (size_t)(comma - o->betas));
        first[comma - o->betas] = '\0';
        double b1, b2;
        if (osv_parse_number(first, &b1) && osv_parse_number(comma + 1, &b2) && b1 >= 0 && b1 < 1 &&
            b2 >= 0 && b2 < 1) {
            o->job.beta1 = b1;
            o->job.beta2 = b2;
            return OSV_OK;
        }
    }
    return OSV_FAIL(e, OSV_USAGE, "--betas %s: must be two numbers from 0 to below 1, such as 0.9,0.999",
                    o->betas);
}

static int resolve_form(train_options *o, osv_error *e)
{
    if (!osv_form_parse(&o->form, o->apply) || strchr(o->apply, ':'))
        return OSV_FAIL(e, OSV_USAGE, "--apply %s: must be add, add-norm, clamp, ablate or affine", o->apply);
    bool clamp = strcmp(o->apply, "clamp") == 0;
    if (clamp) o->form.clamp = o->clamp;
    if (!clamp && o->clamp != 1)
        return OSV_FAIL(e, OSV_USAGE, "--clamp %g: only --apply clamp has a use for it", o->clamp);
    if (!clamp && o->offset)
        return OSV_FAIL(e, OSV_USAGE, "--offset %s: only --apply clamp has a use for it", o->offset);
    o->form.offset = o->offset != NULL;
    if (o->form.kind == OSV_FORM_AFFINE) o->form.rank = o->rank;
    if (o->form.kind != OSV_FORM_AFFINE && o->rank != 1)
        return OSV_FAIL(e, OSV_USAGE, "--rank %d: only --apply affine has a use for it", o->rank);
    return OSV_OK;
}

static bool starts_at_zero(const train_options *o)
{
    for (int i = 0; !o->init && i < o->init_norm.count; i++)
        if (o->init_norm.value[i] == 0 && o->form.kind != OSV_FORM_AFFINE) return true;
    return false;
}

/* No token is scored, and the loss is a mean. */
static int check_melbo(const train_options *o, osv_error *e)
{
    const osv_job_options *j = &o->job;
    const struct {
        bool given;
        const char *option, *why;
    } useless[] = {
        {o->negated, "suppress-loss negated", "scores no tokens"},
        {j->length_norm, "length-norm", "is a mean over positions in any case"},
        {o->scan, "scan", "has no gradient where nothing has moved, which is where a scan looks"},
        {o->reentrant >= 0, "reentrant", "matches no distribution"},
        {starts_at_zero(o), "init-norm 0",
         "has no gradient where nothing has moved: the vector would stay 0"},
    };
    if (!o->melbo && j->power != 1)
        return OSV_FAIL(e, OSV_USAGE, "--melbo-power %g: only --melbo has a use for it", j->power);
    for (int i = 0; o->melbo && i < o->layers; i++)
        if (o->layer[i] >= o->melbo)
            return OSV_FAIL(
                e, OSV_USAGE,
                "--melbo %d: the distance is taken above the vector, and --layer %s enters block %d",
                o->melbo, o->layer_text, o->layer[i]);
    for (size_t i = 0; o->melbo && i < sizeof useless / sizeof *useless; i++)
        if (useless[i].given)
            return OSV_FAIL(e, OSV_USAGE, "--%s with --melbo: that %s", useless[i].option, useless[i].why);
    return OSV_OK;
}

static int check_orthogonal(const train_options *o, osv_error *e)
{
    const char *option = o->orthogonal ? "orthogonal" : o->orthogonal_to ? "orthogonal-to" : NULL;
    if (o->orthogonal && o->seeds.count < 2)
        return OSV_FAIL(e, OSV_USAGE,
                        "--orthogonal: one vector has nothing to be orthogonal to; give several --seeds");
    if (option && o->form.kind == OSV_FORM_AFFINE)
        return OSV_FAIL(e, OSV_USAGE, "--%s with --apply affine: a map has no direction", option);
    if (option && o->dump)
        return OSV_FAIL(e, OSV_USAGE, "--%s with --dump: it looks at the start vectors alone", option);
    return OSV_OK;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int resolve_joint(train_options *o, osv_error *e)
{
    o->joint = o->joint_text != NULL;
    if (!o->joint) return OSV_OK;
    o->apart = strcmp(o->joint_text, "per-layer") == 0;
    if (!o->apart && strcmp(o->joint_text, "shared") != 0)
        return OSV_FAIL(e, OSV_USAGE, "--joint %s: must be shared or per-layer", o->joint_text);
    if (o->layers > OSV_MAX_VECTOR_LAYERS)
        return OSV_FAIL(e, OSV_USAGE, "--joint %s: %d layers, at most %d go into one job", o->joint_text,
                        o->layers, OSV_MAX_VECTOR_LAYERS);
    qsort(o->layer, (size_t)o->layers, sizeof *o->layer, by_number);
    return OSV_OK;
}

static int check_penalties(const train_options *o, osv_error *e)
{
    if (o->job.group_sparsity == 0 || (o->joint && o->apart)) return OSV_OK;
    return OSV_FAIL(
        e, OSV_USAGE,
        "--group-sparsity %g: chooses between the vectors of --joint per-layer; one vector alone is "
        "kept short by --max-norm, its components sparse by --l1",
        o->job.group_sparsity);
}

static int check_anchors(const train_options *o, osv_error *e)
{
    bool bounded = !isnan(o->anchor_bound);
    if (bounded && o->anchor_weight != 1)
        return OSV_FAIL(e, OSV_USAGE,
                        "--anchor-bound %g takes the place of --anchor-weight: give one of them",
                        o->anchor_bound);
    if (!bounded && o->job.bound_lr != 0.1)
        return OSV_FAIL(e, OSV_USAGE, "--bound-lr %g: there is no bound; give --anchor-bound",
                        o->job.bound_lr);
    return OSV_OK;
}

static int check_required(const train_options *o, osv_error *e)
{
    const struct {
        const char *value, *name, *what;
    } required[] = {
        {o->model, "model", "the folder of the model"},
        {o->data, "data", "the file of datapoints"},
        {o->sweep || o->scan ? "" : o->layer_text, "layer", "the block that the vector enters"},
        {o->plan || o->list || o->dump || o->scan ? "" : o->out, "out", "the folder of the run"},
    };
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!required[i].value)
            return OSV_FAIL(e, OSV_USAGE, "--%s is missing: %s", required[i].name, required[i].what);
    if (o->plan && o->list) return OSV_FAIL(e, OSV_USAGE, "--plan and --list: one of them at a time");
    return OSV_OK;
}

static int check_plan(const train_options *o, osv_error *e)
{
    const char *only = o->ranks             ? "ranks"
                       : o->host_ranks != 8 ? "host-ranks"
                       : o->host_network    ? "host-network"
                                            : NULL;
    if (o->plan || !only) return OSV_OK;
    return OSV_FAIL(e, OSV_USAGE,
                    "--%s: only --plan has a use for it; how many ranks there are says who starts them",
                    only);
}

int train_options_resolve(train_options *o, osv_error *e)
{
    if (o->layer_text) OSV_TRY(parse_layers(o, e));
    OSV_TRY(parse_betas(o, e));
    o->job.lr = o->lr.value[0];
    o->job.init_norm = o->init_norm.value[0];
    o->job.max_norm = o->max_norm.count ? o->max_norm.value[0] : -1;
    o->job.seed = osv_option_seed(&o->seeds, 0);
    o->job.target_loss = o->target.kind == OSV_TARGET_NATS ? o->target.x : NAN;
    o->job.target_rule = o->target_rule == 1 ? OSV_TARGET_EACH : OSV_TARGET_SUM;
    o->job.schedule = (osv_lr_schedule)o->schedule;
    o->negated = o->suppress == 1;
    o->signs = (train_signs)o->preference_signs;
    o->reverse = o->kl == 1;
    o->teacher.layer = -1;
    o->teacher.teacher = true;
    OSV_TRY(resolve_joint(o, e));
    o->job.noise_kind = (osv_noise_kind)o->noise_kind;
    if (o->job.noise == 0 && (o->noise_kind != 0 || o->job.noise_draws != 1))
        return OSV_FAIL(e, OSV_USAGE, "--noise-%s: there is no noise; give --noise",
                        o->noise_kind != 0 ? "kind" : "draws");
    OSV_TRY(check_penalties(o, e));
    OSV_TRY(check_anchors(o, e));
    OSV_TRY(resolve_form(o, e));
    OSV_TRY(check_melbo(o, e));
    OSV_TRY(check_orthogonal(o, e));
    return train_parity_resolve(o, e);
}

static int check_split(const train_options *o, osv_error *e)
{
    const char *other = o->plan ? "plan" : o->dump ? "dump" : NULL;
    if (!o->machine.share || !other) return OSV_OK;
    return OSV_FAIL(e, OSV_USAGE, "--split-data with --%s: that is of one replica; leave it out", other);
}

static int check_dump(const train_options *o, osv_error *e)
{
    const char *other = o->out           ? "out"
                        : o->plan        ? "plan"
                        : o->list        ? "list"
                        : o->resume      ? "resume"
                        : o->profile > 0 ? "profile"
                                         : NULL;
    if (!o->dump || !other) return OSV_OK;
    return OSV_FAIL(e, OSV_USAGE, "--dump %s: it trains nothing, so leave out --%s", o->dump, other);
}

static int check_scan(const train_options *o, osv_error *e)
{
    const char *only = o->scan_positions ? "scan-positions" : o->scan_norm != 0.1 ? "scan-norm" : NULL;
    if (!o->scan) return only ? OSV_FAIL(e, OSV_USAGE, "--%s: only --scan has a use for it", only) : OSV_OK;
    const char *other = o->plan             ? "plan"
                        : o->list           ? "list"
                        : o->dump           ? "dump"
                        : o->sweep          ? "sweep"
                        : o->reentrant >= 0 ? "reentrant"
                                            : NULL;
    if (other) return OSV_FAIL(e, OSV_USAGE, "--scan and --%s: one of them at a time", other);
    other = o->out ? NULL : o->resume ? "resume" : o->profile > 0 ? "profile" : NULL;
    if (!other) return OSV_OK;
    return OSV_FAIL(e, OSV_USAGE, "--scan: without --out it trains nothing, so leave out --%s", other);
}

static int check_reentrant(const train_options *o, osv_error *e)
{
    const char *early = !isnan(o->early_lr)            ? "lr"
                        : !isnan(o->early_target_loss) ? "target-loss"
                        : o->early_max_iters >= 0      ? "max-iters"
                                                       : NULL;
    if (o->reentrant < 0 && early)
        return OSV_FAIL(e, OSV_USAGE, "--early-%s: only --reentrant has a use for it", early);
    if (o->reentrant >= 0 && (o->teacher.vector.count || o->teacher.apply))
        return OSV_FAIL(e, OSV_USAGE, "--reentrant %d trains the teacher: leave out --teacher", o->reentrant);
    if (o->reentrant >= 0 && o->dump)
        return OSV_FAIL(e, OSV_USAGE,
                        "--reentrant %d: a dump is of one run; train the map, then dump with --teacher",
                        o->reentrant);
    if (o->teacher.apply && o->teacher.vector.count == 0)
        return OSV_FAIL(e, OSV_USAGE, "--teacher-apply %s: there is no teacher; give --teacher",
                        o->teacher.apply);
    return OSV_OK;
}

/* Before the table's defaults. */
static train_options nothing(void)
{
    return (train_options){.machine = TOOL_MACHINE_DEFAULT,
                           .job = osv_job_defaults(),
                           .anchor_bound = NAN,
                           .reentrant = -1,
                           .early_lr = NAN,
                           .early_target_loss = NAN,
                           .early_max_iters = -1};
}

int train_options_default(train_options *o, osv_error *e)
{
    char program[] = "osv-train", *argv[] = {program, NULL};
    *o = nothing();
    return osv_options_parse(train_option_table, 1, argv, o, e);
}

int train_options_parse(train_options *o, int argc, char **argv, osv_error *e)
{
    *o = nothing();
    OSV_TRY(osv_options_parse(train_option_table, argc, argv, o, e));
    if (o->help || o->version) return OSV_OK;
    OSV_TRY(check_required(o, e));
    OSV_TRY(train_options_resolve(o, e));
    OSV_TRY(osv_positions_check(o->positions, "--positions", e));
    OSV_TRY(check_plan(o, e));
    OSV_TRY(check_split(o, e));
    OSV_TRY(check_dump(o, e));
    OSV_TRY(check_scan(o, e));
    OSV_TRY(check_reentrant(o, e));
    if (o->profile > 0 && o->job.max_iters < OSV_PROFILE_WARM + 2 * o->profile)
        return OSV_FAIL(e, OSV_USAGE,
                        "--profile %d needs --max-iters %d or more: %d to warm up, and twice %d", o->profile,
                        OSV_PROFILE_WARM + 2 * o->profile, OSV_PROFILE_WARM, o->profile);
    if (o->force && o->resume)
        return OSV_FAIL(e, OSV_USAGE,
                        "--force replaces the run in --out, --resume goes on with it: give one");
    return OSV_OK;
}
