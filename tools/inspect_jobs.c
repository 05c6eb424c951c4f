#include "tools/inspect_jobs.h"

#include <math.h>
#include <stdlib.h>

/* The options of osv-train: its defaults, and what osv-inspect was given. */
static int make_options(inspect_jobs *j, const inspect_options *o, osv_error *e)
{
    osv_config config;
    OSV_TRY(train_options_default(&j->train, e));
    OSV_TRY(osv_config_read(&config, o->model, e));
    snprintf(j->layer, sizeof j->layer, "%d", config.N / 2);
    j->train.model = o->model;
    j->train.data = o->data;
    j->train.layer_text = o->layer ? o->layer : j->layer;
    j->train.positions = o->positions;
    j->train.chat = o->chat;
    j->train.boundary = o->boundary;
    j->train.machine = o->machine;
    j->train.memory = o->memory;
    j->train.plan = true; /* without a teacher too */
    /* Completions with and without targets are both fine: nothing is trained here. */
    j->train.target_rule = 1; /* each */
    j->train.target = (osv_target){.kind = OSV_TARGET_NATS};
    return train_options_resolve(&j->train, e);
}

static int make_common(inspect_jobs *j, osv_error *e)
{
    int positions = j->setup.m.config.positions, count = INSPECT_PROMPT + INSPECT_COMPLETION;
    if (count > positions) count = positions;
    if (count < 2)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: takes texts of one token, which leaves nothing to train",
                        j->train.model);
    int prompt = count > INSPECT_PROMPT ? INSPECT_PROMPT : count - 1;
    j->common.ids = calloc((size_t)count, sizeof *j->common.ids);
    j->common.steer = malloc((size_t)count * sizeof *j->common.steer);
    if (!j->common.ids || !j->common.steer) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int t = 0; t < count; t++) j->common.steer[t] = 1;
    tool_model_longest(&j->setup.m, count);
    j->common.sequence = (osv_sequence){.count = count,
                                        .prompt = prompt,
                                        .ids = j->common.ids,
                                        .steer = j->common.steer,
                                        .kind = OSV_PROMOTE};
    j->common.job = (osv_job){.name = "all",
                              .layer = j->train.layer[0],
                              .options = j->train.job,
                              .completions = 1,
                              .sequence = &j->common.sequence};
    return OSV_OK;
}

static int open_model(inspect_jobs *j, osv_error *e)
{
    const train_options *o = &j->train;
    j->setup = (train_setup){.options = o, .error = e};
    OSV_TRY(tool_model_plan(&j->setup.m, o->model, o->chat, &o->machine, e));
    if (o->layer[0] >= j->setup.m.config.N)
        return OSV_FAIL(e, OSV_USAGE, "--layer %s: %s has blocks 0 to %d, no block %d", o->layer_text,
                        o->model, j->setup.m.config.N - 1, o->layer[0]);
    return make_common(j, e);
}

int inspect_jobs_open(inspect_jobs *j, const inspect_options *o, osv_error *e)
{
    osv_shard shard;
    *j = (inspect_jobs){0};
    OSV_TRY(make_options(j, o, e));
    OSV_TRY(o->data ? train_setup_open(&j->setup, &j->train, e) : open_model(j, e));
    const tool_model *m = &j->setup.m;
    OSV_TRY(osv_shard_make(&shard, &m->config, m->comm->rank, m->comm->size, e));
    OSV_TRY(osv_model_alloc(&j->shapes, &m->config, &shard, e));
    osv_model_shapes(&j->shapes, train_memory_format(&m->footprint, &m->config));
    OSV_TRY(train_memory_plan(&j->memory, o->memory, osv_teacher_bytes(&j->setup.lessons.teacher),
                              &m->footprint, &j->shapes, 1, e));
    j->training = (osv_training){.ops = m->ops,
                                 .comm = m->comm,
                                 .model = &j->shapes,
                                 .on = osv_all_on,
                                 .job = o->data ? j->setup.jobs.job : &j->common.job,
                                 .jobs = o->data ? j->setup.jobs.jobs : 1,
                                 .memory = j->memory.bin};
    return OSV_OK;
}

void inspect_jobs_close(inspect_jobs *j)
{
    osv_model_free(&j->shapes);
    free(j->common.ids);
    free(j->common.steer);
    if (j->setup.options) train_setup_close(&j->setup);
    *j = (inspect_jobs){0};
}

/* ---- memory ---- */

typedef struct {
    int bins;
    size_t largest;
} sum;

static int add_bin(void *context, const int *job, const osv_bin_size *size)
{
    sum *s = context;
    (void)job;
    s->bins++;
    if (size->bytes > s->largest) s->largest = size->bytes;
    return OSV_OK;
}

int inspect_memory_json(json_t **out, const inspect_jobs *j, osv_error *e)
{
    sum s = {0};
    const train_memory *m = &j->memory;
    const osv_footprint *f = &j->setup.m.footprint;
    OSV_TRY(osv_pack_each(&j->training, add_bin, &s));
    *out = json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "backend", f->backend, "dtype",
                     f->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32", "layer", j->train.layer_text, "vectors",
                     j->training.jobs, "bins", s.bins, "weights_bytes", (json_int_t)m->weights,
                     "largest_bin_bytes", (json_int_t)s.largest, "scratch_and_libraries_bytes",
                     (json_int_t)(m->fixed + m->runtime), "peak_bytes",
                     (json_int_t)(train_memory_taken(m, f) + s.largest), "limit_bytes", (json_int_t)m->limit);
    return *out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for the report");
}
