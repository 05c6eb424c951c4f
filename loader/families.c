#include "loader/families.h"

#include <stdio.h>
#include <string.h>

#include "loader/config_parts.h"
#include "loader/json.h"

static const osv_family FAMILIES[] = {
    {
        .architecture = "LlamaForCausalLM",
        .model_type = "llama",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-6,
        .bias = OSV_BIAS_KEY,
        .mlp_bias = true,
        .positions = 2048,
        .theta = 1e4,
    },
    {
        .architecture = "MistralForCausalLM",
        .model_type = "mistral",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-6,
        .window = OSV_WINDOW_ALL,
        .K = 8,
        .positions = 131072,
        .window_size = 4096,
        .theta = 1e4,
    },
    {
        .architecture = "Qwen2ForCausalLM",
        .model_type = "qwen2",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-6,
        .bias = OSV_BIAS_QKV,
        .window = OSV_WINDOW_UPPER,
        .K = 32,
        .positions = 32768,
        .window_size = 4096,
        .theta = 1e4,
    },
    {
        .architecture = "Qwen3ForCausalLM",
        .model_type = "qwen3",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-6,
        .qk_norm = OSV_QK_NORM_HEAD,
        .bias = OSV_BIAS_KEY,
        .window = OSV_WINDOW_UPPER,
        .K = 32,
        .E = 128,
        .positions = 32768,
        .window_size = 4096,
        .theta = 1e4,
    },
    {
        .architecture = "GemmaForCausalLM",
        .model_type = "gemma",
        .activation_key = "hidden_act",
        .activation = "gelu_pytorch_tanh",
        .gelu_is_tanh = true,
        .norm_offset = 1,
        .norm_eps = 1e-6,
        .scaled_embedding = true,
        .tied = true,
        .bias = OSV_BIAS_KEY,
        .K = 16,
        .E = 256,
        .positions = 8192,
        .theta = 1e4,
    },
    {
        .architecture = "Gemma2ForCausalLM",
        .model_type = "gemma2",
        .activation_key = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .norm_offset = 1,
        .norm_eps = 1e-6,
        .post_norms = true,
        .scaled_embedding = true,
        .tied = true,
        .bias = OSV_BIAS_KEY,
        .window = OSV_WINDOW_PATTERN,
        .pattern = 2,
        .attention_softcap = true,
        .final_softcap = true,
        .query_scalar = true,
        .K = 4,
        .E = 256,
        .positions = 8192,
        .window_size = 4096,
        .attention_cap = 50,
        .final_cap = 30,
        .scalar = 256,
        .theta = 1e4,
    },
    {
        .architecture = "Gemma3ForCausalLM",
        .model_type = "gemma3_text",
        .activation_key = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .norm_offset = 1,
        .norm_eps = 1e-6,
        .post_norms = true,
        .qk_norm = OSV_QK_NORM_HEAD,
        .scaled_embedding = true,
        .tied = true,
        .bias = OSV_BIAS_KEY,
        .window = OSV_WINDOW_PATTERN,
        .pattern = 6,
        .final_softcap = true,
        .query_scalar = true,
        .local_rope = true,
        .H = 8,
        .K = 4,
        .E = 256,
        .V = 262208,
        .positions = 131072,
        .window_size = 4096,
        .scalar = 256,
        .theta = 1e6,
    },
    {
        .architecture = "Phi3ForCausalLM",
        .model_type = "phi3",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-5,
        .window = OSV_WINDOW_ALL,
        .partial_rope = true,
        .longrope_only = true,
        .positions = 4096,
        .theta = 1e4,
        .original = 4096,
    },
    {
        .architecture = "GraniteForCausalLM",
        .model_type = "granite",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-6,
        .multipliers = true,
        .bias = OSV_BIAS_KEY,
        .mlp_bias = true,
        .positions = 2048,
        .theta = 1e4,
    },
    {
        .architecture = "Olmo2ForCausalLM",
        .model_type = "olmo2",
        .activation_key = "hidden_act",
        .activation = "silu",
        .norm_eps = 1e-5,
        .no_pre_norms = true,
        .post_norms = true,
        .qk_norm = OSV_QK_NORM_WIDTH,
        .bias = OSV_BIAS_KEY,
        .positions = 2048,
        .theta = 1e4,
    },
};
enum { FAMILIES_COUNT = sizeof FAMILIES / sizeof *FAMILIES };

/* Multimodal checkpoints whose language model is one of the above. */
static const struct {
    const char *architecture, *model_type, *text_type;
} WRAPPERS[] = {
    {"Gemma3ForConditionalGeneration", "gemma3", "gemma3_text"},
};

