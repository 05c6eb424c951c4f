/* Checkpoints that transformers, and others, have written; and how long a large one takes to open. */
#include "loader/checkpoint.h"

#include <math.h>
#include <time.h>

#include "checkpoint_large.h"
#include "files.h"
#include "loader/store.h"

static void open_any(const char *dir, int rank, int size, bool tied)
{
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    cr_assert_eq(osv_checkpoint_open(&c, &m, dir, rank, size, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(m.config.tied, tied, "%s", dir);
    cr_expect_eq(m.head.data == m.embed.data, tied, "%s", dir);
    cr_expect(m.embed.rows == m.shard.V && m.embed.cols == m.config.D, "%s", dir);
    osv_model_free(&m);
    osv_checkpoint_close(c);
}

Test(checkpoint_models, golden_models)
{
    static const struct {
        const char *name;
        bool tied;
    } golden[] = {{"llama-tiny", false}, {"llama-bf16", true},    {"gemma2-tiny", true},
                  {"gemma2-f16", true},  {"mistral", false},      {"qwen2", false},
                  {"qwen3", true},       {"gemma1", true},        {"gemma3", true},
                  {"gemma3-mm", true},   {"phi3", false},         {"phi4", true},
                  {"granite", true},     {"llama-linear", false}, {"llama-yarn", false},
                  {"llama-bias", false}, {"olmo2", false}};
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        for (int size = 1; size <= 4; size++)
            for (int rank = 0; rank < size; rank++) {
                char dir[512];
                snprintf(dir, sizeof dir, "%s/models/%s", OSV_GOLDEN, golden[i].name);
                open_any(dir, rank, size, golden[i].tied);
            }
}

static void open_golden(osv_checkpoint **c, osv_model *m, osv_store *s, const char *name, int rank, int size)
{
    char dir[512];
    osv_error e = {0};
    snprintf(dir, sizeof dir, "%s/models/%s", OSV_GOLDEN, name);
    cr_assert_eq(osv_checkpoint_open(c, m, dir, rank, size, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_store_open(s, dir, &e), OSV_OK, "%s", e.text);
}

static void check_rows(const osv_weight *w, const osv_store *s, const char *name, int row0)
{
    const osv_stored *stored = osv_store_find(s, name);
    cr_assert_not_null(stored, "%s", name);
    size_t row = (size_t)w->cols * osv_format_bytes(w->format);
    cr_assert_eq(stored->tensor->shape[1], w->cols);
    cr_expect(
        memcmp(w->data, (const char *)stored->tensor->data + (size_t)row0 * row, (size_t)w->rows * row) == 0,
        "%s from row %d", name, row0);
}

/* Matrices that are stored below each other are rows of one tensor, where they lie in the file. */
Test(checkpoint_models, fused_matrices)
{
    for (int size = 1; size <= 2; size++)
        for (int rank = 0; rank < size; rank++) {
            osv_checkpoint *c;
            osv_model m;
            osv_store s;
            open_golden(&c, &m, &s, "phi4", rank, size);
            const osv_config *g = &m.config;
            const osv_block *b = &m.block[1];
            int q = g->H * g->E, kv = g->K * g->E, q0 = m.shard.head0 * g->E, kv0 = m.shard.kv0 * g->E;
            check_rows(&b->q, &s, "model.layers.1.self_attn.qkv_proj.weight", q0);
            check_rows(&b->k, &s, "model.layers.1.self_attn.qkv_proj.weight", q + kv0);
            check_rows(&b->v, &s, "model.layers.1.self_attn.qkv_proj.weight", q + kv + kv0);
            check_rows(&b->gate, &s, "model.layers.1.mlp.gate_up_proj.weight", m.shard.ffn0);
            check_rows(&b->up, &s, "model.layers.1.mlp.gate_up_proj.weight", g->F + m.shard.ffn0);
            if (size == 1) { /* no copies: one below the other */
                cr_expect_eq((const char *)b->k.data - (const char *)b->q.data, (long)q * g->D * 2);
                cr_expect_eq((const char *)b->up.data - (const char *)b->gate.data, (long)g->F * g->D * 2);
            }
            osv_store_close(&s);
            osv_model_free(&m);
            osv_checkpoint_close(c);
        }
}

/* Norms of whole rows of queries and keys are split with them. */
Test(checkpoint_models, full_width_norms)
{
    for (int size = 1; size <= 4; size++)
        for (int rank = 0; rank < size; rank++) {
            osv_checkpoint *c;
            osv_model m;
            osv_store s;
            open_golden(&c, &m, &s, "olmo2", rank, size);
            const osv_block *b = &m.block[1];
            const osv_weight *w[] = {&b->q_norm, &b->k_norm};
            const int first[] = {m.shard.head0, m.shard.kv0}, count[] = {m.shard.H, m.shard.K};
            for (int i = 0; i < 2; i++) {
                const osv_stored *stored = osv_store_find(&s, i ? "model.layers.1.self_attn.k_norm.weight"
                                                                : "model.layers.1.self_attn.q_norm.weight");
                size_t element = osv_format_bytes(w[i]->format), E = (size_t)m.config.E;
                cr_assert_eq(w[i]->cols, count[i] * m.config.E);
                cr_expect(memcmp(w[i]->data,
                                 (const char *)stored->tensor->data + (size_t)first[i] * E * element,
                                 (size_t)w[i]->cols * element) == 0);
            }
            osv_store_close(&s);
            osv_model_free(&m);
            osv_checkpoint_close(c);
        }
}

/* ---- a large file ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A model is mapped, not read. The best of a few: others may keep the machine busy. */
Test(checkpoint_models, a_large_file_opens_at_once, .init = temp_open, .fini = temp_close)
{
    enum { TRIES = 3 };
    cr_assert_gt(make_large(12, 2048, 5632, 16384), (size_t)1 << 30);
    double best = 1e9, named = 1e9;
    for (int i = 0; i < TRIES; i++) {
        osv_error e = {0};
        osv_model m;
        osv_checkpoint *c;
        double start = now();
        int status = osv_checkpoint_open(&c, &m, temp_dir, 0, 1, &e);
        double opened = now();
        cr_assert_eq(status, OSV_OK, "%s", e.text);
        cr_assert_eq(strlen(osv_checkpoint_sha256(c)), 64);
        best = fmin(best, opened - start);
        named = fmin(named, now() - opened);
        osv_model_free(&m);
        osv_checkpoint_close(c);
    }
    cr_log_info("a model of 1 GB is open after %.4f s, its hash takes %.3f s", best, named);
    cr_expect(best < 0.3, "a model of 1 GB is open after %.4f s", best);
}

/* ---- files of others ---- */

Test(checkpoint_models, formats_and_post_norms_of_a_golden_model)
{
    char dir[512];
    snprintf(dir, sizeof dir, "%s/models/gemma2-f16", OSV_GOLDEN);
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    osv_store s;
    cr_assert_eq(osv_checkpoint_open(&c, &m, dir, 0, 1, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_store_open(&s, dir, &e), OSV_OK, "%s", e.text);
    const osv_block *b = &m.block[1];
    const struct {
        const char *name;
        const osv_weight *w;
    } norms[] = {
        {"input_layernorm", &b->attention_norm},
        {"post_attention_layernorm", &b->attention_post_norm},
        {"pre_feedforward_layernorm", &b->ffn_norm},
        {"post_feedforward_layernorm", &b->ffn_post_norm},
    };
    for (int i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.1.%s.weight", norms[i].name);
        const osv_stored *stored = osv_store_find(&s, name);
        cr_assert_not_null(stored, "%s", name);
        cr_expect_eq(norms[i].w->format, OSV_F16);
        cr_expect_arr_eq(norms[i].w->data, stored->tensor->data, stored->tensor->bytes);
    }
    osv_store_close(&s);
    osv_model_free(&m);
    osv_checkpoint_close(c);
}

Test(checkpoint_models, foreign_models)
{
    const char *data = getenv("OSV_TEST_DATA");
    if (!data) cr_skip_test("OSV_TEST_DATA is not set: no foreign models to open");
    static const struct {
        const char *name;
        bool tied;
    } foreign[] = {
        {"tinystories-656k-hf", true}, /* its embedding is stored as lm_head.weight only */
        {"stories260K-hf-derived", true},
        {"tiny-random-mlxd/tiny_llama3", false},
        {"tiny-random-mlxd/tiny_mistral", false},
        {"tiny-random-mlxd/tiny_gemma3", true},
        {"tiny-random-mlxd/tiny_qwen3", false},
    };
    char dir[512];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        for (int rank = 0; rank < 3; rank++) {
            snprintf(dir, sizeof dir, "%s/models/%s", data, foreign[i].name);
            open_any(dir, rank, 3, foreign[i].tied);
        }
    static const struct {
        const char *name, *piece;
    } refused[] = {
        {"tiny_qwen3_sharded_q4", "\"quantization\" is {"},
        {"tiny_gemma4", "\"model_type\" is \"gemma4\", a model whose blocks share keys and values"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        osv_error e = {0};
        osv_model m;
        osv_checkpoint *c;
        snprintf(dir, sizeof dir, "%s/models/tiny-random-mlxd/%s", data, refused[i].name);
        check_failure(refused[i].name, osv_checkpoint_open(&c, &m, dir, 0, 1, &e), &e, OSV_BAD_INPUT,
                      refused[i].piece);
    }
}
