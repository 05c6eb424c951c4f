#include "bench/random_model.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const bench_shape shapes[] = {
    {"llama-60m", 8, 512, 1408, 8, 8, 64, 32000, false, false},
    {"qwen2.5-0.5b", 24, 896, 4864, 14, 2, 64, 151936, true, false},
    {"gemma2-0.4b", 12, 1152, 6912, 4, 2, 256, 128000, true, true},
};

static uint64_t state = 1;

/* Uniform bf16 values of about 1/sqrt(cols); only their size matters here. */
static osv_weight random_weight(int rows, int cols)
{
    size_t n = (size_t)rows * (size_t)cols;
    uint16_t *data = malloc(n * sizeof *data);
    for (size_t i = 0; data && i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        data[i] = osv_bf16_from_float(((float)(state >> 40) / (1 << 23) - 1) * 1.7f / sqrtf((float)cols));
    }
    return (osv_weight){.data = data, .format = OSV_BF16, .rows = rows, .cols = cols};
}

const bench_shape *bench_shape_named(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(name, shapes[i].name) == 0) return &shapes[i];
    return NULL;
}

/* Every weight is there, or there was no memory for one. */
static bool complete(const osv_model *m)
{
    bool all = m->embed.data && m->head.data && m->final_norm.data;
    for (int l = 0; l < m->config.N; l++) {
        const osv_block *b = &m->block[l];
        all = all && b->attention_norm.data && b->q.data && b->k.data && b->v.data && b->out.data &&
              b->ffn_norm.data && b->gate.data && b->up.data && b->down.data;
        if (m->config.post_norms) all = all && b->attention_post_norm.data && b->ffn_post_norm.data;
    }
    return all;
}

int bench_model_make(osv_model *m, const bench_shape *s, osv_error *e)
{
    osv_config c = {
        .N = s->N, .D = s->D, .F = s->F, .H = s->H, .K = s->K, .E = s->E, .V = s->V, .positions = 4096};
    c.norm_eps = 1e-6;
    c.norm_offset = 1; /* norm weights near zero, as random_weight makes them */
    c.embed_scale = sqrt(s->D);
    c.activation = s->gemma ? OSV_GELU_TANH : OSV_SILU;
    c.query_scale = 1 / sqrt(s->E);
    c.rot = s->E;
    c.rope = (osv_rope){.theta = 10000};
    c.post_norms = s->gemma;
    c.attention_softcap = s->gemma ? 50 : 0;
    c.final_softcap = s->gemma ? 30 : 0;
    osv_shard shard;
    OSV_TRY(osv_shard_make(&shard, &c, 0, 1, e));
    OSV_TRY(osv_model_alloc(m, &c, &shard, e));
    m->embed = random_weight(c.V, c.D);
    m->head = s->tied ? m->embed : random_weight(c.V, c.D);
    m->final_norm = random_weight(1, c.D);
    for (int l = 0; l < c.N; l++) {
        osv_block *b = &m->block[l];
        b->attention_norm = random_weight(1, c.D);
        b->q = random_weight(c.H * c.E, c.D);
        b->k = random_weight(c.K * c.E, c.D);
        b->v = random_weight(c.K * c.E, c.D);
        b->out = random_weight(c.D, c.H * c.E);
        b->ffn_norm = random_weight(1, c.D);
        b->gate = random_weight(c.F, c.D);
        b->up = random_weight(c.F, c.D);
        b->down = random_weight(c.D, c.F);
        if (s->gemma) {
            b->attention_post_norm = random_weight(1, c.D);
            b->ffn_post_norm = random_weight(1, c.D);
        }
    }
    return complete(m) ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for the weights of %s", s->name);
}