/* What others lack, by a piece of the name of their architecture or model type; the first that fits. */
static const struct {
    const char *piece, *why;
} UNSUPPORTED[] = {
    {"Mixtral", "a mixture of experts"},
    {"mixtral", "a mixture of experts"},
    {"MoE", "a mixture of experts"},
    {"Moe", "a mixture of experts"},
    {"moe", "a mixture of experts"},
    {"Deepseek", "a mixture of experts with compressed keys and values"},
    {"deepseek", "a mixture of experts with compressed keys and values"},
    {"Llama4", "a mixture of experts"},
    {"llama4", "a mixture of experts"},
    {"GptOss", "a mixture of experts"},
    {"gpt_oss", "a mixture of experts"},
    {"Gemma3n", "a model whose blocks share keys and values and read embeddings of their own"},
    {"gemma3n", "a model whose blocks share keys and values and read embeddings of their own"},
    {"Gemma4", "a model whose blocks share keys and values and read embeddings of their own"},
    {"gemma4", "a model whose blocks share keys and values and read embeddings of their own"},
    {"Phi3Small", "a model of block-sparse attention"},
    {"phi3small", "a model of block-sparse attention"},
    {"Phi3V", "a model of images and text"},
    {"Phi4M", "a model of images, speech and text"},
    {"phi4mm", "a model of images, speech and text"},
    {"VL", "a model of images and text"},
    {"ConditionalGeneration", "a model of more than text"},
    {"Classification", "a classifier without a head over tokens"},
    {"Qwen3Next", "a model of linear attention"},
    {"Mamba", "a state-space model"},
    {"Olmo3", "a model whose sliding blocks alone have unstretched rotary embeddings"},
    {"olmo3", "a model whose sliding blocks alone have unstretched rotary embeddings"},
    {"PhiForCausalLM", "a model of layer norms and parallel blocks"},
    {"GPT", "a model of layer norms and learned positions"},
    {"gpt", "a model of layer norms and learned positions"},
};

static const char *why_not(const char *name)
{
    for (size_t i = 0; i < sizeof UNSUPPORTED / sizeof *UNSUPPORTED; i++)
        if (strstr(name, UNSUPPORTED[i].piece)) return UNSUPPORTED[i].why;
    return NULL;
}

static int fail_family(const json_t *json, const char *key, const char *name, const char *path, osv_error *e)
{
    char supported[400] = "", shown[80];
    for (int i = 0, used = 0; i < FAMILIES_COUNT; i++)
        used += snprintf(supported + used, sizeof supported - (size_t)used, "%s%s", i ? ", " : "",
                         FAMILIES[i].architecture);
    const char *why = why_not(name);
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" is %s%s%s; supported: %s, %s", path, key,
                    osv_json_show(json_object_get(json, key), shown, sizeof shown), why ? ", " : "",
                    why ? why : "", supported, WRAPPERS[0].architecture);
}

static const osv_family *by_type(const char *type)
{
    for (int i = 0; i < FAMILIES_COUNT; i++)
        if (strcmp(type, FAMILIES[i].model_type) == 0) return &FAMILIES[i];
    return NULL;
}

static const osv_family *by_architecture(const char *architecture)
{
    for (int i = 0; i < FAMILIES_COUNT; i++)
        if (strcmp(architecture, FAMILIES[i].architecture) == 0) return &FAMILIES[i];
    return NULL;
}

/* The name of what the file holds: of its architecture where it says so, else of its model type. */
static int read_names(const char **architecture, const char **type, const json_t *json, const char *path,
                      osv_error *e)
{
    *type = NULL;
    OSV_TRY(osv_json_string(json, "model_type", false, type, path, e));
    const json_t *architectures = json_object_get(json, "architectures");
    *architecture = json_string_value(json_array_get(architectures, 0));
    if (architectures && !json_is_null(architectures) && !*architecture)
        return osv_config_fail_value(json, "architectures", "a list with one name", path, e);
    if (!*architecture && !*type)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: neither \"architectures\" nor \"model_type\" says what the model is", path);
    return OSV_OK;
}

static int find_text(const osv_family **f, const json_t **text, const json_t *json, const char *text_type,
                     const char *path, osv_error *e)
{
    const char *type = text_type;
    *text = json_object_get(json, "text_config");
    if (!json_is_object(*text)) return osv_config_fail_value(json, "text_config", "an object", path, e);
    OSV_TRY(osv_json_string(*text, "model_type", false, &type, path, e));
    if (strcmp(type, text_type) != 0) return osv_config_fail_value(*text, "model_type", text_type, path, e);
    *f = by_type(type);
    return OSV_OK;
}

int osv_family_find(const osv_family **f, const json_t **text, const json_t *json, const char *path,
                    osv_error *e)
{
    const char *architecture, *type;
    OSV_TRY(read_names(&architecture, &type, json, path, e));
    for (size_t i = 0; i < sizeof WRAPPERS / sizeof *WRAPPERS; i++)
        if (strcmp(architecture ? architecture : type,
                   architecture ? WRAPPERS[i].architecture : WRAPPERS[i].model_type) == 0)
            return find_text(f, text, json, WRAPPERS[i].text_type, path, e);
    *text = json;
    *f = architecture ? by_architecture(architecture) : by_type(type);
    if (!*f)
        return fail_family(json, architecture ? "architectures" : "model_type",
                           architecture ? architecture : type, path, e);
    if (type && strcmp(type, (*f)->model_type) != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"model_type\" is \"%s\", but %s is \"%s\"", path, type,
                        architecture, (*f)->model_type);
    return OSV_OK;
}
