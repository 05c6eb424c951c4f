#include "tests/golden_form.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "optim/form.h"

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    cr_assert(s != NULL, "no \"%s\"", key);
    return s;
}

/* null, or no such key: `otherwise` */
static double number_or(const json_t *o, const char *key, double otherwise)
{
    double x = golden_number(o, key);
    return isnan(x) ? otherwise : x;
}

static bool flag(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static int index_of(const char *name, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0) return i;
    cr_assert(false, "what is \"%s\"?", name);
    return -1;
}

/* ---- completions ---- */

static int append(int *ids, int count, const json_t *list)
{
    size_t i;
    json_t *id;
    json_array_foreach(list, i, id)
    {
        cr_assert_lt(count, FORM_TOKENS);
        ids[count++] = (int)json_integer_value(id);
    }
    return count;
}

/* ln of the softmax of one row. */
static void log_softmax(osv_real *logp, const float *logits, int V)
{
    double sum = 0;
    for (int j = 0; j < V; j++) sum += exp((double)logits[j]);
    for (int j = 0; j < V; j++) logp[j] = (osv_real)((double)logits[j] - log(sum));
}

static void read_distributions(golden_form *f, const golden_model *g, const json_t *golden_case, int c)
{
    osv_sequence *s = &f->sequence[c];
    int V = g->model.config.V;
    char name[32];
    snprintf(name, sizeof name, "logits.%d", c);
    const float *logits = golden_tensor(g, text(golden_case, "name"), name);
    cr_assert(s->count - s->prompt <= FORM_MATCHED && V <= FORM_V);
    for (int t = 0; t < s->count - s->prompt; t++) {
        log_softmax(f->logp[c][t], logits + (size_t)t * (size_t)V, V);
        f->row[c][t] = f->logp[c][t];
    }
    s->logp = f->row[c];
}

static void read_completion(golden_form *f, const golden_model *g, const json_t *golden_case, int c)
{
    enum { MATCH = OSV_NEGATED + 1, MATCH_REVERSE, ANCHOR, MELBO };
    static const char *const kinds[] = {"promote",       "one-minus", "negated", "match",
                                        "match-reverse", "anchor",    "melbo",   NULL};
    const json_t *from = json_array_get(json_object_get(golden_case, "completions"), (size_t)c);
    osv_sequence *s = &f->sequence[c];
    int kind = index_of(text(from, "kind"), kinds);
    *s = (osv_sequence){.ids = f->ids[c], .steer = f->steer[c]};
    s->prompt = append(f->ids[c], 0, json_object_get(from, "prompt"));
    s->count = append(f->ids[c], s->prompt, json_object_get(from, "completion"));
    const json_t *steer = json_object_get(from, "steer");
    cr_assert_eq((int)json_array_size(steer), s->count);
    for (int t = 0; t < s->count; t++)
        f->steer[c][t] = (signed char)json_integer_value(json_array_get(steer, (size_t)t));
    if (kind <= OSV_NEGATED) s->kind = (osv_score_kind)kind;
    if (kind == MATCH || kind == MATCH_REVERSE) read_distributions(f, g, golden_case, c);
    if (kind == MELBO) s->target_layer = (int)golden_number(from, "target_layer");
    s->reverse = kind == MATCH_REVERSE;
    f->goal[c] = (osv_goal){.target = golden_number(from, "target"),
                            .weight = number_or(from, "weight", 1),
                            .mean = kind == ANCHOR,
                            .aside = kind == ANCHOR,
                            .bound = golden_number(from, "bound"),
                            .partner = (int)number_or(from, "partner", -1),
                            .beta = number_or(from, "beta", 0),
                            .reference = number_or(from, "reference", 0),
                            .sign = (int)number_or(from, "sign", 0)};
}

