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

/* Windows in every other block, the first included. */
static void slide(osv_config *c, int window)
{
    for (int l = 0; l < c->N; l += 2) c->window[l] = window;
}

static void be_llama(osv_config *c)
{
    c->qkv_bias = c->out_bias = c->mlp_bias = true;
    c->rope[0] = (osv_rope){.kind = OSV_ROPE_LLAMA3,
                            .theta = 100,
                            .scale = 1,
                            .factor = 4,
                            .low_freq = 1,
                            .high_freq = 4,
                            .original = 16};
}

static void be_gemma2(osv_config *c)
{
    c->norm_offset = 1;
    c->post_norms = true;
    c->embed_scale = sqrt(c->D);
    c->activation = OSV_GELU_TANH;
    c->query_scale = 0.3;
    c->attention_softcap = 2;
    c->final_softcap = 3;
    c->tied = true;
    slide(c, 4);
}

/* Norms of heads, two rotary embeddings, 1 + w. */
static void be_gemma3(osv_config *c)
{
    be_gemma2(c);
    c->attention_softcap = c->final_softcap = 0;
    c->qk_norm = OSV_QK_NORM_HEAD;
    c->ropes = 2;
    c->rope[1] = (osv_rope){.theta = 10, .scale = 1};
    c->rope[0] = (osv_rope){.kind = OSV_ROPE_LINEAR, .theta = 1000, .scale = 1, .factor = 2};
    for (int l = 0; l < c->N; l += 2) c->block_rope[l] = 1;
}

/* Multipliers, part of a head rotated and stretched by its own factors. */
static void be_granite(osv_config *c)
{
    c->embed_scale = 2;
    c->query_scale = 0.4;
    c->residual_scale = 0.6;
    c->logit_scale = 0.5;
    c->rot = 4;
    c->rope[0] = (osv_rope){.kind = OSV_ROPE_LONGROPE,
                            .theta = 100,
                            .scale = 1.2,
                            .original = 64,
                            .short_factor = {1, 1.5},
                            .long_factor = {1, 3}};
}

/* No norms in front, norms of all heads together. */
static void be_olmo2(osv_config *c)
{
    c->pre_norms = false;
    c->post_norms = true;
    c->qk_norm = OSV_QK_NORM_WIDTH;
    c->qkv_bias = true;
    c->rope[0] = (osv_rope){.kind = OSV_ROPE_YARN,
                            .theta = 100,
                            .scale = 1.1,
                            .factor = 4,
                            .beta_fast = 8,
                            .beta_slow = 1,
                            .truncate = true,
                            .original = 16};
}

static osv_config make_config(toy_family family, int N)
{
    osv_config c = {.N = N, .D = 24, .F = 20, .H = 4, .K = 2, .E = 6, .V = 37, .positions = 64};
    c.norm_eps = 1e-6;
    c.pre_norms = true;
    c.embed_scale = c.residual_scale = c.logit_scale = 1;
    c.activation = OSV_SILU;
    c.query_scale = 1 / sqrt(c.E);
    c.rot = c.E;
    c.ropes = 1;
    c.rope[0] = (osv_rope){.theta = 100, .scale = 1};
    switch (family) {
    case TOY_LLAMA: be_llama(&c); break;
    case TOY_GEMMA2: be_gemma2(&c); break;
    case TOY_GEMMA3: be_gemma3(&c); break;
    case TOY_GRANITE: be_granite(&c); break;
    case TOY_OLMO2: be_olmo2(&c); break;
    case TOY_FAMILIES: break;
    }
    return c;
}

typedef struct {
    osv_weight *w;
    double mean, spread;
} drawn;

/* The weights of a block that the config calls for, in order; their shapes stand in them. */
static void draw_block(source *s, osv_block *b, double norm)
{
    const drawn all[] = {{&b->attention_norm, norm, 0.3},
                         {&b->q, 0, 0.5},
                         {&b->k, 0, 0.5},
                         {&b->v, 0, 0.5},
                         {&b->out, 0, 0.5},
                         {&b->ffn_norm, norm, 0.3},
                         {&b->gate, 0, 0.5},
                         {&b->up, 0, 0.5},
                         {&b->down, 0, 0.5},
                         {&b->attention_post_norm, norm, 0.3},
                         {&b->ffn_post_norm, norm, 0.3},
                         {&b->q_bias, 0, 0.2},
                         {&b->k_bias, 0, 0.2},
                         {&b->v_bias, 0, 0.2},
                         {&b->out_bias, 0, 0.2},
                         {&b->gate_bias, 0, 0.2},
                         {&b->up_bias, 0, 0.2},
                         {&b->down_bias, 0, 0.2},
                         {&b->q_norm, norm, 0.3},
                         {&b->k_norm, norm, 0.3}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].w->data)
            *all[i].w = random_weight(s, all[i].w->rows, all[i].w->cols, all[i].mean, all[i].spread);
}

toy toy_make(toy_family family, int N, unsigned seed)
{
    osv_config c = make_config(family, N);
    toy t = {0};
    osv_error e = {0};
    osv_shard shard;
    cr_assert_eq(osv_shard_make(&shard, &c, 0, 1, &e), 0);
    cr_assert_eq(osv_model_alloc(&t.model, &c, &shard, &e), 0);
    osv_model_shapes(&t.model, OSV_F32);
    int per_block = 8 * c.D + 4 * c.H * c.E * c.D + 3 * c.F * c.D + 4 * c.F + 6 * c.H * c.E;
    t.weights = malloc(sizeof(float) * (size_t)(N * per_block + 3 * c.V * c.D));
    source s = {.next = t.weights, .seed = seed};
    double norm = c.norm_offset > 0 ? 0 : 1;
    t.model.embed = random_weight(&s, c.V, c.D, 0, 1);
    for (int l = 0; l < N; l++) draw_block(&s, &t.model.block[l], norm);
    t.model.final_norm = random_weight(&s, 1, c.D, norm, 0.3);
    t.model.head = c.tied ? t.model.embed : random_weight(&s, c.V, c.D, 0, 0.5);
    return t;
}

void toy_free(toy *t)
{
    osv_model_free(&t->model);
    free(t->weights);
}
