#include <math.h>
#include <stddef.h>

#include "files.h"
#include "loader/checkpoint.h"
#include "loader/config_keys.h"
#include "loader/json.h"
#include "patch.h"

/* Files as the hub has them: Llama in the old style (transformers 4), Gemma 2 in the new one (transformers
 * 5). */
static const char LLAMA[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    " \"bos_token_id\": 1, \"eos_token_id\": 2, \"hidden_act\": \"silu\", \"hidden_size\": 64,"
    " \"initializer_range\": 0.02, \"intermediate_size\": 96, \"max_position_embeddings\": 256, "
    "\"mlp_bias\": false,"
    " \"model_type\": \"llama\", \"num_attention_heads\": 8, \"num_hidden_layers\": 3, "
    "\"num_key_value_heads\": 2,"
    " \"pretraining_tp\": 1, \"rms_norm_eps\": 1e-05, \"rope_scaling\": null, \"rope_theta\": 500000.0,"
    " \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.45.0\","
    " \"use_cache\": true, \"vocab_size\": 200}";
static const char GEMMA2[] =
    "{\"architectures\": [\"Gemma2ForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    " \"attn_logit_softcapping\": 50.0, \"bos_token_id\": 2, \"dtype\": \"float32\", \"eos_token_id\": 1,"
    " \"final_logit_softcapping\": 30.0, \"head_dim\": 16, \"hidden_activation\": \"gelu_pytorch_tanh\","
    " \"hidden_size\": 48, \"intermediate_size\": 100, \"layer_types\": [\"sliding_attention\", "
    "\"full_attention\","
    " \"sliding_attention\"], \"max_position_embeddings\": 256, \"model_type\": \"gemma2\","
    " \"num_attention_heads\": 4, \"num_hidden_layers\": 3, \"num_key_value_heads\": 2, \"pad_token_id\": 0,"
    " \"query_pre_attn_scalar\": 144, \"rms_norm_eps\": 1e-06, \"rope_parameters\": {\"rope_theta\": 10000.0,"
    " \"rope_type\": \"default\"}, \"sliding_window\": 5, \"transformers_version\": \"5.23.0\","
    " \"use_bidirectional_attention\": null, \"use_cache\": true, \"vocab_size\": 317}";

enum base { L, G };

/* Writes the patched base file and reads it. */
static int read_patched(osv_config *c, enum base base, const char *patch, osv_error *e)
{
    char *text = patched(base == L ? LLAMA : GEMMA2, patch);
    temp_text("config.json", text);
    free(text);
    return osv_config_read(c, temp_dir, e);
}

#define LLAMA3 "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0"

/* To add a case: base, patch, what the message must say. */
static const struct {
    enum base base;
    const char *patch, *piece;
} bad[] = {
    {L, "{\"architectures\": [\"MixtralForCausalLM\"]}",
     "\"architectures\" is [\"MixtralForCausalLM\"], a mixture of experts; supported: Llama"},
    {L, "{\"architectures\": [\"LlamaForSequenceClassification\"]}", "\"architectures\" is"},
    {L, "{\"architectures\": \"LlamaForCausalLM\"}", "a list with one name"},
    {L, "{\"architectures\": []}", "a list with one name"},
    {L, "{\"architectures\": \"-\", \"model_type\": \"bert\"}", "\"model_type\" is \"bert\"; supported"},
    {L, "{\"architectures\": \"-\", \"model_type\": \"-\"}", "neither \"architectures\" nor \"model_type\""},
    {L, "{\"model_type\": \"mistral\"}", "\"model_type\" is \"mistral\", but LlamaForCausalLM is \"llama\""},
    {L, "{\"model_type\": 3}", "\"model_type\" must be a string"},

    {L, "{\"num_hidden_layers\": 0}", "\"num_hidden_layers\" must be an integer from 1 to 512, not 0"},
    {L, "{\"num_hidden_layers\": 1000000000}", "\"num_hidden_layers\" must be"},
    {L, "{\"hidden_size\": -64}", "\"hidden_size\" must be an integer from 1 to 131072, not -64"},
    {L, "{\"hidden_size\": 1000000000}", "\"hidden_size\" must be"},
    {L, "{\"hidden_size\": 64.0}", "\"hidden_size\" must be an integer"},
    {L, "{\"hidden_size\": \"-\"}", "\"hidden_size\" is missing"},
    {L, "{\"intermediate_size\": 0}", "\"intermediate_size\" must be"},
    {L, "{\"intermediate_size\": 1000000000}", "\"intermediate_size\" must be"},
    {L, "{\"vocab_size\": 0}", "\"vocab_size\" must be"},
    {L, "{\"vocab_size\": 9000000000000000000}", "\"vocab_size\" must be"},
    {L, "{\"num_attention_heads\": 0}", "\"num_attention_heads\" must be"},
    {L, "{\"num_attention_heads\": 1000000000}", "\"num_attention_heads\" must be"},
    {L, "{\"num_key_value_heads\": 0}", "\"num_key_value_heads\" must be"},
    {L, "{\"num_key_value_heads\": 3}",
     "\"num_attention_heads\" 8 is not a multiple of \"num_key_value_heads\" 3"},
    {L, "{\"num_key_value_heads\": 16}", "not a multiple of \"num_key_value_heads\" 16"},
    {L, "{\"head_dim\": 0}", "\"head_dim\" must be"},
    {L, "{\"head_dim\": 7}", "\"head_dim\" 7 is odd"},
    {L, "{\"head_dim\": 1000000000}", "\"head_dim\" must be"},
    {L, "{\"hidden_size\": 60}", "\"hidden_size\" 60 over \"num_attention_heads\" 8 is none"},
    {L, "{\"hidden_size\": 56}", "\"head_dim\" 7 is odd"},
    {L, "{\"hidden_size\": 131072, \"num_attention_heads\": 1, \"num_key_value_heads\": 1}", "is none"},
    {L, "{\"max_position_embeddings\": 0}", "\"max_position_embeddings\" must be"},
    {L,
     "{\"num_hidden_layers\": 512, \"head_dim\": 128, \"hidden_size\": 131072, \"intermediate_size\": "
     "1048576}",
     "more than 2^44 weights"},

    {L, "{\"rms_norm_eps\": -1e-5}", "\"rms_norm_eps\" is"},
    {L, "{\"hidden_act\": \"relu\"}", "\"hidden_act\" is \"relu\"; supported: silu, gelu, gelu_pytorch_tanh"},
    {L, "{\"hidden_activation\": \"gelu\"}", "\"hidden_activation\" is \"gelu\"; supported: silu"},
    {G, "{\"hidden_activation\": \"relu2\"}", "\"hidden_activation\" is \"relu2\""},
    {G, "{\"hidden_act\": \"silu\"}", "\"hidden_act\" is \"silu\"; supported: gelu_pytorch_tanh"},
    {G, "{\"attn_logit_softcapping\": 0}",
     "\"attn_logit_softcapping\" is 0; supported: a number above 0, or null"},
    {G, "{\"final_logit_softcapping\": -30.0}", "\"final_logit_softcapping\" is -30.0"},
    {G, "{\"query_pre_attn_scalar\": 0}", "\"query_pre_attn_scalar\" is 0"},
    {L, "{\"final_logit_softcapping\": 30.0}",
     "\"final_logit_softcapping\" is 30.0; supported: null in this family"},
    {L, "{\"query_pre_attn_scalar\": 8}", "\"query_pre_attn_scalar\" is 8"},
    {G, "{\"mlp_bias\": true}", "\"mlp_bias\" is true"},
    {L, "{\"attention_bias\": 1}", "\"attention_bias\" must be true or false"},
    {L, "{\"tie_word_embeddings\": \"yes\"}", "\"tie_word_embeddings\" must be true or false"},

    {L, "{\"sliding_window\": 4096}", "\"sliding_window\" is 4096; supported: null in this family"},
    {G, "{\"sliding_window\": 0}", "\"sliding_window\" must be an integer from 1"},
    {G, "{\"layer_types\": [\"full_attention\"]}",
     "\"layer_types\" must be an array with one entry for each of the 3"},
    {G, "{\"layer_types\": \"full_attention\"}", "\"layer_types\" must be an array"},
    {G, "{\"layer_types\": [\"full_attention\", \"linear_attention\", \"full_attention\"]}",
     "\"layer_types\" entry 1 is \"linear_attention\""},
    {G, "{\"layer_types\": [\"full_attention\", 1, \"full_attention\"]}",
     "\"layer_types\" entry 1 is \"not a string\""},
    {L, "{\"layer_types\": [\"full_attention\", \"full_attention\", \"sliding_attention\"]}",
     "\"layer_types\" entry 2 is \"sliding_attention\", which this family does not have"},

    {L, "{\"rope_theta\": 0}", "\"rope_theta\" is 0; supported: a number above 0"},
    {L, "{\"rope_theta\": -1}", "\"rope_theta\" is -1"},
    {L, "{\"rope_scaling\": \"linear\"}", "\"rope_scaling\" is \"linear\"; supported: an object, or null"},
    {L, "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}}",
     "\"type\" is \"dynamic\"; supported: default, linear"},
    {L, "{\"rope_parameters\": {\"rope_type\": \"proportional\", \"factor\": 2.0}}",
     "\"rope_type\" is \"proportional\""},
    {L, "{\"rope_scaling\": {\"rope_type\": \"linear\"}}", "\"factor\" is missing"},
    {L, "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}}", "\"factor\" is 0"},
    {L, "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}}", "\"low_freq_factor\" is missing"},
    {L,
     "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 4.0, "
     "\"high_freq_factor\": 4.0}}",
     "\"high_freq_factor\" is 4.0; supported: above low_freq_factor"},
    {L, "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 ", \"attention_factor\": 2.0}}",
     "\"attention_factor\" is 2.0, which is not understood"},
    {G,
     "{\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e6}, \"sliding_attention\": "
     "{\"rope_theta\": 1e4}}}",
     "\"full_attention\" is {\"rope_theta\":1000000.0}, which is not understood"},
    {L,
     "{\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2.0}, \"rope_scaling\": {\"type\": "
     "\"linear\", \"factor\": 4.0}}",
     "\"rope_scaling\" and \"rope_parameters\" disagree about \"factor\""},
    {L, "{\"partial_rotary_factor\": 0.5}", "\"partial_rotary_factor\" is 0.5"},
    {L, "{\"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.25}}",
     "\"partial_rotary_factor\" is 0.25"},

    {L, "{\"quantization_config\": {\"bits\": 4}}",
     "\"quantization_config\" is {\"bits\":4}, which is not understood"},
    {L, "{\"num_local_experts\": 8}", "\"num_local_experts\" is 8"},
    {L, "{\"residual_multiplier\": 0.22}", "\"residual_multiplier\" is 0.22"},
    {G, "{\"use_bidirectional_attention\": true}", "\"use_bidirectional_attention\" is true"},
    {L, "{\"is_causal\": false}", "\"is_causal\" is false"},
    {L, "{\"no_rope_layers\": [1, 1, 0]}", "\"no_rope_layers\" is [1,1,0]"},
};

Test(config, refusals, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        osv_error e = {0};
        osv_config c;
        int status = read_patched(&c, bad[i].base, bad[i].patch, &e);
        check_failure(bad[i].patch, status, &e, OSV_BAD_INPUT, bad[i].piece);
        cr_expect(strstr(e.text, "/config.json: ") != NULL, "%s: \"%s\" names no file", bad[i].patch, e.text);
    }
}

