/* A small random model in memory, of any shape and with any of the config's features: for tests of the
 * engine. */
#ifndef OSV_TESTS_TOY_H
#define OSV_TESTS_TOY_H

#include "engine/batch.h"
#include "engine/model.h"
#include "engine/step.h"

typedef struct {
    osv_model model;
    float *weights; /* all of them */
} toy;

typedef enum { TOY_LLAMA, TOY_GEMMA2, TOY_GEMMA3, TOY_GRANITE, TOY_OLMO2, TOY_FAMILIES } toy_family;

/* N blocks, D 24, F 20, H 4, K 2, E 6, V 37; random weights of that seed. */
toy toy_make(toy_family family, int N, unsigned seed);
void toy_free(toy *t);

/* Uniform in (-1, 1), from a small generator of the tests' own. */
double toy_random(unsigned *state);

#endif
