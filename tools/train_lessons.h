/* What the jobs' matches and anchors aim at: each text once, however many jobs are trained on it. */
#ifndef OSV_TOOLS_TRAIN_LESSONS_H
#define OSV_TOOLS_TRAIN_LESSONS_H

#include "optim/teacher.h"
#include "tools/train_jobs.h"
#include "tools/train_teacher.h"

typedef struct {
    osv_lesson *lesson;
    uint32_t *mask; /* of all lessons */
    osv_teacher teacher;
} train_lessons;

/* Gives the sequences of `jobs` their distributions, whose numbers come with osv_teacher_learn. */
int train_lessons_open(train_lessons *l, train_jobs *jobs, const train_teachers *t, int V, osv_error *e);
void train_lessons_close(train_lessons *l);

#endif
