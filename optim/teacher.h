/* Distributions that a training aims at: those of the same model under other vectors (a teacher, for matches)
 * or under none (for anchors). They are computed once and kept in host memory; every job that is trained on
 * the same text shares them. */
#ifndef OSV_OPTIM_TEACHER_H
#define OSV_OPTIM_TEACHER_H

#include "optim/likelihood.h"

/* One text: tokens text.prompt .. text.count - 1 have a distribution each. */
typedef struct {
    osv_continuation text; /* its arrays have to live until osv_teacher_learn has returned */
    double coldness;
    const osv_steering *steering; /* [steerings] of the teacher */
    int steerings;                /* 0: the model as it is */
} osv_lesson;

typedef struct {
    int lessons, V;
    const osv_lesson *lesson; /* [lessons] the caller's */
    size_t *first;            /* [lessons + 1] row of the first distribution */
    osv_real *logp;           /* [first[lessons], V] */
    const osv_real **row;     /* [first[lessons]] into logp */
} osv_teacher;

/* Makes room, which takes no memory before the distributions are there; `lesson` has to live as long as the
 * teacher. */
int osv_teacher_open(osv_teacher *t, const osv_lesson *lesson, int lessons, int V, osv_error *e);
void osv_teacher_close(osv_teacher *t);

/* Of lesson i: as osv_sequence.logp. Their numbers are there after osv_teacher_learn. */
const osv_real *const *osv_teacher_logp(const osv_teacher *t, int i);
/* All distributions, and the memory that they take. */
static inline size_t osv_teacher_rows(const osv_teacher *t)
{
    return t->lessons ? t->first[t->lessons] : 0;
}
static inline size_t osv_teacher_bytes(const osv_teacher *t)
{
    return osv_teacher_rows(t) * (size_t)t->V * sizeof(osv_real);
}

/* Lessons in a row that have steering and coldness in common are computed together. */
int osv_teacher_learn(osv_teacher *t, osv_ops *ops, osv_comm *comm, const osv_model *model);

#endif
