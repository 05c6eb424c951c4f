/* A job in words and JSON: its options, layers, positions and objective, for lists, reports and names. */
#ifndef OSV_TOOLS_TRAIN_JOB_WORDS_H
#define OSV_TOOLS_TRAIN_JOB_WORDS_H

#include "tools/train_jobs.h"

/* The options of a job, with one value each, and what they have of train_job_options[k]. */
void train_job_options_of(train_options *o, const train_jobs *t, int job);
json_t *train_job_value(const train_options *o, int k);

/* "3", or "3,5" of a joint job. */
enum { TRAIN_LAYERS_ROOM = 200 };
const char *train_job_layers(char text[TRAIN_LAYERS_ROOM], const osv_job *job);

/* Of a joint job a list of them; NULL of others. */
json_t *train_job_layers_json(const osv_job *job);

/* Positions that all of a job's datapoints have, or "mixed". */
const char *train_job_positions(const train_jobs *t, int job);
/* Does any of a job's datapoints have messages? */
bool train_job_chat(const train_jobs *t, int job);
/* "promote + suppress one-minus, satisfice" */
enum { TRAIN_OBJECTIVE_ROOM = 256 };
const char *train_job_objective(char text[TRAIN_OBJECTIVE_ROOM], const train_jobs *t, int job);

#endif