#define INT(field)  offsetof(osv_config, field), 'i'
#define REAL(field) offsetof(osv_config, field), 'd'
#define FLAG(field) offsetof(osv_config, field), 'b'

/* To add a case: base, patch, field, its value. */
static const struct {
    enum base base;
    const char *patch;
    size_t offset;
    char type;
    double value;
} good[] = {
    {L, "{}", INT(N), 3},
    {L, "{}", INT(D), 64},
    {L, "{}", INT(F), 96},
    {L, "{}", INT(H), 8},
    {L, "{}", INT(K), 2},
    {L, "{}", INT(E), 8},
    {L, "{}", INT(V), 200},
    {L, "{}", INT(rot), 8},
    {L, "{}", INT(positions), 256},
    {L, "{}", INT(bos), 1},
    {L, "{}", REAL(norm_eps), 1e-5},
    {L, "{}", REAL(norm_offset), 0},
    {L, "{}", REAL(embed_scale), 1},
    {L, "{}", REAL(query_scale), 0.35355339059327373},
    {L, "{}", REAL(attention_softcap), 0},
    {L, "{}", REAL(final_softcap), 0},
    {L, "{}", INT(activation), OSV_SILU},
    {L, "{}", INT(window[0]), 0},
    {L, "{}", FLAG(post_norms), 0},
    {L, "{}", FLAG(tied), 0},
    {L, "{}", INT(rope[0].kind), OSV_ROPE_DEFAULT},
    {L, "{}", REAL(rope[0].theta), 500000},
    {G, "{}", INT(E), 16},
    {G, "{}", REAL(norm_offset), 1},
    {G, "{}", REAL(embed_scale), 6.928203230275509},
    {G, "{}", REAL(query_scale), 1.0 / 12},
    {G, "{}", REAL(attention_softcap), 50},
    {G, "{}", REAL(final_softcap), 30},
    {G, "{}", INT(activation), OSV_GELU_TANH},
    {G, "{}", FLAG(post_norms), 1},
    {G, "{}", INT(window[0]), 5},
    {G, "{}", INT(window[1]), 0},
    {G, "{}", INT(window[2]), 5},
    {G, "{}", REAL(rope[0].theta), 10000},
    /* Missing keys. */
    {L, "{\"num_key_value_heads\": \"-\"}", INT(K), 8},
    {L, "{\"num_key_value_heads\": null}", INT(K), 8},
    {L, "{\"head_dim\": null}", INT(E), 8},
    {L, "{\"head_dim\": 32}", INT(E), 32},
    {L, "{\"head_dim\": 32}", INT(rot), 32},
    {L, "{\"max_position_embeddings\": \"-\"}", INT(positions), 2048},
    {L, "{\"rms_norm_eps\": \"-\"}", REAL(norm_eps), 1e-6},
    {L, "{\"rope_theta\": \"-\"}", REAL(rope[0].theta), 10000},
    {L, "{\"hidden_act\": \"-\"}", INT(activation), OSV_SILU},
    {L, "{\"tie_word_embeddings\": \"-\"}", FLAG(tied), 0},
    {L, "{\"architectures\": \"-\"}", INT(D), 64},
    {L, "{\"model_type\": \"-\"}", INT(D), 64},
    {L, "{\"bos_token_id\": \"-\"}", INT(bos), -1},
    {L, "{\"bos_token_id\": null}", INT(bos), -1},
    {L, "{\"bos_token_id\": 200}", INT(bos), -1},
    {G, "{\"tie_word_embeddings\": \"-\"}", FLAG(tied), 1},
    {G, "{\"tie_word_embeddings\": false}", FLAG(tied), 0},
    {G, "{\"head_dim\": \"-\"}", INT(E), 256},
    {G, "{\"num_key_value_heads\": \"-\"}", INT(K), 4},
    {G, "{\"query_pre_attn_scalar\": \"-\"}", REAL(query_scale), 1.0 / 16},
    {G, "{\"attn_logit_softcapping\": \"-\"}", REAL(attention_softcap), 50},
    {G, "{\"attn_logit_softcapping\": null}", REAL(attention_softcap), 0},
    {G, "{\"final_logit_softcapping\": \"-\"}", REAL(final_softcap), 30},
    {G, "{\"final_logit_softcapping\": null}", REAL(final_softcap), 0},
    {G, "{\"max_position_embeddings\": \"-\"}", INT(positions), 8192},
    /* Activations. */
    {L, "{\"hidden_act\": \"gelu\"}", INT(activation), OSV_GELU},
    {L, "{\"hidden_act\": \"gelu_new\"}", INT(activation), OSV_GELU_TANH},
    {G, "{\"hidden_activation\": \"-\"}", INT(activation), OSV_GELU_TANH},
    {G, "{\"hidden_activation\": null, \"hidden_act\": \"gelu\"}", INT(activation), OSV_GELU_TANH},
    {G, "{\"hidden_act\": \"gelu_pytorch_tanh\"}", INT(activation), OSV_GELU_TANH},
    /* Windows. */
    {G, "{\"layer_types\": \"-\"}", INT(window[0]), 5},
    {G, "{\"layer_types\": \"-\"}", INT(window[1]), 0},
    {G, "{\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]}", INT(window[0]),
     0},
    {G, "{\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]}", INT(window[1]),
     5},
    {G, "{\"sliding_window\": \"-\"}", INT(window[0]), 4096},
    {G, "{\"sliding_window\": null}", INT(window[0]), 0},
    {G, "{\"use_sliding_window\": false}", INT(window[0]), 0},
    {L, "{\"use_sliding_window\": false, \"sliding_window\": 4096}", INT(window[0]), 0},
    {L, "{\"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\"]}", INT(window[0]), 0},
    /* Biases. */
    {L, "{\"attention_bias\": true}", FLAG(qkv_bias), 1},
    {L, "{\"attention_bias\": true}", FLAG(out_bias), 1},
    {L, "{\"attention_bias\": true}", FLAG(mlp_bias), 0},
    {L, "{\"mlp_bias\": true}", FLAG(mlp_bias), 1},
    {L, "{\"mlp_bias\": true}", FLAG(qkv_bias), 0},
    /* Rotary embeddings, old, new and mixed. */
    {L, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}}", INT(rope[0].kind), OSV_ROPE_LINEAR},
    {L, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}}", REAL(rope[0].factor), 4},
    {L, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}", REAL(rope[0].theta), 500000},
    {L, "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 "}}", INT(rope[0].kind), OSV_ROPE_LLAMA3},
    {L, "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 "}}", REAL(rope[0].low_freq), 1},
    {L, "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 "}}", REAL(rope[0].high_freq), 4},
    {L, "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 "}}", REAL(rope[0].original), 256},
    {L,
     "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 ", \"original_max_position_embeddings\": 128}}",
     REAL(rope[0].original), 128},
    {L,
     "{\"rope_scaling\": {\"rope_type\": \"llama3\", " LLAMA3 "}, \"original_max_position_embeddings\": 64}",
     REAL(rope[0].original), 64},
    {L, "{\"rope_theta\": \"-\", \"rope_parameters\": {\"rope_theta\": 777, \"rope_type\": \"default\"}}",
     REAL(rope[0].theta), 777},
    {L, "{\"rope_parameters\": {\"rope_theta\": 777, \"rope_type\": \"default\"}}", REAL(rope[0].theta), 777},
    {L, "{\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2.0}}", REAL(rope[0].theta), 500000},
    {L,
     "{\"rope_parameters\": {\"rope_theta\": 777, \"rope_type\": \"linear\", \"factor\": 2.0}, "
     "\"rope_scaling\": {\"factor\": 2.0}}",
     REAL(rope[0].factor), 2},
    {L, "{\"rope_parameters\": {\"type\": \"linear\", \"rope_type\": \"default\", \"factor\": 2.0}}",
     INT(rope[0].kind), OSV_ROPE_DEFAULT},
    {L, "{\"rope_scaling\": {}}", INT(rope[0].kind), OSV_ROPE_DEFAULT},
    {L, "{\"partial_rotary_factor\": 1.0}", INT(rot), 8},
    /* Keys without influence, and switches that are off. */
    {L,
     "{\"_name_or_path\": \"x\", \"unsloth_version\": \"2024\", \"pretraining_tp\": 2, \"auto_map\": {\"a\": "
     "\"b\"}}",
     INT(D), 64},
    {L, "{\"quantization_config\": null, \"num_local_experts\": 0, \"rope_interleaved\": false}", INT(D), 64},
    {L, "{\"is_causal\": true}", INT(D), 64},
};

