/* For suites of checkpoints: a large model in the temporary folder. */
#ifndef OSV_TESTS_CHECKPOINT_LARGE_H
#define OSV_TESTS_CHECKPOINT_LARGE_H

#include <fcntl.h>
#include <unistd.h>

#include "files.h"

/* A Llama in bf16, of zeros: a header, and a file that is long but takes no disk. Returns the bytes of its
 * tensors. */
static inline size_t make_large(int N, int D, int F, int V)
{
    static char header[1 << 16];
    size_t used = 0, at = 0;
    char config[512];
    snprintf(config, sizeof config,
             "{\"model_type\": \"llama\", \"hidden_size\": %d, \"intermediate_size\": %d, "
             "\"num_hidden_layers\": %d, \"num_attention_heads\": 16, \"vocab_size\": %d}",
             D, F, N, V);
    temp_text("config.json", config);
    const struct {
        const char *name;
        int rows, cols;
    } block[] = {{"input_layernorm", 0, D},  {"post_attention_layernorm", 0, D},
                 {"self_attn.q_proj", D, D}, {"self_attn.k_proj", D, D},
                 {"self_attn.v_proj", D, D}, {"self_attn.o_proj", D, D},
                 {"mlp.gate_proj", F, D},    {"mlp.up_proj", F, D},
                 {"mlp.down_proj", D, F},    {"model.embed_tokens", V, D},
                 {"lm_head", V, D},          {"model.norm", 0, D}};
    enum { OF_BLOCK = 9, ALL = 12 };
    used += (size_t)sprintf(header, "{");
    for (int i = 0; i < OF_BLOCK * N + ALL - OF_BLOCK; i++) {
        int k = i < OF_BLOCK * N ? i % OF_BLOCK : i - OF_BLOCK * N + OF_BLOCK;
        size_t bytes = 2 * (size_t)(block[k].rows ? block[k].rows : 1) * (size_t)block[k].cols;
        char prefix[32] = "", rows[16] = "";
        if (k < OF_BLOCK) snprintf(prefix, sizeof prefix, "model.layers.%d.", i / OF_BLOCK);
        if (block[k].rows) snprintf(rows, sizeof rows, "%d, ", block[k].rows);
        used += (size_t)snprintf(
            header + used, sizeof header - used,
            "%s\"%s%s.weight\": {\"dtype\": \"BF16\", \"shape\": [%s%d], \"data_offsets\": [%zu, %zu]}",
            i ? ", " : "", prefix, block[k].name, rows, block[k].cols, at, at + bytes);
        at += bytes;
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    while (used % 8) header[used++] = ' '; /* tensors lie aligned, and need not be copied */
    cr_assert_lt(used, sizeof header - 8);
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(used >> 8 * i);
    int f = open(temp_path("model.safetensors"), O_CREAT | O_WRONLY, 0666);
    cr_assert(f >= 0 && write(f, length, 8) == 8 && write(f, header, used) == (ssize_t)used);
    cr_assert_eq(ftruncate(f, (off_t)(8 + used + at)), 0);
    close(f);
    return at;
}

#endif
