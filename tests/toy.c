#include "tests/toy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

double toy_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 23) - 1;
}

typedef struct {
    float *next;
    unsigned seed;
} source;

static osv_weight random_weight(source *s, int rows, int cols, double mean, double spread)
{
    osv_weight w = {.data = s->next, .format = OSV_F32, .rows = rows, .cols = cols};
    for (int i = 0; i < rows * cols; i++) *s->next++ = (float)(mean + spread * toy_random(&s->seed));
    return w;
}

toy toy_make(toy_family family, int N, unsigned seed)
{
    bool gemma = family == TOY_GEMMA2;
    osv_config c = {.N = N, .D = 24, .F = 20, .H = 4, .K = 2, .E = 6, .V = 37, .positions = 64};
    c.norm_eps = 1e-6;
    c.embed_scale = 1;
    c.activation = OSV_SILU;
    c.query_scale = 1 / sqrt(c.E);
    c.rot = c.E;
    c.rope = (osv_rope){
        .kind = OSV_ROPE_LLAMA3, .theta = 100, .factor = 4, .low_freq = 1, .high_freq = 4, .original = 16};
    if (gemma) {
        c.norm_offset = 1;
        c.post_norms = true;
        c.embed_scale = sqrt(c.D);
        c.activation = OSV_GELU_TANH;
        c.query_scale = 0.3;
        c.attention_softcap = 2;
        c.final_softcap = 3;
        c.rope = (osv_rope){.kind = OSV_ROPE_DEFAULT, .theta = 100};
        c.tied = true;
        for (int l = 0; l < N; l += 2) c.window[l] = 4;
    } else {
        c.qkv_bias = c.out_bias = c.mlp_bias = true;
    }

    toy t = {0};
    osv_error e = {0};
    osv_shard shard;
    cr_assert_eq(osv_shard_make(&shard, &c, 0, 1, &e), 0);
    cr_assert_eq(osv_model_alloc(&t.model, &c, &shard, &e), 0);
    int per_block = 8 * c.D + 4 * c.H * c.E * c.D + 3 * c.F * c.D + 4 * c.F + 4 * c.H * c.E;
    t.weights = malloc(sizeof(float) * (size_t)(N * per_block + 3 * c.V * c.D));
    source s = {.next = t.weights, .seed = seed};
    double norm = gemma ? 0 : 1;
    int HE = c.H * c.E, KE = c.K * c.E;
    t.model.embed = random_weight(&s, c.V, c.D, 0, 1);
    for (int l = 0; l < N; l++) {
        osv_block *b = &t.model.block[l];
        b->attention_norm = random_weight(&s, 1, c.D, norm, 0.3);
        b->q = random_weight(&s, HE, c.D, 0, 0.5);
        b->k = random_weight(&s, KE, c.D, 0, 0.5);
        b->v = random_weight(&s, KE, c.D, 0, 0.5);
        b->out = random_weight(&s, c.D, HE, 0, 0.5);
        b->ffn_norm = random_weight(&s, 1, c.D, norm, 0.3);
        b->gate = random_weight(&s, c.F, c.D, 0, 0.5);
        b->up = random_weight(&s, c.F, c.D, 0, 0.5);
        b->down = random_weight(&s, c.D, c.F, 0, 0.5);
        if (gemma) {
            b->attention_post_norm = random_weight(&s, 1, c.D, norm, 0.3);
            b->ffn_post_norm = random_weight(&s, 1, c.D, norm, 0.3);
        } else {
            b->q_bias = random_weight(&s, 1, HE, 0, 0.2);
            b->k_bias = random_weight(&s, 1, KE, 0, 0.2);
            b->v_bias = random_weight(&s, 1, KE, 0, 0.2);
            b->out_bias = random_weight(&s, 1, c.D, 0, 0.2);
            b->gate_bias = random_weight(&s, 1, c.F, 0, 0.2);
            b->up_bias = random_weight(&s, 1, c.F, 0, 0.2);
            b->down_bias = random_weight(&s, 1, c.D, 0, 0.2);
        }
    }
    t.model.final_norm = random_weight(&s, 1, c.D, norm, 0.3);
    t.model.head = c.tied ? t.model.embed : random_weight(&s, c.V, c.D, 0, 0.5);
    return t;
}

void toy_free(toy *t)
{
    osv_model_free(&t->model);
    free(t->weights);
}
