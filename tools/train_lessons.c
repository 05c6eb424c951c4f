#include "tools/train_lessons.h"

#include <stdlib.h>

/* A completion of a job that needs distributions. */
typedef struct {
    const tool_steering *steering; /* NULL: the model as it is */
    double coldness;
    const osv_datapoint *point;
    const osv_completion *completion;
    int sequence; /* of the jobs */
} pupil;

static int compare(const void *a, const void *b)
{
    const pupil *x = a, *y = b;
    if (x->steering != y->steering) return x->steering < y->steering ? -1 : 1;
    if (x->coldness != y->coldness) return x->coldness < y->coldness ? -1 : 1;
    if (x->point != y->point) return x->point < y->point ? -1 : 1;
    if (x->completion != y->completion) return x->completion < y->completion ? -1 : 1;
    return x->sequence - y->sequence;
}

static bool same_lesson(const pupil *x, const pupil *y)
{
    return x->steering == y->steering && x->coldness == y->coldness && x->completion == y->completion;
}

/* All pupils, those of a lesson side by side; *tokens of their lessons, each counted once. */
static int find_pupils(pupil *all, int *count, size_t *tokens, const train_jobs *jobs,
                       const train_teachers *t)
{
    *count = 0;
    *tokens = 0;
    for (int i = 0; i < jobs->completions; i++) {
        const train_source *from = &jobs->source[i];
        osv_completion_kind kind = from->completion->kind;
        if (!osv_completion_lists[kind].whole) continue;
        all[(*count)++] =
            (pupil){.steering = kind == OSV_COMPLETION_MATCH ? train_teacher_of(t, from->point) : NULL,
                    .coldness = jobs->job[jobs->sequence[i].job].options.coldness,
                    .point = from->point,
                    .completion = from->completion,
                    .sequence = i};
    }
    qsort(all, (size_t)*count, sizeof *all, compare);
    int lessons = 0;
    for (int i = 0; i < *count; i++) {
        if (i > 0 && same_lesson(&all[i - 1], &all[i])) continue;
        lessons++;
        *tokens += (size_t)all[i].completion->count;
    }
    return lessons;
}

static int add_lesson(osv_lesson *lesson, const pupil *p, uint32_t *mask, const train_teachers *t,
                      osv_error *e)
{
    const osv_completion *c = p->completion;
    char where[TRAIN_WHERE_ROOM];
    *lesson = (osv_lesson){
        .text = {.count = c->count, .prompt = c->scored, .ids = c->ids, .steer = mask},
        .coldness = p->coldness,
    };
    if (!p->steering) return OSV_OK;
    lesson->steering = p->steering->steering;
    lesson->steerings = p->steering->steerings;
    return tool_steering_mask(p->steering, c->prompt, c->count - c->prompt, mask,
                              train_teachers_where(where, t, p->point), e);
}

static int add_lessons(train_lessons *l, train_jobs *jobs, const train_teachers *t, pupil *all, int V,
                       osv_error *e)
{
    size_t tokens;
    int count, made = 0, lessons = find_pupils(all, &count, &tokens, jobs, t);
    l->lesson = calloc((size_t)lessons + 1, sizeof *l->lesson);
    l->mask = calloc(tokens + 1, sizeof *l->mask);
    if (!l->lesson || !l->mask) return OSV_FAIL(e, OSV_DEVICE, "out of memory for what is matched");
    uint32_t *mask = l->mask;
    for (int i = 0; i < count; i++) {
        if (i > 0 && same_lesson(&all[i - 1], &all[i])) continue;
        OSV_TRY(add_lesson(&l->lesson[made++], &all[i], mask, t, e));
        mask += all[i].completion->count;
    }
    OSV_TRY(osv_teacher_open(&l->teacher, l->lesson, lessons, V, e));
    for (int i = 0, at = -1; i < count; i++) {
        at += i == 0 || !same_lesson(&all[i - 1], &all[i]);
        jobs->sequence[all[i].sequence].logp = osv_teacher_logp(&l->teacher, at);
    }
    return OSV_OK;
}

int train_lessons_open(train_lessons *l, train_jobs *jobs, const train_teachers *t, int V, osv_error *e)
{
    *l = (train_lessons){0};
    pupil *all = calloc((size_t)jobs->completions + 1, sizeof *all);
    int status = all ? add_lessons(l, jobs, t, all, V, e)
                     : OSV_FAIL(e, OSV_DEVICE, "out of memory for what is matched");
    free(all);
    return status;
}

void train_lessons_close(train_lessons *l)
{
    osv_teacher_close(&l->teacher);
    free(l->lesson);
    free(l->mask);
    *l = (train_lessons){0};
}
