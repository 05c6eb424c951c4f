#include "tools/train_teacher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "optim/generate.h"
#include "optim/run_directory.h"
#include "tools/tool_prompts.h"

static int no_memory(osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "out of memory for what is matched");
}

const char *train_teachers_where(char where[TRAIN_WHERE_ROOM], const train_teachers *t,
                                 const osv_datapoint *p)
{
    snprintf(where, TRAIN_WHERE_ROOM, "%s:%d", t->data, p->line);
    return where;
}

/* ---- vectors ---- */

/* The datapoint's first match; NULL: none. */
static osv_completion *match_of(const osv_datapoint *p)
{
    for (int c = 0; c < p->completions; c++)
        if (p->completion[c].kind == OSV_COMPLETION_MATCH) return &p->completion[c];
    return NULL;
}

const tool_steering *train_teacher_of(const train_teachers *t, const osv_datapoint *p)
{
    for (int i = 0; i < t->count; i++)
        if (!t->job[i] || strcmp(t->job[i], p->job) == 0) return &t->steering[i];
    return NULL;
}

/* DIR[:SCALE] -> DIR/vectors/JOB.safetensors:SCALE; anything else stays. The text is kept. */
static int resolve(train_teachers *t, const char **item, const char *job, bool *of_run, osv_error *e)
{
    char *path, *file = NULL, *text = NULL;
    double scale;
    OSV_TRY(osv_split_scale(*item, "--teacher ", &path, &scale, e));
    bool folder = osv_path_is_folder(path);
    *of_run |= folder;
    int status = folder ? osv_run_vector_path(&(osv_run_directory){.path = path}, job, &file, e) : OSV_OK;
    free(path);
    if (status || !folder) return status;
    int length = asprintf(&text, "%s:%.17g", file, scale);
    free(file);
    char **wider = length < 0 ? NULL : realloc(t->text, ((size_t)t->texts + 1) * sizeof *wider);
    if (!wider) {
        if (length >= 0) free(text);
        return no_memory(e);
    }
    t->text = wider;
    *item = t->text[t->texts++] = text;
    return OSV_OK;
}

static int add_teacher(train_teachers *t, const train_options *o, const char *job, const tool_model *m,
                       osv_error *e)
{
    steering_options own = o->teacher;
    bool of_run = false;
    for (int i = 0; i < own.vector.count; i++) OSV_TRY(resolve(t, &own.vector.item[i], job, &of_run, e));
    t->job[t->count] = of_run ? job : NULL;
    return tool_steering_open(&t->steering[t->count++], &own, &m->config, o->model, e);
}

int train_teachers_open(train_teachers *t, const train_options *o, const osv_dataset *data,
                        const tool_model *m, osv_error *e)
{
    bool wanted = false;
    *t = (train_teachers){.data = o->data};
    OSV_TRY(steering_options_check(&o->teacher, e));
    t->steering = calloc((size_t)data->count + 1, sizeof *t->steering);
    t->job = calloc((size_t)data->count + 1, sizeof *t->job);
    if (!t->steering || !t->job) return no_memory(e);
    for (int i = 0; i < data->count; i++) {
        const osv_datapoint *p = &data->point[i];
        if (!match_of(p)) continue;
        wanted = true;
        if (o->teacher.vector.count == 0 && (o->plan || o->list)) return OSV_OK;
        if (o->teacher.vector.count == 0)
            return OSV_FAIL(e, OSV_USAGE, "%s:%d: \"match\" needs a teacher to be like: give --teacher",
                            o->data, p->line);
        if (!train_teacher_of(t, p)) OSV_TRY(add_teacher(t, o, p->job, m, e));
    }
    if (!wanted && o->teacher.vector.count > 0)
        return OSV_FAIL(e, OSV_USAGE, "--teacher %s: no datapoint in %s has a \"match\"",
                        o->teacher.vector.item[0], o->data);
    return OSV_OK;
}

void train_teachers_close(train_teachers *t)
{
    for (int i = 0; i < t->count; i++) tool_steering_close(&t->steering[i]);
    for (int i = 0; i < t->texts; i++) free(t->text[i]);
    free(t->steering);
    free(t->job);
    free(t->text);
    *t = (train_teachers){0};
}

/* ---- what they write ---- */

bool train_unwritten(const osv_dataset *data)
{
    for (int i = 0; i < data->count; i++)
        for (int c = 0; c < data->point[i].completions; c++)
            if (data->point[i].completion[c].unwritten) return true;
    return false;
}

