#include "loader/random_model.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char PREFIX[] = "random:";

/* ---- shapes ---- */

typedef enum { LLAMA, QWEN2, QWEN3, MISTRAL, GEMMA, GEMMA2, GEMMA3, PHI3, GRANITE, OLMO2 } family;
static const char *const FAMILY[] = {"llama",  "qwen2",       "qwen3", "mistral", "gemma",
                                     "gemma2", "gemma3_text", "phi3",  "granite", "olmo2"};

typedef struct {
    const char *name;
    family family;
    int N, D, F, H, K, E, V;
    bool tied;
    int positions;
    double theta;
    double factor; /* > 0: Llama 3's stretching of the rotary embeddings */
    double scalar; /* query_pre_attn_scalar; 0: E */
} shape;

/* As published in each model's config.json; llama-60m and gemma2-0.4b are small shapes of our own. */
static const shape SHAPES[] = {
    {"llama-60m", LLAMA, 8, 512, 1408, 8, 8, 64, 32000, false, 4096, 1e4, 0, 0},
    {"llama-3.2-1b", LLAMA, 16, 2048, 8192, 32, 8, 64, 128256, true, 131072, 5e5, 32, 0},
    {"llama-3.2-3b", LLAMA, 28, 3072, 8192, 24, 8, 128, 128256, true, 131072, 5e5, 32, 0},
    {"llama-3.1-8b", LLAMA, 32, 4096, 14336, 32, 8, 128, 128256, false, 131072, 5e5, 8, 0},
    {"llama-3.1-70b", LLAMA, 80, 8192, 28672, 64, 8, 128, 128256, false, 131072, 5e5, 8, 0},
    {"llama-3.1-405b", LLAMA, 126, 16384, 53248, 128, 8, 128, 128256, false, 131072, 5e5, 8, 0},
    {"mistral-7b", MISTRAL, 32, 4096, 14336, 32, 8, 128, 32000, false, 32768, 1e4, 0, 0},
    {"qwen2.5-0.5b", QWEN2, 24, 896, 4864, 14, 2, 64, 151936, true, 32768, 1e6, 0, 0},
    {"qwen2.5-7b", QWEN2, 28, 3584, 18944, 28, 4, 128, 152064, false, 131072, 1e6, 0, 0},
    {"qwen3-0.6b", QWEN3, 28, 1024, 3072, 16, 8, 128, 151936, true, 40960, 1e6, 0, 0},
    {"qwen3-8b", QWEN3, 36, 4096, 12288, 32, 8, 128, 151936, false, 40960, 1e6, 0, 0},
    {"gemma-2b", GEMMA, 18, 2048, 16384, 8, 1, 256, 256000, true, 8192, 1e4, 0, 0},
    {"gemma2-0.4b", GEMMA2, 12, 1152, 6912, 4, 2, 256, 128000, true, 8192, 1e4, 0, 256},
    {"gemma-2-2b", GEMMA2, 26, 2304, 9216, 8, 4, 256, 256000, true, 8192, 1e4, 0, 256},
    {"gemma-2-9b", GEMMA2, 42, 3584, 14336, 16, 8, 256, 256000, true, 8192, 1e4, 0, 256},
    {"gemma-2-27b", GEMMA2, 46, 4608, 36864, 32, 16, 128, 256000, true, 8192, 1e4, 0, 144},
    {"gemma-3-1b", GEMMA3, 26, 1152, 6912, 4, 1, 256, 262144, true, 32768, 1e6, 0, 256},
    {"phi-3-mini", PHI3, 32, 3072, 8192, 32, 32, 96, 32064, false, 4096, 1e4, 0, 0},
    {"granite-3.1-8b", GRANITE, 40, 4096, 12800, 32, 8, 128, 49155, true, 131072, 1e7, 0, 0},
    {"olmo-2-7b", OLMO2, 32, 4096, 11008, 32, 32, 128, 100352, false, 4096, 5e5, 0, 0},
};
enum { SHAPES_COUNT = sizeof SHAPES / sizeof *SHAPES };

bool osv_random_is(const char *dir)
{
    return strncmp(dir, PREFIX, sizeof PREFIX - 1) == 0;
}