static void learn_anchors(golden_form *f, golden_model *g)
{
    int lessons = 0;
    for (int c = 0; c < f->job.completions; c++) {
        const osv_sequence *s = &f->sequence[c];
        if (!f->goal[c].aside) continue;
        f->lesson[lessons++] = (osv_lesson){
            .text = {.count = s->count, .prompt = s->prompt, .ids = s->ids, .steer = f->unsteered},
            .coldness = f->job.options.coldness};
    }
    golden_check(g, osv_teacher_open(&f->teacher, f->lesson, lessons, g->model.config.V, &g->error));
    for (int c = 0, at = 0; c < f->job.completions; c++)
        if (f->goal[c].aside) f->sequence[c].logp = osv_teacher_logp(&f->teacher, at++);
    golden_check(g, osv_teacher_learn(&f->teacher, g->ops, g->comm, &g->model));
}

/* ---- the job ---- */

static void read_options(osv_job_options *o, const golden_model *g, const json_t *golden_case)
{
    static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
    const char *name = text(golden_case, "name");
    *o = osv_job_defaults();
    o->lr = golden_number(golden_case, "lr");
    o->adam_eps = golden_number(golden_case, "adam_eps");
    o->schedule = (osv_lr_schedule)index_of(text(golden_case, "schedule"), schedules);
    o->warmup = (int)golden_number(golden_case, "warmup");
    o->max_iters = (int)golden_number(golden_case, "max_iters");
    o->coldness = golden_number(golden_case, "coldness");
    o->eps = golden_number(golden_case, "eps");
    o->power = number_or(golden_case, "power", o->power);
    o->max_norm = number_or(golden_case, "max_norm", -1);
    o->max_affine_norm = number_or(golden_case, "max_affine_norm", -1);
    o->length_norm = flag(golden_case, "length_norm");
    o->satisfice = flag(golden_case, "satisfice");
    o->l1 = number_or(golden_case, "l1", 0);
    o->bound_lr = number_or(golden_case, "bound_lr", 0);
    o->group_sparsity = number_or(golden_case, "group", 0);
    o->target_loss = golden_number(golden_case, "target_loss");
    o->target_iters = o->max_iters + 2;
    o->plateau_iters = 0;
    o->min_norm_iters = (int)number_or(golden_case, "min_norm_iters", 0);
    o->min_norm_lr = number_or(golden_case, "min_norm_lr", -1);
    o->init = golden_tensor(g, name, "start");
    if (flag(golden_case, "offset")) o->offset = o->init + g->model.config.D;
}

void golden_form_open(golden_form *f, golden_model *g, const json_t *golden_case)
{
    osv_job *job = &f->job;
    memset(f, 0, sizeof *f);
    job->name = text(golden_case, "name");
    cr_assert(osv_form_parse(&job->form, text(golden_case, "apply")), "%s", job->name);
    job->form.rank = (int)golden_number(golden_case, "rank");
    job->form.offset = flag(golden_case, "offset");
    const json_t *layers = json_object_get(golden_case, "layers");
    cr_assert_leq(json_array_size(layers), FORM_LAYERS);
    for (size_t i = 0; i < json_array_size(layers); i++)
        f->layer[i] = (int)json_integer_value(json_array_get(layers, i));
    job->layer = f->layer[0];
    job->later = f->layer + 1;
    job->laters = (int)json_array_size(layers) - 1;
    job->apart = flag(golden_case, "apart");
    job->given = (int)number_or(golden_case, "orthogonal", 0);
    if (job->given > 0) job->orthogonal = golden_tensor(g, job->name, "orthogonal");
    job->completions = (int)json_array_size(json_object_get(golden_case, "completions"));
    cr_assert_leq(job->completions, FORM_COMPLETIONS);
    job->sequence = f->sequence;
    job->goal = f->goal;
    for (int c = 0; c < job->completions; c++) read_completion(f, g, golden_case, c);
    read_options(&job->options, g, golden_case);
    learn_anchors(f, g);
}

void golden_form_close(golden_form *f)
{
    osv_teacher_close(&f->teacher);
}
