/* config.json -> osv_config. Defaults of missing keys and the order in which old and new keys win are those
 * of transformers. A key that may change the maths and is not read here is an error, see
 * osv_config_known_keys. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint.h"
#include "loader/config_keys.h"
#include "loader/file.h"
#include "loader/json.h"
#include "loader/random_model.h"

/* What a family's files leave out, and what they cannot say. 0: no default, or derived from other sizes. */
typedef struct {
    const char *architecture, *model_type;
    const char *activation_key, *activation;
    double norm_offset;
    bool post_norms;
    bool scaled_embedding; /* by sqrt(D) */
    bool tied;             /* where the key is missing */
    bool mlp_bias;         /* the family has such biases at all */
    bool window;           /* the family has sliding windows: in every other block, the first included */
    bool softcaps, query_scalar; /* the family has these keys */
    int K, E, positions, window_size;
    double attention_softcap, final_softcap, scalar;
} family;

static const family FAMILIES[] = {
    {
        .architecture = "LlamaForCausalLM",
        .model_type = "llama",
        .activation_key = "hidden_act",
        .activation = "silu",
        .mlp_bias = true,
        .positions = 2048,
    },
    {
        .architecture = "Gemma2ForCausalLM",
        .model_type = "gemma2",
        .activation_key = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .norm_offset = 1,
        .post_norms = true,
        .scaled_embedding = true,
        .tied = true,
        .window = true,
        .softcaps = true,
        .query_scalar = true,
        .K = 4,
        .E = 256,
        .positions = 8192,
        .window_size = 4096,
        .attention_softcap = 50,
        .final_softcap = 30,
        .scalar = 256,
    },
};
enum { FAMILIES_COUNT = sizeof FAMILIES / sizeof *FAMILIES };

/* Largest sizes that are believed; far above any model, and such that no product of two overflows 63 bits. */
enum {
    MAX_D = 1 << 17,
    MAX_F = 1 << 20,
    MAX_H = 1 << 12,
    MAX_E = 1 << 12,
    MAX_V = 1 << 24,
    MAX_POSITIONS = 1 << 27,
};
static const size_t LIMIT = (size_t)1 << 24; /* bytes of a config.json */
static const int64_t MAX_WEIGHTS = (int64_t)1 << 44;

/* ---- family ---- */

static int fail_value(const json_t *json, const char *key, const char *expected, const char *path,
                      osv_error *e)
{
    char shown[80];
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" is %s; supported: %s", path, key,
                    osv_json_show(json_object_get(json, key), shown, sizeof shown), expected);
}

static int find_family(const family **f, const json_t *json, const char *path, osv_error *e)
{
    const char *type = NULL;
    OSV_TRY(osv_json_string(json, "model_type", false, &type, path, e));
    const json_t *architectures = json_object_get(json, "architectures");
    const char *architecture = json_string_value(json_array_get(architectures, 0));
    if (architectures && !json_is_null(architectures) && !architecture)
        return fail_value(json, "architectures", "a list with one name", path, e);
    if (!architecture && !type)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: neither \"architectures\" nor \"model_type\" says what the model is", path);
    static const char supported[] = "LlamaForCausalLM (llama), Gemma2ForCausalLM (gemma2)";
    for (int i = 0; i < FAMILIES_COUNT && !*f; i++)
        if (strcmp(architecture ? architecture : type,
                   architecture ? FAMILIES[i].architecture : FAMILIES[i].model_type) == 0)
            *f = &FAMILIES[i];
    if (!*f) return fail_value(json, architecture ? "architectures" : "model_type", supported, path, e);
    if (type && strcmp(type, (*f)->model_type) != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"model_type\" is \"%s\", but %s is \"%s\"", path, type,
                        architecture, (*f)->model_type);
    return OSV_OK;
}

/* ---- sizes ---- */

