/* For the suites of checkpoints: a small model, made in memory, changed as a test likes, written as files. */
#ifndef OSV_TESTS_CHECKPOINT_MADE_H
#define OSV_TESTS_CHECKPOINT_MADE_H

#include "files.h"
#include "loader/safetensors.h"

/* A Llama with sizes that all differ, H E != D, and heads that 3 ranks cannot share evenly. */
enum { N = 2, D = 8, F = 20, H = 4, K = 2, E = 6, V = 11, TENSORS = 3 + 9 * N, ROOM = 200 };

#define CONFIG(more)                                                                                       \
    "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 20, \"num_hidden_layers\": 2," \
    " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 6, \"vocab_size\": 11" more "}"
#define PLAIN  CONFIG("")
#define TIED   CONFIG(", \"tie_word_embeddings\": true")
#define BIASED CONFIG(", \"attention_bias\": true")
#define DEEPER CONFIG(", \"mlp_bias\": true")

typedef struct {
    char name[80];
    osv_tensor_out out;
    float data[ROOM];
} stored;

/* The model's tensors, F32, element i of tensor t being 1000 t + i: every slice can be told from any other.
 */
static stored model[TENSORS + 4];
static int tensors;

static inline stored *put(const char *name, int rows, int cols)
{
    stored *s = &model[tensors];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->out = (osv_tensor_out){s->name, "F32", rows ? 2 : 1, {rows ? rows : cols, cols}, s->data};
    cr_assert((rows ? rows : 1) * cols <= ROOM);
    for (int i = 0; i < ROOM; i++) s->data[i] = (float)(1000 * tensors + i);
    tensors++;
    return s;
}

static inline void make_tensors(void)
{
    static const struct {
        const char *name;
        int rows, cols;
    } block[] = {
        {"input_layernorm", 0, D},      {"post_attention_layernorm", 0, D},
        {"self_attn.q_proj", H * E, D}, {"self_attn.k_proj", K * E, D},
        {"self_attn.v_proj", K * E, D}, {"self_attn.o_proj", D, H * E},
        {"mlp.gate_proj", F, D},        {"mlp.up_proj", F, D},
        {"mlp.down_proj", D, F},
    };
    tensors = 0;
    put("model.embed_tokens.weight", V, D);
    put("model.norm.weight", 0, D);
    put("lm_head.weight", V, D);
    for (int l = 0; l < N; l++)
        for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, block[i].name);
            put(name, block[i].rows, block[i].cols);
        }
}

static inline stored *get(const char *name)
{
    for (int i = 0; i < tensors; i++)
        if (strcmp(model[i].name, name) == 0) return &model[i];
    cr_assert(false, "the test's model has no %s", name);
    return NULL;
}

static inline void drop(const char *name)
{
    stored *s = get(name);
    *s = model[--tensors];
    s->out.name = s->name;
    s->out.data = s->data;
}

/* Writes tensors [first, end) of the model as a file of the folder. */
static inline void write_file(const char *name, int first, int end)
{
    osv_tensor_out out[TENSORS + 4];
    for (int i = first; i < end; i++) {
        out[i - first] = model[i].out;
        out[i - first].name = model[i].name;
        out[i - first].data = model[i].data;
    }
    osv_error e = {0};
    cr_assert_eq(osv_safetensors_write(temp_path(name), out, end - first, NULL, 0, &e), OSV_OK, "%s", e.text);
}

static inline void write_model(const char *config)
{
    temp_text("config.json", config);
    write_file("model.safetensors", 0, tensors);
}

#endif