Test(config, fields, .init = temp_open, .fini = temp_close)
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
                  "%zu: %s: %.17g, expected %.17g", i, good[i].patch, value, good[i].value);
    }
}

/* What nothing reads is told with a reason; what is read is not told. */
static void note_ignored(void *context, const char *key, const json_t *value, const char *reason)
{
    cr_expect_not_null(value);
    json_object_set_new(context, key, json_string(reason));
}

Test(config, ignored_keys)
{
    json_t *told = json_object();
    json_t *config = json_loads("{\"model_type\": \"llama\", \"hidden_size\": 64, \"use_cache\": true,"
                                " \"attention_dropout\": 0.1, \"_name_or_path\": \"x\", \"eos_token_id\": 2,"
                                " \"rope_interleaved\": false, \"frob\": 1}",
                                0, NULL);
    osv_config_ignored(config, note_ignored, told);
    cr_expect_eq(json_object_size(told), 5);
    static const char *const rows[][2] = {{"use_cache", "how a program runs"},
                                          {"attention_dropout", "training"},
                                          {"_name_or_path", "a program's note"},
                                          {"eos_token_id", "writing text"},
                                          {"rope_interleaved", "switched off"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *reason = json_string_value(json_object_get(told, rows[i][0]));
        cr_expect(reason && strstr(reason, rows[i][1]), "%s: %s", rows[i][0], reason ? reason : "not told");
    }
    json_decref(config);

    /* Of a multimodal file: what is beside the text, and what is in it. */
    json_object_clear(told);
    config = json_loads("{\"model_type\": \"gemma3\", \"vision_config\": {\"a\": 1}, \"use_cache\": true,"
                        " \"text_config\": {\"hidden_size\": 64, \"dtype\": \"bfloat16\"}}",
                        0, NULL);
    osv_config_ignored(config, note_ignored, told);
    cr_expect_eq(json_object_size(told), 4);
    cr_expect(strstr(json_string_value(json_object_get(told, "vision_config")), "other parts"));
    cr_expect(strstr(json_string_value(json_object_get(told, "dtype")), "about the file"));
    json_decref(config);
    json_decref(told);
}

/* To add a case: text of config.json, what the message must say. */
static const struct {
    const char *text, *piece;
} broken[] = {
    {"", "config.json:1:1: empty"},
    {"{\"hidden_size\": 64,}", "config.json:1:"},
    {"{\"hidden_size\": 64, \"hidden_size\": 32}", "duplicate object key"},
    {"[1]", "must be a JSON object"},
    {"{}", "neither"},
};

Test(config, broken_files, .init = temp_open, .fini = temp_close)
{
    osv_config c;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        temp_text("config.json", broken[i].text);
        osv_error e = {0};
        check_failure(broken[i].text, osv_config_read(&c, temp_dir, &e), &e, OSV_BAD_INPUT, broken[i].piece);
    }
    osv_error e = {0};
    check_failure("no folder", osv_config_read(&c, temp_path("none"), &e), &e, OSV_BAD_INPUT,
                  "/none/config.json: cannot open");
}