/* One teacher's texts. */
typedef struct {
    const train_teachers *teachers;
    const tool_steering *steering;
    const tool_model *m;
    int tokens;
    osv_ids stop;
    int prompts;
    osv_generation_prompt *prompt; /* [prompts] */
    osv_datapoint **point;         /* [prompts] */
    osv_completion **completion;   /* [prompts] */
    uint32_t *mask;                /* of all prompts, one after the other */
} writing;

static int keep_text(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                     osv_text_end end, osv_error *e)
{
    const writing *w = context;
    osv_completion *c = w->completion[prompt];
    char where[TRAIN_WHERE_ROOM];
    (void)sample, (void)logprob;
    train_teachers_where(where, w->teachers, w->point[prompt]);
    if (end == OSV_TEXT_NAN)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: after %d tokens of the teacher the logits are not finite numbers; is a vector "
                        "too long?",
                        where, count);
    int *all = malloc(((size_t)count + 1) * sizeof *all);
    if (!all) return no_memory(e);
    memcpy(all, ids, (size_t)count * sizeof *all);
    if (end == OSV_TEXT_EOS) all[count++] = w->stop.data[0]; /* that it stops here is matched as well */
    int status = osv_completion_fill(c, w->point[prompt], c->ids, c->prompt, all, count, where, e);
    free(all);
    c->unwritten = false;
    return status ? status : osv_completion_show(c, w->m->tokenizer, e);
}

static int add_prompt(writing *w, osv_datapoint *p, osv_completion *c, uint32_t *mask)
{
    char where[TRAIN_WHERE_ROOM];
    w->point[w->prompts] = p;
    w->completion[w->prompts] = c;
    w->prompt[w->prompts++] = (osv_generation_prompt){.count = c->prompt, .ids = c->ids, .steer = mask};
    return tool_steering_mask(w->steering, c->prompt, w->tokens, mask,
                              train_teachers_where(where, w->teachers, p), w->m->error);
}

static int add_prompts(writing *w, osv_dataset *data)
{
    size_t points = (size_t)data->count, tokens = 0;
    for (int i = 0; i < data->count; i++) {
        const osv_completion *c = match_of(&data->point[i]);
        tokens += c && c->unwritten ? (size_t)(c->prompt + w->tokens) : 0;
    }
    w->prompt = calloc(points + 1, sizeof *w->prompt);
    w->point = calloc(points + 1, sizeof *w->point);
    w->completion = calloc(points + 1, sizeof *w->completion);
    w->mask = calloc(tokens + 1, sizeof *w->mask);
    if (!w->prompt || !w->point || !w->completion || !w->mask) return no_memory(w->m->error);
    uint32_t *mask = w->mask;
    for (int i = 0; i < data->count; i++) {
        osv_datapoint *p = &data->point[i];
        osv_completion *c = match_of(p);
        if (!c || !c->unwritten || train_teacher_of(w->teachers, p) != w->steering) continue;
        OSV_TRY(add_prompt(w, p, c, mask));
        mask += c->prompt + w->tokens;
    }
    return OSV_OK;
}

static int write_texts(writing *w, osv_dataset *data)
{
    const tool_model *m = w->m;
    OSV_TRY(add_prompts(w, data));
    OSV_TRY(tool_stop_ids(&w->stop, m, m->error));
    const osv_generation generation = {.ops = m->ops,
                                       .comm = m->comm,
                                       .model = &m->model,
                                       .prompt = w->prompt,
                                       .prompts = w->prompts,
                                       .samples = 1,
                                       .max_tokens = w->tokens,
                                       .steering = w->steering->steering,
                                       .steerings = w->steering->steerings,
                                       .top_p = 1,
                                       .eos = w->stop.data,
                                       .eos_count = w->stop.count,
                                       .observer = {.context = w, .text = keep_text}};
    return osv_generate(&generation);
}

int train_teachers_write(const train_teachers *t, osv_dataset *data, const tool_model *m, int tokens)
{
    for (int i = 0; i < t->count; i++) {
        writing w = {.teachers = t, .steering = &t->steering[i], .m = m, .tokens = tokens};
        int status = write_texts(&w, data);
        free(w.prompt);
        free(w.point);
        free(w.completion);
        free(w.mask);
        osv_ids_free(&w.stop);
        if (status) return status;
    }
    return OSV_OK;
}
