/* Random models in memory for the benchmarks: shapes of real ones, bf16 weights of about the right size. The
 * weights live until the program ends. */
#ifndef OSV_BENCH_RANDOM_MODEL_H
#define OSV_BENCH_RANDOM_MODEL_H

#include "engine/model.h"

typedef struct {
    const char *name;
    int N, D, F, H, K, E, V;
    bool tied, gemma;
} bench_shape;

/* "llama-60m", "qwen2.5-0.5b", "gemma2-0.4b"; NULL: no such shape. */
const bench_shape *bench_shape_named(const char *name);

/* osv_model_free releases the model's table. */
int bench_model_make(osv_model *m, const bench_shape *s, osv_error *e);

#endif
