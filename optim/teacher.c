#include "optim/teacher.h"

#include <stdlib.h>

int osv_teacher_open(osv_teacher *t, const osv_lesson *lesson, int lessons, int V, osv_error *e)
{
    *t = (osv_teacher){.lesson = lesson, .V = V};
    t->first = calloc((size_t)lessons + 1, sizeof *t->first);
    if (!t->first) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d distributions", lessons);
    for (int i = 0; i < lessons; i++)
        t->first[i + 1] = t->first[i] + (size_t)(lesson[i].text.count - lesson[i].text.prompt);
    t->lessons = lessons;
    size_t rows = osv_teacher_rows(t);
    t->row = calloc(rows + 1, sizeof *t->row);
    t->logp = calloc(rows * (size_t)V + 1, sizeof *t->logp); /* large: pages come when they are written */
    if (!t->row || !t->logp)
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for %zu distributions over %d tokens", rows, V);
    for (size_t r = 0; r < rows; r++) t->row[r] = t->logp + r * (size_t)V;
    return OSV_OK;
}

void osv_teacher_close(osv_teacher *t)
{
    free(t->first);
    free(t->row);
    free(t->logp);
    *t = (osv_teacher){0};
}

const osv_real *const *osv_teacher_logp(const osv_teacher *t, int i)
{
    return t->row + t->first[i];
}

static bool together(const osv_lesson *a, const osv_lesson *b)
{
    return a->steering == b->steering && a->steerings == b->steerings && a->coldness == b->coldness;
}

int osv_teacher_learn(osv_teacher *t, osv_ops *ops, osv_comm *comm, const osv_model *model)
{
    osv_continuation *text = malloc((size_t)t->lessons * sizeof *text + 1);
    int status = text ? OSV_OK : OSV_FAIL(ops->error, OSV_DEVICE, "out of memory for %d texts", t->lessons);
    for (int first = 0, end; !status && first < t->lessons; first = end) {
        const osv_lesson *l = &t->lesson[first];
        const osv_likelihood as = {
            .ops = ops, .comm = comm, .model = model, .steering = l->steering, .steerings = l->steerings};
        for (end = first; end < t->lessons && together(&t->lesson[end], l); end++)
            text[end - first] = t->lesson[end].text;
        status = osv_distributions_of(&as, text, end - first, l->coldness,
                                      t->logp + t->first[first] * (size_t)t->V);
    }
    free(text);
    return status;
}