const char *osv_random_shape(int i)
{
    return i < SHAPES_COUNT ? SHAPES[i].name : NULL;
}

static const char *shape_name(const char *dir)
{
    return osv_random_is(dir) ? dir + sizeof PREFIX - 1 : dir;
}

static int find(const shape **s, const char *dir, osv_error *e)
{
    char names[600] = "";
    for (int i = 0, used = 0; i < SHAPES_COUNT; i++) {
        *s = &SHAPES[i];
        if (strcmp((*s)->name, shape_name(dir)) == 0) return OSV_OK;
        used += snprintf(names + used, sizeof names - (size_t)used, "%s%s", i ? ", " : "", (*s)->name);
    }
    return OSV_FAIL(e, OSV_USAGE, "%s: no such shape of a random model; there are %s", dir, names);
}

static void be_llama(osv_config *c, const shape *s)
{
    c->norm_eps = 1e-5;
    if (s->factor > 0)
        c->rope[0] = (osv_rope){.kind = OSV_ROPE_LLAMA3,
                                .theta = s->theta,
                                .scale = 1,
                                .factor = s->factor,
                                .low_freq = 1,
                                .high_freq = 4,
                                .original = 8192};
}

static void be_mistral(osv_config *c)
{
    c->norm_eps = 1e-5;
    for (int l = 0; l < c->N; l++) c->window[l] = 4096;
}

static void be_phi3(osv_config *c)
{
    c->norm_eps = 1e-5;
    for (int l = 0; l < c->N; l++) c->window[l] = 2047;
}

/* What all Gemmas share. */
static void be_gemma(osv_config *c)
{
    c->norm_offset = 1;
    c->embed_scale = sqrt(c->D);
    c->embed_scale_dtype = true;
    c->activation = OSV_GELU_TANH;
}

static void be_gemma2(osv_config *c)
{
    be_gemma(c);
    c->post_norms = true;
    c->attention_softcap = 50;
    c->final_softcap = 30;
    for (int l = 0; l < c->N; l += 2) c->window[l] = 4096;
}

static void be_gemma3(osv_config *c)
{
    be_gemma(c);
    c->post_norms = true;
    c->qk_norm = OSV_QK_NORM_HEAD;
    c->ropes = 2;
    c->rope[1] = (osv_rope){.theta = 1e4, .scale = 1};
    for (int l = 0; l < c->N; l++) {
        c->block_rope[l] = (l + 1) % 6 != 0;
        c->window[l] = c->block_rope[l] ? 512 : 0;
    }
}

static void be_granite(osv_config *c)
{
    c->norm_eps = 1e-5;
    c->embed_scale = 12;
    c->query_scale = 0.0078125;
    c->residual_scale = 0.22;
    c->logit_scale = 1 / 16.0;
}

static void be_olmo2(osv_config *c)
{
    c->pre_norms = false;
    c->post_norms = true;
    c->qk_norm = OSV_QK_NORM_WIDTH;
}

static void be_of_family(osv_config *c, const shape *s)
{
    switch (s->family) {
    case LLAMA: be_llama(c, s); break;
    case QWEN2: c->qkv_bias = true; break;
    case QWEN3: c->qk_norm = OSV_QK_NORM_HEAD; break;
    case MISTRAL: be_mistral(c); break;
    case GEMMA: be_gemma(c); break;
    case GEMMA2: be_gemma2(c); break;
    case GEMMA3: be_gemma3(c); break;
    case PHI3: be_phi3(c); break;
    case GRANITE: be_granite(c); break;
    case OLMO2: be_olmo2(c); break;
    }
}