static int read_sizes(osv_config *c, const family *f, const json_t *json, const char *path, osv_error *e)
{
    OSV_TRY(osv_json_int(json, "num_hidden_layers", true, 1, OSV_MAX_BLOCKS, &c->N, path, e));
    OSV_TRY(osv_json_int(json, "hidden_size", true, 1, MAX_D, &c->D, path, e));
    OSV_TRY(osv_json_int(json, "intermediate_size", true, 1, MAX_F, &c->F, path, e));
    OSV_TRY(osv_json_int(json, "vocab_size", true, 1, MAX_V, &c->V, path, e));
    OSV_TRY(osv_json_int(json, "num_attention_heads", true, 1, MAX_H, &c->H, path, e));
    c->K = f->K ? f->K : c->H;
    OSV_TRY(osv_json_int(json, "num_key_value_heads", false, 1, MAX_H, &c->K, path, e));
    if (c->H % c->K)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"num_attention_heads\" %d is not a multiple of \"num_key_value_heads\" %d",
                        path, c->H, c->K);
    c->E = f->E ? f->E : c->D / c->H;
    const json_t *head_dim = json_object_get(json, "head_dim");
    bool derived = !f->E && (!head_dim || json_is_null(head_dim));
    if (derived && (c->D % c->H || c->E > MAX_E))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: no \"head_dim\", and \"hidden_size\" %d over \"num_attention_heads\" %d is none",
                        path, c->D, c->H);
    OSV_TRY(osv_json_int(json, "head_dim", false, 2, MAX_E, &c->E, path, e));
    if (c->E % 2)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"head_dim\" %d is odd; rotary embeddings need pairs", path,
                        c->E);
    c->rot = c->E;
    c->positions = f->positions;
    OSV_TRY(osv_json_int(json, "max_position_embeddings", false, 1, MAX_POSITIONS, &c->positions, path, e));

    int64_t attention = 2 * (int64_t)c->D * c->E * (c->H + c->K), ffn = 3 * (int64_t)c->D * c->F, weights;
    if (__builtin_mul_overflow(c->N, attention + ffn, &weights) ||
        __builtin_add_overflow(weights, 2 * (int64_t)c->V * c->D, &weights) || weights > MAX_WEIGHTS)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: \"num_hidden_layers\", \"hidden_size\" and the other sizes together ask for more than "
            "2^44 weights",
            path);
    return OSV_OK;
}

/* ---- activation, norms, caps ---- */

/* The name stands under the family's key; Gemma files also have the other one, which transformers ignores,
 * but which may only say the same: "gelu" there has always meant the tanh form. */
static int read_activation(osv_config *c, const family *f, const json_t *json, const char *path, osv_error *e)
{
    static const struct {
        const char *name;
        osv_activation activation;
    } table[] = {
        {"silu", OSV_SILU},          {"swish", OSV_SILU}, {"gelu_pytorch_tanh", OSV_GELU_TANH},
        {"gelu_new", OSV_GELU_TANH}, {"gelu", OSV_GELU},
    };
    static const char supported[] = "silu, gelu, gelu_pytorch_tanh";
    const char *name = f->activation;
    OSV_TRY(osv_json_string(json, f->activation_key, false, &name, path, e));
    bool found = false;
    for (size_t i = 0; i < sizeof table / sizeof *table && !found; i++)
        if ((found = strcmp(name, table[i].name) == 0)) c->activation = table[i].activation;
    if (!found) return fail_value(json, f->activation_key, supported, path, e);

    const char *other_key = strcmp(f->activation_key, "hidden_act") ? "hidden_act" : "hidden_activation";
    const char *other = NULL;
    OSV_TRY(osv_json_string(json, other_key, false, &other, path, e));
    bool same = !other || strcmp(other, name) == 0 ||
                (strcmp(other, "gelu") == 0 && c->activation == OSV_GELU_TANH);
    return same ? OSV_OK : fail_value(json, other_key, name, path, e);
}

/* A number that must be positive; null switches it off (0), missing leaves the default. */
static int read_cap(double *cap, bool has_key, const json_t *json, const char *key, const char *path,
                    osv_error *e)
{
    const json_t *value = json_object_get(json, key);
    if (json_is_null(value)) *cap = 0;
    if (!value || json_is_null(value)) return OSV_OK;
    if (!has_key) return fail_value(json, key, "null in this family", path, e);
    OSV_TRY(osv_json_number(json, key, false, cap, path, e));
    return *cap > 0 ? OSV_OK : fail_value(json, key, "a number above 0, or null", path, e);
}

