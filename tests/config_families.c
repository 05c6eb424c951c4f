/* config.json of every family: what a file as the hub has it comes to, what missing keys mean (transformers'
 * config classes), old and new keys, and what is refused. */
#include <math.h>
#include <stddef.h>

#include "files.h"
#include "loader/checkpoint.h"
#include "loader/json.h"
#include "patch.h"

#define SIZES                                                                                               \
    "\"hidden_size\": 64, \"intermediate_size\": 96, \"num_hidden_layers\": 6, \"num_attention_heads\": 8," \
    " \"num_key_value_heads\": 4, \"vocab_size\": 200"

/* Nothing but what every file has. */
static const char *const BASE[] = {
    "{\"model_type\": \"llama\", " SIZES "}",
    "{\"model_type\": \"mistral\", " SIZES "}",
    "{\"model_type\": \"qwen2\", " SIZES "}",
    "{\"model_type\": \"qwen3\", " SIZES "}",
    "{\"model_type\": \"gemma\", " SIZES "}",
    "{\"model_type\": \"gemma3_text\", " SIZES "}",
    "{\"model_type\": \"phi3\", " SIZES "}",
    "{\"model_type\": \"granite\", " SIZES "}",
    "{\"model_type\": \"olmo2\", " SIZES "}",
    /* as the multimodal Gemma 3 has it: most sizes are missing */
    "{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"model_type\": \"gemma3\", "
    "\"boi_token_index\": 5,"
    " \"mm_tokens_per_image\": 256, \"eos_token_id\": [1, 106], \"initializer_range\": 0.02,"
    " \"torch_dtype\": \"bfloat16\", \"vision_config\": {\"hidden_size\": 1152},"
    " \"text_config\": {\"model_type\": \"gemma3_text\", \"hidden_size\": 2560, \"intermediate_size\": 10240,"
    " \"num_hidden_layers\": 34, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"},"
    " \"sliding_window\": 1024}}",
};
enum base { LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GEMMA3, PHI3, GRANITE, OLMO2, GEMMA3_MM };

static int read_patched(osv_config *c, enum base base, const char *patch, osv_error *e)
{
    char *text = patched(BASE[base], patch);
    int status = osv_config_parse(c, text, strlen(text), "config.json", e);
    free(text);
    return status;
}

#define INT(field)  offsetof(osv_config, field), 'i'
#define REAL(field) offsetof(osv_config, field), 'd'
#define FLAG(field) offsetof(osv_config, field), 'b'

#define TYPES(a, b, c) "\"layer_types\": [\"" a "\", \"" b "\", \"" c "\", \"" a "\", \"" b "\", \"" c "\"]"
#define FULL           "full_attention"
#define SLIDING        "sliding_attention"

/* Heads of 8 components: 4 pairs. */
#define LONG                                                                          \
    "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1.5, 2, 2.5], " \
    "\"long_factor\": [1, 2, 4, 8]}"