int osv_random_config(osv_config *config, const char *dir, osv_error *e)
{
    const shape *s;
    *config = (osv_config){0};
    OSV_TRY(find(&s, dir, e));
    osv_config *c = config;
    *c = (osv_config){.N = s->N,
                      .D = s->D,
                      .F = s->F,
                      .H = s->H,
                      .K = s->K,
                      .E = s->E,
                      .V = s->V,
                      .positions = s->positions};
    c->norm_eps = 1e-6;
    c->pre_norms = true;
    c->embed_scale = 1;
    c->residual_scale = 1;
    c->logit_scale = 1;
    c->activation = OSV_SILU;
    c->query_scale = 1 / sqrt(s->scalar > 0 ? s->scalar : s->E);
    c->rot = s->E;
    c->ropes = 1;
    c->rope[0] = (osv_rope){.theta = s->theta, .scale = 1};
    c->tied = s->tied;
    c->format = OSV_BF16;
    c->bos = -1;
    snprintf(c->family, sizeof c->family, "%s", FAMILY[s->family]);
    be_of_family(c, s);
    return OSV_OK;
}

int osv_random_sha256(char hex[65], const char *dir, unsigned long long seed, osv_error *e)
{
    char text[96];
    unsigned char digest[EVP_MAX_MD_SIZE];
    int bytes = snprintf(text, sizeof text, "osv-random/1\n%s\n%llu\n", shape_name(dir), seed);
    if (EVP_Digest(text, (size_t)bytes, digest, NULL, EVP_sha256(), NULL) != 1)
        return OSV_FAIL(e, OSV_DEVICE, "%s: no SHA-256", dir);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return OSV_OK;
}

/* ---- where everything lies ---- */

enum { ALIGNMENT = 256, LAP_STEP = 1 << 20, LAPS = 64 };

/* The layout runs twice, first to count, then to place: as engine/plan does it. */
typedef struct {
    char *memory;          /* NULL: counts */
    size_t total, largest; /* bytes of the whole matrices */
    size_t row;            /* bytes of a row of neutral weights, and of one of zeros, in front of the pool */
    size_t pool;           /* bytes of the pool */
    size_t at;             /* where in it the next matrix starts */
    size_t laps;
    size_t copied; /* bytes of columns behind the pool */
} layout;

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The next stretch of the pool. Each lap starts a little later than the one before, so that large matrices
 * are not the same. */
static char *stretch(layout *t, int rows, int cols)
{
    size_t bytes = aligned(2 * (size_t)rows * (size_t)cols);
    t->total += bytes;
    if (bytes > t->largest) t->largest = bytes;
    if (!t->memory) return NULL;
    if (t->at + bytes > t->pool) t->at = ++t->laps % LAPS * LAP_STEP;
    char *data = t->memory + 2 * t->row + t->at;
    t->at += bytes;
    return data;
}

/* Rows row0 .. row0 + count of a whole matrix [rows, cols], where they lie. */
static void some_rows(layout *t, osv_weight *w, int rows, int row0, int count, int cols)
{
    char *data = stretch(t, rows, cols);
    *w = (osv_weight){data ? data + 2 * (size_t)row0 * (size_t)cols : NULL, OSV_BF16, count, cols};
}

/* Columns of one: a copy where they are not all. */
static void some_cols(layout *t, osv_weight *w, int rows, int cols, int col0, int count)
{
    const char *data = stretch(t, rows, cols);
    *w = (osv_weight){data, OSV_BF16, rows, count};
    if (count == cols) return;
    size_t stride = 2 * (size_t)cols, bytes = 2 * (size_t)count;
    char *copy = data ? t->memory + 2 * t->row + t->pool + t->copied : NULL;
    t->copied += aligned((size_t)rows * bytes);
    w->data = copy;
    for (int r = 0; copy && r < rows; r++)
        memcpy(copy + (size_t)r * bytes, data + (size_t)r * stride + 2 * (size_t)col0, bytes);
}

static void neutral(const layout *t, osv_weight *w, int cols)
{
    *w = (osv_weight){t->memory, OSV_BF16, 1, cols};
}

static void zeros(const layout *t, osv_weight *w, int cols)
{
    *w = (osv_weight){t->memory ? t->memory + t->row : NULL, OSV_BF16, 1, cols};
}