static int read_maths(osv_config *c, const family *f, const json_t *json, const char *path, osv_error *e)
{
    c->norm_offset = f->norm_offset;
    c->post_norms = f->post_norms;
    c->embed_scale = f->scaled_embedding ? sqrt(c->D) : 1;
    c->norm_eps = 1e-6;
    OSV_TRY(osv_json_number(json, "rms_norm_eps", false, &c->norm_eps, path, e));
    if (!(c->norm_eps >= 0 && c->norm_eps < 1)) return fail_value(json, "rms_norm_eps", "0 to 1", path, e);
    OSV_TRY(read_activation(c, f, json, path, e));

    c->attention_softcap = f->attention_softcap;
    c->final_softcap = f->final_softcap;
    OSV_TRY(read_cap(&c->attention_softcap, f->softcaps, json, "attn_logit_softcapping", path, e));
    OSV_TRY(read_cap(&c->final_softcap, f->softcaps, json, "final_logit_softcapping", path, e));
    double scalar = f->query_scalar ? f->scalar : c->E;
    const json_t *given = json_object_get(json, "query_pre_attn_scalar");
    if (given && !json_is_null(given)) {
        OSV_TRY(osv_json_number(json, "query_pre_attn_scalar", false, &scalar, path, e));
        if (!f->query_scalar || !(scalar > 0))
            return fail_value(json, "query_pre_attn_scalar",
                              f->query_scalar ? "above 0" : "none in this family", path, e);
    }
    c->query_scale = 1 / sqrt(scalar);

    OSV_TRY(osv_json_bool(json, "attention_bias", false, &c->qkv_bias, path, e));
    c->out_bias = c->qkv_bias;
    OSV_TRY(osv_json_bool(json, "mlp_bias", false, &c->mlp_bias, path, e));
    if (c->mlp_bias && !f->mlp_bias) return fail_value(json, "mlp_bias", "false in this family", path, e);
    c->tied = f->tied;
    return osv_json_bool(json, "tie_word_embeddings", false, &c->tied, path, e);
}

/* Only plans read it: what the tensors are stored in stands with them. */
static void read_format(osv_config *c, const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "dtype"));
    if (!name) name = json_string_value(json_object_get(json, "torch_dtype"));
    c->format = OSV_BF16;
    if (name && strcmp(name, "float32") == 0) c->format = OSV_F32;
    if (name && strcmp(name, "float16") == 0) c->format = OSV_F16;
}

/* ---- sliding window ---- */

static int read_window(osv_config *c, const family *f, const json_t *json, const char *path, osv_error *e)
{
    int size = f->window_size;
    bool use = true;
    OSV_TRY(osv_json_int(json, "sliding_window", false, 1, INT_MAX, &size, path, e));
    OSV_TRY(osv_json_bool(json, "use_sliding_window", false, &use, path, e));
    const json_t *given = json_object_get(json, "sliding_window");
    if (!use || json_is_null(given)) size = 0;
    if (size && !f->window) return fail_value(json, "sliding_window", "null in this family", path, e);

    const json_t *types = json_object_get(json, "layer_types");
    bool listed = types && !json_is_null(types);
    if (listed && json_array_size(types) != (size_t)c->N)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"layer_types\" must be an array with one entry for each of the %d blocks", path,
                        c->N);
    for (int l = 0; l < c->N; l++) {
        bool sliding = f->window && l % 2 == 0;
        if (listed) {
            const char *type = json_string_value(json_array_get(types, (size_t)l));
            sliding = type && strcmp(type, "sliding_attention") == 0;
            if (!sliding && !(type && strcmp(type, "full_attention") == 0))
                return OSV_FAIL(
                    e, OSV_BAD_INPUT,
                    "%s: \"layer_types\" entry %d is \"%s\"; supported: full_attention, sliding_attention",
                    path, l, type ? type : "not a string");
            if (sliding && !f->window)
                return OSV_FAIL(e, OSV_BAD_INPUT,
                                "%s: \"layer_types\" entry %d is \"%s\", which %s does not have", path, l,
                                type, f->architecture);
        }
        c->window[l] = sliding ? size : 0;
    }
    return OSV_OK;
}

/* ---- rotary embeddings ---- */

/* Old files have "rope_scaling" and a "rope_theta" of its own, new ones "rope_parameters" that holds both.
 * Where a file has both, they must agree in what they share; *merged (owned by the caller) is their union. */
static int merge_rope(json_t **merged, const json_t *json, const char *path, osv_error *e)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    *merged = json_object();
    if (!*merged) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", path);
    for (int i = 0; i < 2; i++) {
        json_t *part = json_object_get(json, keys[i]);
        if (!part || json_is_null(part)) continue;
        if (!json_is_object(part)) return fail_value(json, keys[i], "an object, or null", path, e);
        const char *key;
        json_t *value;
        json_object_foreach(part, key, value)
        {
            const json_t *other = json_object_get(*merged, key);
            if (other && !json_equal(other, value))
                return OSV_FAIL(e, OSV_BAD_INPUT,
                                "%s: \"rope_scaling\" and \"rope_parameters\" disagree about \"%s\"", path,
                                key);
            if (json_object_set(*merged, key, value)) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", path);
        }
    }
    return OSV_OK;
}

