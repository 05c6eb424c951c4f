/* Checkpoints that transformers, and others, have written. */
#include "loader/checkpoint.h"

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
    } golden[] = {{"llama-tiny", false}, {"llama-bf16", true}, {"gemma2-tiny", true}, {"gemma2-f16", true}};
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        for (int size = 1; size <= 4; size++)
            for (int rank = 0; rank < size; rank++) {
                char dir[512];
                snprintf(dir, sizeof dir, "%s/models/%s", OSV_GOLDEN, golden[i].name);
                open_any(dir, rank, size, golden[i].tied);
            }
}

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
    };
    char dir[512];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        for (int rank = 0; rank < 3; rank++) {
            snprintf(dir, sizeof dir, "%s/models/%s", data, foreign[i].name);
            open_any(dir, rank, 3, foreign[i].tied);
        }
    osv_error e = {0};
    snprintf(dir, sizeof dir, "%s/models/tiny-random-mlxd/tiny_qwen3_sharded_q4", data);
    osv_model m;
    osv_checkpoint *c;
    check_failure("qwen3", osv_checkpoint_open(&c, &m, dir, 0, 1, &e), &e, OSV_BAD_INPUT,
                  "\"model_type\" is \"qwen3\"");
}
