/* The models of tests/golden with their cases, opened on any filling: for suites that run whole models. What
 * goes wrong ends the test. */
#ifndef OSV_TESTS_GOLDEN_CASE_H
#define OSV_TESTS_GOLDEN_CASE_H

#include "loader/checkpoint.h"
#include "loader/datapoints.h"
#include "loader/json.h"
#include "loader/safetensors.h"
#include "optim/train.h"

/* The first few have all cases and several traces, the others the cases and the one trace that show their
 * family's features. */
extern const char *const golden_models[];
enum { GOLDEN_MODELS = 17, GOLDEN_FULL = 4 };
enum { GOLDEN_COMPLETIONS = 64, GOLDEN_D = 64 }; /* at most */

typedef int golden_opener(osv_ops **o, osv_dtype dtype, osv_error *error);

/* A model with its golden file, on one filling. `error` is the ops' sticky one, so a golden_model must not
 * move. */
typedef struct {
    osv_error error;
    char cases[512];
    osv_checkpoint *checkpoint;
    osv_model model;
    osv_ops *ops;
    osv_comm *comm;
    osv_comm *data; /* osv_training.data; NULL unless a test sets it */
    json_t *json;
    osv_safetensors *tensors;
} golden_model;

/* The ops belong to the golden_model: it closes them. The weights are not placed yet after golden_read. */
void golden_read(golden_model *g, const char *model);
void golden_open(golden_model *g, const char *model, golden_opener *open, osv_dtype dtype);
/* With the golden file of another folder than cases/. */
void golden_open_in(golden_model *g, const char *folder, const char *model, golden_opener *open,
                    osv_dtype dtype);
void golden_close(golden_model *g);
void golden_check(const golden_model *g, int status);

const float *golden_tensor(const golden_model *g, const char *name, const char *what);
const double *golden_tensor64(const golden_model *g, const char *name, const char *what);
double golden_number(const json_t *o, const char *key); /* NaN where there is none */
/* The case of that name. */
const json_t *golden_case_of(const golden_model *g, const char *name);

/* The job of a case's datapoint file, whose run the model is fitted to (osv_rope_fit). It points into itself:
 * it must not move. */
typedef struct {
    osv_dataset *data;
    osv_sequence sequence[GOLDEN_COMPLETIONS];
    osv_goal goal[GOLDEN_COMPLETIONS];
    osv_job job;
} golden_problem;

void golden_problem_open(golden_problem *p, golden_model *g, const json_t *golden_case);
void golden_problem_close(golden_problem *p);

#endif