static int above_zero(const json_t *json, const char *key, bool required, double *out, const char *path,
                      osv_error *e)
{
    OSV_TRY(osv_json_number(json, key, required, out, path, e));
    return *out > 0 ? OSV_OK : fail_value(json, key, "a number above 0", path, e);
}

static int read_rope_kind(osv_rope *r, const osv_config *c, const json_t *rope, const json_t *json,
                          const char *path, osv_error *e)
{
    const char *type = "default";
    const char *type_key = json_object_get(rope, "rope_type") ? "rope_type" : "type";
    OSV_TRY(osv_json_string(rope, type_key, false, &type, path, e));
    if (strcmp(type, "default") == 0) {
        r->kind = OSV_ROPE_DEFAULT;
        return OSV_OK;
    }
    if (strcmp(type, "linear") == 0) {
        r->kind = OSV_ROPE_LINEAR;
        return above_zero(rope, "factor", true, &r->factor, path, e);
    }
    if (strcmp(type, "llama3") != 0) return fail_value(rope, type_key, "default, linear, llama3", path, e);
    r->kind = OSV_ROPE_LLAMA3;
    OSV_TRY(above_zero(rope, "factor", true, &r->factor, path, e));
    OSV_TRY(above_zero(rope, "low_freq_factor", true, &r->low_freq, path, e));
    OSV_TRY(above_zero(rope, "high_freq_factor", true, &r->high_freq, path, e));
    if (!(r->high_freq > r->low_freq))
        return fail_value(rope, "high_freq_factor", "above low_freq_factor", path, e);
    r->original = c->positions;
    OSV_TRY(above_zero(rope, "original_max_position_embeddings", false, &r->original, path, e));
    return above_zero(json, "original_max_position_embeddings", false, &r->original, path, e);
}

static int read_rope_parts(osv_config *c, const json_t *rope, const json_t *json, const char *path,
                           osv_error *e)
{
    OSV_TRY(osv_config_known_rope_keys(rope, path, e));
    c->rope.theta = 10000;
    OSV_TRY(above_zero(json, "rope_theta", false, &c->rope.theta, path, e));
    OSV_TRY(above_zero(rope, "rope_theta", false, &c->rope.theta, path, e));
    const json_t *places[] = {json, rope};
    for (int i = 0; i < 2; i++) {
        double partial = 1;
        OSV_TRY(osv_json_number(places[i], "partial_rotary_factor", false, &partial, path, e));
        if (partial != 1) return fail_value(places[i], "partial_rotary_factor", "1", path, e);
    }
    return read_rope_kind(&c->rope, c, rope, json, path, e);
}

static int read_rope(osv_config *c, const json_t *json, const char *path, osv_error *e)
{
    json_t *rope;
    int status = merge_rope(&rope, json, path, e);
    if (!status) status = read_rope_parts(c, rope, json, path, e);
    json_decref(rope);
    return status;
}

/* ---- all of it ---- */

static int read_all(osv_config *c, const json_t *json, const char *path, osv_error *e)
{
    if (!json_is_object(json)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be a JSON object", path);
    const family *f = NULL;
    OSV_TRY(find_family(&f, json, path, e));
    snprintf(c->family, sizeof c->family, "%s", f->model_type);
    OSV_TRY(osv_config_known_keys(json, path, e));
    OSV_TRY(read_sizes(c, f, json, path, e));
    OSV_TRY(read_maths(c, f, json, path, e));
    OSV_TRY(read_window(c, f, json, path, e));
    OSV_TRY(read_rope(c, json, path, e));
    read_format(c, json);
    /* Some files give a list, or an id that the vocabulary does not have: then there is none. */
    const json_t *bos = json_object_get(json, "bos_token_id");
    json_int_t id = json_is_integer(bos) ? json_integer_value(bos) : -1;
    c->bos = id >= 0 && id < c->V ? (int)id : -1;
    return OSV_OK;
}

int osv_config_parse(osv_config *config, const char *text, size_t bytes, const char *where, osv_error *e)
{
    *config = (osv_config){0};
    json_t *json;
    OSV_TRY(osv_json_parse(&json, text, bytes, where, 1, e));
    int status = read_all(config, json, where, e);
    json_decref(json);
    return status;
}

int osv_config_read(osv_config *config, const char *dir, osv_error *e)
{
    char *path, *text;
    size_t bytes;
    if (osv_random_is(dir)) return osv_random_config(config, dir, e);
    OSV_TRY(osv_path_join(&path, dir, "config.json", e));
    int status = osv_file_read(&text, &bytes, path, LIMIT, e);
    if (!status) status = osv_config_parse(config, text, bytes, path, e);
    free(text);
    free(path);
    return status;
}