static void lay_out_block(layout *t, const osv_model *m, osv_block *b)
{
    const osv_config *c = &m->config;
    const osv_shard *s = &m->shard;
    int D = c->D, E = c->E;
    if (c->pre_norms) neutral(t, &b->attention_norm, D);
    some_rows(t, &b->q, c->H * E, s->head0 * E, s->H * E, D);
    some_rows(t, &b->k, c->K * E, s->kv0 * E, s->K * E, D);
    some_rows(t, &b->v, c->K * E, s->kv0 * E, s->K * E, D);
    if (c->qkv_bias) {
        zeros(t, &b->q_bias, s->H * E);
        zeros(t, &b->k_bias, s->K * E);
        zeros(t, &b->v_bias, s->K * E);
    }
    if (c->qk_norm) {
        bool by_head = c->qk_norm == OSV_QK_NORM_HEAD;
        neutral(t, &b->q_norm, by_head ? E : s->H * E);
        neutral(t, &b->k_norm, by_head ? E : s->K * E);
    }
    some_cols(t, &b->out, D, c->H * E, s->head0 * E, s->H * E);
    if (c->pre_norms) neutral(t, &b->ffn_norm, D);
    some_rows(t, &b->gate, c->F, s->ffn0, s->F, D);
    some_rows(t, &b->up, c->F, s->ffn0, s->F, D);
    some_cols(t, &b->down, D, c->F, s->ffn0, s->F);
    if (c->post_norms) {
        neutral(t, &b->attention_post_norm, D);
        neutral(t, &b->ffn_post_norm, D);
    }
}

static void lay_out(layout *t, osv_model *m)
{
    const osv_config *c = &m->config;
    some_rows(t, &m->embed, c->V, m->shard.vocab0, m->shard.V, c->D);
    for (int l = 0; l < c->N; l++) lay_out_block(t, m, &m->block[l]);
    neutral(t, &m->final_norm, c->D);
    if (c->tied)
        m->head = m->embed;
    else
        some_rows(t, &m->head, c->V, m->shard.vocab0, m->shard.V, c->D);
}

/* ---- the numbers ---- */

/* Four numbers come out of one word of splitmix64 (Steele et al. 2014) over a counter, 12 bits each, so what
 * is drawn depends neither on an order nor on the number of threads. n is a multiple of 4. */
static void fill(uint16_t *x, size_t n, unsigned long long seed)
{
    enum { BITS = 12, NUMBERS = 1 << BITS };
    uint16_t number[NUMBERS];
    const double most = 0.02 * sqrt(3); /* of uniform numbers with the standard deviation 0.02 */
    for (int i = 0; i < NUMBERS; i++)
        number[i] = osv_bf16_from_float((float)(most * ((2 * i + 1) / (double)NUMBERS - 1)));
    const uint64_t start = (uint64_t)seed * 0xd1342543de82ef95u;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n / 4; i++) {
        uint64_t z = start + (i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        for (int k = 0; k < 4; k++) x[4 * i + (size_t)k] = number[z >> 16 * k & (NUMBERS - 1)];
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

int osv_random_fill(osv_model *m, void **memory, size_t *bytes, size_t most, unsigned long long seed,
                    osv_error *e)
{
    const osv_config *c = &m->config;
    layout t = {0};
    lay_out(&t, m);
    size_t room = (most > t.largest ? most : t.largest) + LAPS * (size_t)LAP_STEP;
    size_t cols = (size_t)larger(c->D, c->H * c->E);
    t = (layout){.row = aligned(2 * cols),
                 .pool = t.total <= most ? t.total : smaller(t.total, room),
                 .copied = t.copied};
    *bytes = 2 * t.row + t.pool + t.copied;
    *memory = t.memory = aligned_alloc(ALIGNMENT, *bytes);
    if (!t.memory)
        return OSV_FAIL(e, OSV_DEVICE, "out of memory: %.2f GB asked for random weights",
                        (double)*bytes / 1e9);
    uint16_t *row = (uint16_t *)(void *)t.memory;
    for (size_t i = 0; i < cols; i++) row[i] = osv_bf16_from_float((float)(1 - c->norm_offset));
    memset(t.memory + t.row, 0, t.row);
    fill((uint16_t *)(void *)(t.memory + 2 * t.row), t.pool / 2, seed);
    t.copied = 0;
    lay_out(&t, m);
    return OSV_OK;
}