/* To add a case: base, patch, field, its value. */
static const struct {
    enum base base;
    const char *patch;
    size_t offset;
    char type;
    double value;
} good[] = {
    {MISTRAL, "{}", INT(window[0]), 4096},
    {MISTRAL, "{}", INT(window[5]), 4096},
    {MISTRAL, "{}", INT(positions), 131072},
    {MISTRAL, "{}", FLAG(tied), 0},
    {MISTRAL, "{}", FLAG(qkv_bias), 0},
    {MISTRAL, "{\"num_key_value_heads\": \"-\"}", INT(K), 8},
    {MISTRAL, "{\"num_key_value_heads\": null}", INT(K), 8},
    {MISTRAL, "{\"sliding_window\": null}", INT(window[0]), 0},
    {MISTRAL, "{\"use_sliding_window\": false}", INT(window[0]), 0},
    {MISTRAL, "{\"sliding_window\": 7, " TYPES(SLIDING, SLIDING, SLIDING) "}", INT(window[3]), 7},

    {QWEN2, "{}", FLAG(qkv_bias), 1},
    {QWEN2, "{}", FLAG(out_bias), 0},
    {QWEN2, "{}", INT(qk_norm), OSV_QK_NORM_NONE},
    {QWEN2, "{}", INT(window[5]), 0},
    {QWEN2, "{}", REAL(norm_eps), 1e-6},
    {QWEN2, "{\"sliding_window\": 16}", INT(window[5]), 0},
    {QWEN2, "{\"use_sliding_window\": true, \"sliding_window\": 16}", INT(window[5]), 0},
    {QWEN2, "{\"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 4}",
     INT(window[3]), 0},
    {QWEN2, "{\"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 4}",
     INT(window[4]), 16},
    {QWEN2, "{\"use_sliding_window\": true, \"sliding_window\": 16, " TYPES(FULL, SLIDING, FULL) "}",
     INT(window[1]), 16},
    {QWEN2, "{\"use_sliding_window\": true, \"sliding_window\": 16, " TYPES(FULL, SLIDING, FULL) "}",
     INT(window[2]), 0},
    {QWEN2, "{\"attention_bias\": false}", FLAG(qkv_bias), 1},

    {QWEN3, "{}", INT(E), 128},
    {QWEN3, "{}", INT(qk_norm), OSV_QK_NORM_HEAD},
    {QWEN3, "{}", FLAG(qkv_bias), 0},
    {QWEN3, "{\"attention_bias\": true}", FLAG(out_bias), 1},
    {QWEN3, "{\"num_attention_heads\": 64, \"num_key_value_heads\": \"-\"}", INT(K), 32},
    {QWEN3, "{\"rope_theta\": 1000000}", REAL(rope[0].theta), 1e6},

    {GEMMA, "{}", REAL(norm_offset), 1},
    {GEMMA, "{}", REAL(embed_scale), 8},
    {GEMMA, "{}", FLAG(embed_scale_dtype), 1},
    {GEMMA, "{}", FLAG(tied), 1},
    {GEMMA, "{}", FLAG(post_norms), 0},
    {GEMMA, "{}", INT(E), 256},
    {GEMMA, "{}", REAL(query_scale), 1.0 / 16},
    {GEMMA, "{}", INT(activation), OSV_GELU_TANH},
    {GEMMA, "{\"hidden_act\": \"gelu\"}", INT(activation), OSV_GELU_TANH},
    {GEMMA, "{\"hidden_act\": \"gelu\", \"hidden_activation\": \"gelu_pytorch_tanh\"}", INT(activation),
     OSV_GELU_TANH},
    {GEMMA, "{\"num_attention_heads\": 16, \"num_key_value_heads\": \"-\"}", INT(K), 16},

    {GEMMA3, "{}", INT(qk_norm), OSV_QK_NORM_HEAD},
    {GEMMA3, "{}", FLAG(post_norms), 1},
    {GEMMA3, "{}", INT(ropes), 2},
    {GEMMA3, "{}", REAL(rope[0].theta), 1e6},
    {GEMMA3, "{}", REAL(rope[1].theta), 1e4},
    {GEMMA3, "{}", INT(window[0]), 4096},
    {GEMMA3, "{}", INT(window[5]), 0},
    {GEMMA3, "{}", INT(block_rope[4]), 1},
    {GEMMA3, "{}", INT(block_rope[5]), 0},
    {GEMMA3, "{}", REAL(final_softcap), 0},
    {GEMMA3, "{}", REAL(query_scale), 1.0 / 16},
    {GEMMA3, "{\"sliding_window_pattern\": 2}", INT(window[1]), 0},
    {GEMMA3, "{\"sliding_window_pattern\": 2}", INT(block_rope[2]), 1},
    {GEMMA3, "{\"sliding_window\": null}", INT(block_rope[2]), 1},
    {GEMMA3, "{\"final_logit_softcapping\": 20.0}", REAL(final_softcap), 20},
    {GEMMA3, "{\"rope_local_base_freq\": 500.0, \"rope_theta\": 70000.0}", REAL(rope[1].theta), 500},
    {GEMMA3, "{\"rope_local_base_freq\": 500.0, \"rope_theta\": 70000.0}", REAL(rope[0].theta), 70000},
    {GEMMA3, "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}", INT(rope[0].kind),
     OSV_ROPE_LINEAR},
    {GEMMA3, "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}", INT(rope[1].kind),
     OSV_ROPE_DEFAULT},
    {GEMMA3,
     "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8.0, "
     "\"rope_theta\": 5},"
     " \"sliding_attention\": {\"rope_theta\": 7}}}",
     REAL(rope[1].theta), 7},
    {GEMMA3,
     "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8.0},"
     " \"sliding_attention\": null}, \"rope_theta\": 9, \"rope_local_base_freq\": 11}",
     REAL(rope[0].theta), 9},
    {GEMMA3, "{\"rope_parameters\": {\"sliding_attention\": {}}, \"rope_local_base_freq\": 11}",
     REAL(rope[1].theta), 11},

    {GEMMA3_MM, "{}", INT(D), 2560},
    {GEMMA3_MM, "{}", INT(H), 8},
    {GEMMA3_MM, "{}", INT(K), 4},
    {GEMMA3_MM, "{}", INT(E), 256},
    {GEMMA3_MM, "{}", INT(V), 262208},
    {GEMMA3_MM, "{}", INT(positions), 131072},
    {GEMMA3_MM, "{}", INT(window[0]), 1024},
    {GEMMA3_MM, "{}", INT(window[5]), 0},
    {GEMMA3_MM, "{}", FLAG(tied), 1},
    {GEMMA3_MM, "{}", INT(format), OSV_BF16},
    {GEMMA3_MM, "{}", REAL(rope[0].factor), 8},
    {GEMMA3_MM, "{\"architectures\": \"-\"}", INT(D), 2560},
    {GEMMA3_MM, "{\"tie_word_embeddings\": false}", FLAG(tied), 0},
    {GEMMA3_MM, "{\"torch_dtype\": \"float32\"}", INT(format), OSV_F32},

    {PHI3, "{}", INT(window[0]), 0},
    {PHI3, "{\"sliding_window\": 2047}", INT(window[5]), 2047},
    {PHI3, "{}", REAL(norm_eps), 1e-5},
    {PHI3, "{}", INT(rot), 8},
    {PHI3, "{\"partial_rotary_factor\": 0.75}", INT(rot), 6},
    {PHI3, "{\"rope_parameters\": {\"partial_rotary_factor\": 0.5, \"rope_theta\": 10}}", INT(rot), 4},
    {PHI3, "{" LONG "}", INT(rope[0].kind), OSV_ROPE_LONGROPE},
    {PHI3, "{" LONG "}", REAL(rope[0].long_factor[3]), 8},
    {PHI3, "{" LONG "}", REAL(rope[0].short_factor[1]), 1.5},
    {PHI3, "{" LONG "}", REAL(rope[0].original), 4096},
    {PHI3, "{" LONG "}", REAL(rope[0].scale), 1},
    {PHI3, "{" LONG ", \"max_position_embeddings\": 131072}", REAL(rope[0].scale), 1.1902380714238083},
    {PHI3, "{" LONG ", \"original_max_position_embeddings\": 1024}", REAL(rope[0].original), 1024},
    {PHI3,
     "{\"rope_scaling\": {\"type\": \"su\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 2, 4, 8],"
     " \"attention_factor\": 1.25}}",
     REAL(rope[0].scale), 1.25},
    {PHI3,
     "{\"rope_scaling\": {\"type\": \"yarn\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 2, 4, "
     "8]}}",
     INT(rope[0].kind), OSV_ROPE_LONGROPE},
    {PHI3, "{\"full_attn_mod\": 1, \"interpolate_factor\": 1, \"lm_head_bias\": false, \"embd_pdrop\": 0.1}",
     INT(D), 64},

    {GRANITE, "{}", REAL(query_scale), 1},
    {GRANITE, "{}", REAL(embed_scale), 1},
    {GRANITE, "{\"embedding_multiplier\": 12.0}", REAL(embed_scale), 12},
    {GRANITE, "{\"embedding_multiplier\": 12.0}", FLAG(embed_scale_dtype), 0},
    {GRANITE, "{\"attention_multiplier\": 0.015625}", REAL(query_scale), 0.015625},
    {GRANITE, "{\"residual_multiplier\": 0.22}", REAL(residual_scale), 0.22},
    {GRANITE, "{\"logits_scaling\": 8.0}", REAL(logit_scale), 0.125},
    {GRANITE, "{\"mlp_bias\": true}", FLAG(mlp_bias), 1},
    {LLAMA, "{\"residual_multiplier\": 1.0}", REAL(residual_scale), 1},

    {OLMO2, "{}", FLAG(pre_norms), 0},
    {OLMO2, "{}", FLAG(post_norms), 1},
    {OLMO2, "{}", INT(qk_norm), OSV_QK_NORM_WIDTH},
    {OLMO2, "{}", REAL(norm_eps), 1e-5},
    {OLMO2, "{}", FLAG(tied), 0},

    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}}", INT(rope[0].kind), OSV_ROPE_YARN},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}}", REAL(rope[0].original), 2048},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}}", REAL(rope[0].beta_fast), 32},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}}", FLAG(rope[0].truncate), 1},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}}", REAL(rope[0].scale),
     1.1386294361119891},
    {LLAMA,
     "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": null, \"original_max_position_embeddings\": 512}}",
     REAL(rope[0].factor), 4},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"attention_factor\": 1.5}}",
     REAL(rope[0].scale), 1.5},
    {LLAMA,
     "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"mscale\": 1.0, \"mscale_all_dim\": 1.0}}",
     REAL(rope[0].scale), 1},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"truncate\": false}}",
     FLAG(rope[0].truncate), 0},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 0.5}}", REAL(rope[0].scale), 1},
};

