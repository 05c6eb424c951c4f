/* Checkpoints that do not fit their config.json: an error that names tensor and shape, and nothing left open.
 */
#include "loader/checkpoint.h"

#include "checkpoint_made.h"

#define UP "model.layers.1.mlp.up_proj.weight"

/* To add a case: name, config, a tensor to drop, one to add, what the message must say. */
static const struct {
    const char *name, *config, *drop;
    osv_tensor_out add;
    const char *piece;
} bad[] = {
    {"missing in a block", PLAIN, UP, {0}, "block 1: tensor " UP " is missing"},
    {"missing norm", PLAIN, "model.norm.weight", {0}, "tensor model.norm.weight is missing"},
    {"missing embedding",
     PLAIN,
     "model.embed_tokens.weight",
     {0},
     "tensor model.embed_tokens.weight is missing"},
    {"missing head",
     PLAIN,
     "lm_head.weight",
     {0},
     "lm_head.weight is missing, and \"tie_word_embeddings\" is not true"},
    {"wrong rows",
     PLAIN,
     UP,
     {UP, "F32", 2, {19, 8}, 0},
     "tensor " UP " has shape [19, 8], config.json asks for [20, 8]"},
    {"transposed", PLAIN, UP, {UP, "F32", 2, {8, 20}, 0}, "has shape [8, 20], config.json asks for [20, 8]"},
    {"wrong rank", PLAIN, UP, {UP, "F32", 3, {20, 8, 1}, 0}, "has shape [20, 8, 1]"},
    {"scalar", PLAIN, UP, {UP, "F32", 0, {0}, 0}, "has shape [], config.json"},
    {"norm as a matrix",
     PLAIN,
     "model.norm.weight",
     {"model.norm.weight", "F32", 2, {1, 8}, 0},
     "has shape [1, 8], config.json asks for [8]"},
    {"longer vocabulary",
     PLAIN,
     "lm_head.weight",
     {"lm_head.weight", "F32", 2, {12, 8}, 0},
     "config.json asks for [11, 8]"},
    {"quantized",
     PLAIN,
     UP,
     {UP, "U8", 2, {20, 8}, 0},
     "tensor " UP " has dtype U8, supported: F32, F16, BF16"},
    {"double", PLAIN, UP, {UP, "F64", 2, {10, 8}, 0}, "has dtype F64"},
    {"bias that the config denies",
     PLAIN,
     NULL,
     {"model.layers.0.mlp.up_proj.bias", "F32", 1, {20}, 0},
     "tensor model.layers.0.mlp.up_proj.bias has no place in the model"},
    {"one block too many",
     PLAIN,
     NULL,
     {"model.layers.2.mlp.up_proj.weight", "F32", 2, {20, 8}, 0},
     "tensor model.layers.2.mlp.up_proj.weight has no place"},
    {"norm of another family",
     PLAIN,
     NULL,
     {"model.layers.0.self_attn.q_norm.weight", "F32", 1, {6}, 0},
     "q_norm"},
    {"bias missing", BIASED, NULL, {0}, "block 0: tensor model.layers.0.self_attn.q_proj.bias is missing"},
    {"ffn bias missing", DEEPER, NULL, {0}, "block 0: tensor model.layers.0.mlp.gate_proj.bias is missing"},
    {"no architecture", "{}", NULL, {0}, "config.json: neither"},
};

Test(checkpoint_broken, broken_tensors, .init = temp_open, .fini = temp_close)
{
    static const float zeros[ROOM];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_tensors();
        if (bad[i].drop) drop(bad[i].drop);
        if (bad[i].add.name) {
            stored *s = put(bad[i].add.name, 0, 1);
            s->out = bad[i].add;
            memcpy(s->data, zeros, sizeof zeros);
        }
        write_model(bad[i].config);
        osv_error e = {0};
        osv_model m;
        osv_checkpoint *c;
        int status = osv_checkpoint_open(&c, &m, temp_dir, 0, 1, &e);
        check_failure(bad[i].name, status, &e, OSV_BAD_INPUT, bad[i].piece);
        cr_expect(strstr(e.text, temp_dir) == e.text, "%s: \"%s\" names no file", bad[i].name, e.text);
        cr_expect_null(c);
        cr_expect_null(m.block);
    }
}

Test(checkpoint_broken, more_ranks_than_heads, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_model(PLAIN);
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    check_failure("ranks", osv_checkpoint_open(&c, &m, temp_dir, 0, 5, &e), &e, OSV_USAGE,
                  "cannot share 4 query heads");
}