Test(config, golden_models)
{
    static const struct {
        const char *name;
        int N, D, E, V, window0, window1;
        bool tied;
        osv_rope_kind rope;
    } golden[] = {
        {"llama-tiny", 3, 48, 12, 317, 0, 0, false, OSV_ROPE_LLAMA3},
        {"llama-bf16", 4, 64, 16, 200, 0, 0, true, OSV_ROPE_DEFAULT},
        {"gemma2-tiny", 4, 48, 16, 317, 5, 0, true, OSV_ROPE_DEFAULT},
        {"gemma2-f16", 3, 40, 10, 151, 7, 0, true, OSV_ROPE_DEFAULT},
        {"mistral", 3, 32, 12, 101, 6, 6, false, OSV_ROPE_DEFAULT},
        {"qwen2", 3, 32, 8, 101, 0, 5, false, OSV_ROPE_DEFAULT},
        {"qwen3", 3, 32, 12, 101, 0, 0, true, OSV_ROPE_DEFAULT},
        {"gemma1", 3, 32, 12, 101, 0, 0, true, OSV_ROPE_DEFAULT},
        {"gemma3", 4, 32, 12, 101, 5, 5, true, OSV_ROPE_LINEAR},
        {"gemma3-mm", 3, 32, 8, 101, 6, 0, true, OSV_ROPE_LINEAR},
        {"phi3", 3, 32, 8, 101, 0, 0, false, OSV_ROPE_LONGROPE},
        {"phi4", 3, 32, 8, 101, 7, 7, true, OSV_ROPE_DEFAULT},
        {"llama-linear", 3, 32, 8, 101, 0, 0, false, OSV_ROPE_LINEAR},
        {"llama-yarn", 3, 32, 16, 101, 0, 0, false, OSV_ROPE_YARN},
        {"llama-bias", 3, 32, 8, 101, 0, 0, false, OSV_ROPE_YARN},
        {"granite", 3, 32, 8, 101, 0, 0, true, OSV_ROPE_DEFAULT},
        {"olmo2", 3, 32, 8, 101, 0, 0, false, OSV_ROPE_DEFAULT},
    };
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        char dir[512];
        snprintf(dir, sizeof dir, "%s/models/%s", OSV_GOLDEN, golden[i].name);
        osv_error e = {0};
        osv_config c;
        cr_assert_eq(osv_config_read(&c, dir, &e), OSV_OK, "%s", e.text);
        cr_expect(c.N == golden[i].N && c.D == golden[i].D && c.E == golden[i].E && c.V == golden[i].V &&
                      c.window[0] == golden[i].window0 && c.window[1] == golden[i].window1 &&
                      c.tied == golden[i].tied && c.rope[0].kind == golden[i].rope,
                  "%s", golden[i].name);
    }
}