Test(config_families, fields)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        osv_error e = {0};
        osv_config c;
        if (read_patched(&c, good[i].base, good[i].patch, &e)) {
            cr_expect(false, "%zu: %s: %s", i, good[i].patch, e.text);
            continue;
        }
        const char *at = (const char *)&c + good[i].offset;
        double value = good[i].type == 'i'   ? *(const int *)at
                       : good[i].type == 'b' ? *(const bool *)at
                                             : *(const double *)at;
        cr_expect(fabs(value - good[i].value) <= 1e-15 * fabs(good[i].value),
                  "%zu: base %d, %s: %.17g, expected %.17g", i, (int)good[i].base, good[i].patch, value,
                  good[i].value);
    }
}

/* To add a case: base, patch, what the message must say. */
static const struct {
    enum base base;
    const char *patch, *piece;
} bad[] = {
    {LLAMA, "{\"architectures\": [\"MixtralForCausalLM\"]}",
     "\"architectures\" is [\"MixtralForCausalLM\"], a mixture of experts; supported: LlamaForCausalLM, "},
    {LLAMA, "{\"architectures\": [\"Qwen3MoeForCausalLM\"]}", "], a mixture of experts; supported"},
    {LLAMA, "{\"model_type\": \"gemma4\"}",
     "\"model_type\" is \"gemma4\", a model whose blocks share keys and values"},
    {LLAMA, "{\"architectures\": [\"Gemma4ForConditionalGeneration\"]}",
     ", a model whose blocks share keys and values"},
    {LLAMA, "{\"architectures\": [\"Phi3SmallForCausalLM\"]}", ", a model of block-sparse attention;"},
    {LLAMA, "{\"architectures\": [\"Phi4MMForCausalLM\"]}", ", a model of images, speech and text;"},
    {LLAMA, "{\"architectures\": [\"Qwen2VLForConditionalGeneration\"]}", ", a model of images and text;"},
    {LLAMA, "{\"architectures\": [\"LlamaForSequenceClassification\"]}", ", a classifier without a head"},
    {LLAMA, "{\"architectures\": [\"SomethingNew\"]}",
     "\"architectures\" is [\"SomethingNew\"]; supported: "},
    {GEMMA3_MM, "{\"text_config\": 3}", "\"text_config\" is 3; supported: an object"},
    {GEMMA3_MM, "{\"text_config\": {\"model_type\": \"llama\"}}",
     "\"model_type\" is \"llama\"; supported: gemma3_text"},
    {GEMMA3_MM, "{\"some_switch\": true}", "\"some_switch\" is true, which is not understood"},

    {MISTRAL, "{\"sliding_window\": 7, " TYPES(SLIDING, FULL, SLIDING) "}",
     "\"layer_types\" entry 1 is \"full_attention\", but all blocks of this family"},
    {MISTRAL, "{\"sliding_window\": null, " TYPES(FULL, FULL, SLIDING) "}", "\"layer_types\" entry 2 is"},
    {MISTRAL, "{\"attention_bias\": true}", "\"attention_bias\" is true; supported: false in this family"},
    {QWEN2, "{\"mlp_bias\": true}", "\"mlp_bias\" is true"},
    {QWEN2, "{\"dual_chunk_attention_config\": {\"chunk_size\": 8}}", "\"dual_chunk_attention_config\" is"},
    {QWEN2, "{\"sliding_window_pattern\": 2}", "\"sliding_window_pattern\" is 2; supported: none"},
    {QWEN2, "{\"rope_scaling\": {\"type\": \"mrope\", \"mrope_section\": [1, 1, 2]}}",
     "\"type\" is \"mrope\""},
    {GEMMA, "{\"hidden_act\": \"silu\", \"hidden_activation\": \"gelu\"}",
     "\"hidden_activation\" is \"gelu\""},
    {GEMMA, "{\"sliding_window\": 8}", "\"sliding_window\" is 8; supported: null in this family"},
    {GEMMA3, "{\"attn_logit_softcapping\": 50.0}", "\"attn_logit_softcapping\" is 50.0; supported: null"},
    {GEMMA3, "{\"use_bidirectional_attention\": true}", "\"use_bidirectional_attention\" is true"},
    {GEMMA3, "{\"sliding_window_pattern\": 0}", "\"sliding_window_pattern\" must be an integer from 1"},
    {GEMMA3, "{\"rope_parameters\": {\"rope_theta\": 7}}",
     "\"rope_theta\" is 7; supported: an object each for"},
    {GEMMA3, "{\"rope_local_base_freq\": 0}", "\"rope_local_base_freq\" is 0"},
    {GEMMA3,
     "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0},"
     " \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 4.0}}}",
     "disagree about \"factor\""},
    {PHI3, "{\"partial_rotary_factor\": 0.375}", "\"partial_rotary_factor\" is 0.375; supported: above 0"},
    {PHI3, "{\"partial_rotary_factor\": 0}", "\"partial_rotary_factor\" is 0"},
    {PHI3, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}",
     "\"type\" is \"linear\"; supported: default, longrope"},
    {PHI3, "{\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1]}}",
     "\"short_factor\" must be an array of 4 numbers above 0"},
    {PHI3,
     "{\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 0, 1, "
     "1]}}",
     "\"long_factor\" must be"},
    {PHI3, "{" LONG ", \"original_max_position_embeddings\": 1}",
     "\"original_max_position_embeddings\" is 1"},
    {GRANITE, "{\"logits_scaling\": 0}", "\"logits_scaling\" is 0; supported: a number above 0"},
    {LLAMA, "{\"logits_scaling\": 8.0}", "\"logits_scaling\" is 8.0; supported: none in this family"},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\"}}", "\"factor\" is missing"},
    {LLAMA, "{\"rope_theta\": 1, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}}",
     "\"rope_theta\" is 1;"},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"low\": 1}}",
     "\"low\" is 1, which is not"},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"beta_fast\": 9}}",
     "\"beta_fast\" is 9"},
};

Test(config_families, refusals)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        osv_error e = {0};
        osv_config c;
        int status = read_patched(&c, bad[i].base, bad[i].patch, &e);
        check_failure(bad[i].patch, status, &e, OSV_BAD_INPUT, bad[i].piece);
    }
}
