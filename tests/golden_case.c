#include "tests/golden_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rope.h"

const char *const golden_models[GOLDEN_MODELS] = {
    "llama-tiny", "llama-bf16", "gemma2-tiny", "gemma2-f16", "mistral",     "qwen2",
    "qwen3",      "gemma1",     "gemma3",      "gemma3-mm",  "phi3",        "phi4",
    "llama-yarn", "llama-bias", "granite",     "olmo2",      "llama-linear"};

void golden_check(const golden_model *g, int status)
{
    cr_assert_eq(status, 0, "%s", g->error.text);
}

static void read_folder(golden_model *g, const char *folder, const char *model)
{
    char path[512], file[600];
    memset(g, 0, sizeof *g);
    snprintf(path, sizeof path, "%s/models/%s", OSV_GOLDEN, model);
    snprintf(g->cases, sizeof g->cases, "%s/%s/%s", OSV_GOLDEN, folder, model);
    golden_check(g, osv_checkpoint_open(&g->checkpoint, &g->model, path, 0, 1, &g->error));
    cr_assert_leq(g->model.config.D, GOLDEN_D);
    golden_check(g, osv_comm_self_open(&g->comm, &g->error));
    snprintf(file, sizeof file, "%s/cases.json", g->cases);
    golden_check(g, osv_json_read(&g->json, file, &g->error));
    snprintf(file, sizeof file, "%s/cases.safetensors", g->cases);
    golden_check(g, osv_safetensors_open(&g->tensors, file, &g->error));
}

void golden_read(golden_model *g, const char *model)
{
    read_folder(g, "cases", model);
}

void golden_open(golden_model *g, const char *model, golden_opener *open, osv_dtype dtype)
{
    golden_open_in(g, "cases", model, open, dtype);
}

void golden_open_in(golden_model *g, const char *folder, const char *model, golden_opener *open,
                    osv_dtype dtype)
{
    read_folder(g, folder, model);
    golden_check(g, open(&g->ops, dtype, &g->error));
    golden_check(g, osv_model_place(&g->model, g->ops));
}

void golden_close(golden_model *g)
{
    json_decref(g->json);
    osv_safetensors_close(g->tensors);
    g->comm->close(g->comm);
    if (g->ops) g->ops->close(g->ops);
    osv_model_free(&g->model);
    osv_checkpoint_close(g->checkpoint);
}

static const osv_tensor *find_tensor(const golden_model *g, const char *name, const char *what,
                                     const char *dtype)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", name, what);
    const osv_tensor *t = osv_safetensors_find(g->tensors, full);
    cr_assert(t != NULL, "no tensor %s", full);
    cr_assert_str_eq(t->dtype, dtype, "%s", full);
    return t;
}

const float *golden_tensor(const golden_model *g, const char *name, const char *what)
{
    return find_tensor(g, name, what, "F32")->data;
}

const double *golden_tensor64(const golden_model *g, const char *name, const char *what)
{
    return find_tensor(g, name, what, "F64")->data;
}

double golden_number(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

const json_t *golden_case_of(const golden_model *g, const char *name)
{
    const json_t *cases = json_object_get(g->json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0) return one;
    }
    cr_assert(false, "no case %s", name);
    return NULL;
}

void golden_problem_open(golden_problem *p, golden_model *g, const json_t *golden_case)
{
    char file[600];
    snprintf(file, sizeof file, "%s/%s", g->cases, json_string_value(json_object_get(golden_case, "data")));
    osv_dataset_options options = {.tokenizer_missing = "the golden models have no tokenizer",
                                   .V = g->model.config.V,
                                   .positions = g->model.config.positions,
                                   .default_positions = "all",
                                   .boundary = OSV_BOUNDARY_AUTO};
    golden_check(g, osv_dataset_read(&p->data, file, &options, &g->error));
    p->job = (osv_job){.name = "all",
                       .layer = (int)golden_number(golden_case, "layer"),
                       .options = osv_job_defaults(),
                       .sequence = p->sequence,
                       .goal = p->goal};
    p->job.options.coldness = golden_number(golden_case, "coldness");
    p->job.options.eps = golden_number(golden_case, "eps");
    int longest = 0;
    for (int d = 0; d < p->data->count; d++) {
        for (int c = 0; c < p->data->point[d].completions; c++) {
            const osv_completion *x = &p->data->point[d].completion[c];
            cr_assert_lt(p->job.completions, GOLDEN_COMPLETIONS);
            if (x->count > longest) longest = x->count;
            p->goal[p->job.completions] = osv_goal_plain;
            if (x->target.kind == OSV_TARGET_NATS) p->goal[p->job.completions].target = x->target.x;
            p->sequence[p->job.completions++] =
                (osv_sequence){.count = x->count,
                               .prompt = x->prompt,
                               .ids = x->ids,
                               .steer = x->steer,
                               .kind = x->kind == OSV_COMPLETION_SUPPRESS ? OSV_ONE_MINUS : OSV_PROMOTE};
        }
    }
    osv_rope_fit(&g->model.config, longest);
}

void golden_problem_close(golden_problem *p)
{
    osv_dataset_free(p->data);
}
