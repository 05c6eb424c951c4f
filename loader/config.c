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
#include "loader/config_parts.h"
#include "loader/file.h"
#include "loader/json.h"
#include "loader/random_model.h"

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

/* ---- sizes ---- */

static int read_sizes(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    OSV_TRY(osv_json_int(json, "num_hidden_layers", true, 1, OSV_MAX_BLOCKS, &c->N, path, e));
    OSV_TRY(osv_json_int(json, "hidden_size", true, 1, MAX_D, &c->D, path, e));
    OSV_TRY(osv_json_int(json, "intermediate_size", true, 1, MAX_F, &c->F, path, e));
    c->V = f->V;
    c->H = f->H;
    OSV_TRY(osv_json_int(json, "vocab_size", !f->V, 1, MAX_V, &c->V, path, e));
    OSV_TRY(osv_json_int(json, "num_attention_heads", !f->H, 1, MAX_H, &c->H, path, e));
    /* A missing key means the family's number, null as many as there are query heads. */
    c->K = f->K && !json_is_null(json_object_get(json, "num_key_value_heads")) ? f->K : c->H;
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

static bool find_activation(osv_activation *activation, const char *name)
{
    static const struct {
        const char *name;
        osv_activation activation;
    } table[] = {
        {"silu", OSV_SILU},          {"swish", OSV_SILU}, {"gelu_pytorch_tanh", OSV_GELU_TANH},
        {"gelu_new", OSV_GELU_TANH}, {"gelu", OSV_GELU},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        *activation = table[i].activation;
        if (strcmp(name, table[i].name) == 0) return true;
    }
    return false;
}

/* The name stands under the family's key; Gemma files also have the other one, which transformers ignores,
 * but which may only say the same: "gelu" there has always meant the tanh form. */
static int read_activation(osv_config *c, const osv_family *f, const json_t *json, const char *path,
                           osv_error *e)
{
    static const char supported[] = "silu, gelu, gelu_pytorch_tanh";
    const char *name = f->activation, *other = NULL;
    OSV_TRY(osv_json_string(json, f->activation_key, false, &name, path, e));
    if (!find_activation(&c->activation, name))
        return osv_config_fail_value(json, f->activation_key, supported, path, e);
    if (f->gelu_is_tanh && c->activation == OSV_GELU) c->activation = OSV_GELU_TANH;

    const char *other_key = strcmp(f->activation_key, "hidden_act") ? "hidden_act" : "hidden_activation";
    OSV_TRY(osv_json_string(json, other_key, false, &other, path, e));
    osv_activation beside = c->activation;
    bool same = !other || (find_activation(&beside, other) && beside == c->activation) ||
                (strcmp(other, "gelu") == 0 && c->activation == OSV_GELU_TANH);
    return same ? OSV_OK : osv_config_fail_value(json, other_key, name, path, e);
}

/* A number that must be positive; null switches it off (0), missing leaves the default. */
static int read_cap(double *cap, bool has_key, const json_t *json, const char *key, const char *path,
                    osv_error *e)
{
    const json_t *value = json_object_get(json, key);
    if (json_is_null(value)) *cap = 0;
    if (!value || json_is_null(value)) return OSV_OK;
    if (!has_key) return osv_config_fail_value(json, key, "null in this family", path, e);
    OSV_TRY(osv_json_number(json, key, false, cap, path, e));
    return *cap > 0 ? OSV_OK : osv_config_fail_value(json, key, "a number above 0, or null", path, e);
}

static int read_caps(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    c->attention_softcap = f->attention_cap;
    c->final_softcap = f->final_cap;
    OSV_TRY(read_cap(&c->attention_softcap, f->attention_softcap, json, "attn_logit_softcapping", path, e));
    return read_cap(&c->final_softcap, f->final_softcap, json, "final_logit_softcapping", path, e);
}

/* Scales of embeddings, of q.k, of what blocks add, and of logits. */
static int read_scales(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    c->embed_scale = f->scaled_embedding ? sqrt(c->D) : 1;
    c->embed_scale_dtype = f->scaled_embedding;
    c->residual_scale = 1;
    double scalar = f->query_scalar ? f->scalar : c->E, divisor = 1;
    const json_t *given = json_object_get(json, "query_pre_attn_scalar");
    if (given && !json_is_null(given)) {
        OSV_TRY(osv_json_number(json, "query_pre_attn_scalar", false, &scalar, path, e));
        if (!f->query_scalar || !(scalar > 0))
            return osv_config_fail_value(json, "query_pre_attn_scalar",
                                         f->query_scalar ? "above 0" : "none in this family", path, e);
    }
    c->query_scale = f->multipliers ? 1 : 1 / sqrt(scalar);
    const struct {
        const char *key;
        double *out;
    } multipliers[] = {{"embedding_multiplier", &c->embed_scale},
                       {"attention_multiplier", &c->query_scale},
                       {"residual_multiplier", &c->residual_scale},
                       {"logits_scaling", &divisor}};
    for (size_t i = 0; i < sizeof multipliers / sizeof *multipliers; i++) {
        const char *key = multipliers[i].key;
        double value = 1;
        OSV_TRY(osv_config_above_zero(json, key, false, &value, path, e));
        if (!f->multipliers && value != 1)
            return osv_config_fail_value(json, key, "none in this family", path, e);
        if (f->multipliers) *multipliers[i].out = value;
    }
    c->logit_scale = 1 / divisor;
    return OSV_OK;
}

static int read_biases(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    bool given = false;
    OSV_TRY(osv_json_bool(json, "attention_bias", false, &given, path, e));
    if (given && f->bias == OSV_BIAS_NONE)
        return osv_config_fail_value(json, "attention_bias", "false in this family", path, e);
    c->qkv_bias = f->bias == OSV_BIAS_QKV || given;
    c->out_bias = f->bias == OSV_BIAS_KEY && given;
    OSV_TRY(osv_json_bool(json, "mlp_bias", false, &c->mlp_bias, path, e));
    if (c->mlp_bias && !f->mlp_bias)
        return osv_config_fail_value(json, "mlp_bias", "false in this family", path, e);
    return OSV_OK;
}

static int read_maths(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    c->norm_offset = f->norm_offset;
    c->pre_norms = !f->no_pre_norms;
    c->post_norms = f->post_norms;
    c->qk_norm = f->qk_norm;
    c->norm_eps = f->norm_eps;
    OSV_TRY(osv_json_number(json, "rms_norm_eps", false, &c->norm_eps, path, e));
    if (!(c->norm_eps >= 0 && c->norm_eps < 1))
        return osv_config_fail_value(json, "rms_norm_eps", "0 to 1", path, e);
    OSV_TRY(read_activation(c, f, json, path, e));
    OSV_TRY(read_caps(c, f, json, path, e));
    OSV_TRY(read_scales(c, f, json, path, e));
    OSV_TRY(read_biases(c, f, json, path, e));
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

/* Is block l a sliding one, where no list says so? */
static bool slides(const osv_family *f, int l, int pattern, int first)
{
    switch (f->window) {
    case OSV_WINDOW_NONE: return false;
    case OSV_WINDOW_ALL: return true;
    case OSV_WINDOW_PATTERN: return (l + 1) % pattern != 0;
    case OSV_WINDOW_UPPER: return l >= first;
    }
    return false;
}

static int fail_type(const json_t *types, int l, const char *why, const char *path, osv_error *e)
{
    const char *type = json_string_value(json_array_get(types, (size_t)l));
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"layer_types\" entry %d is \"%s\"%s", path, l,
                    type ? type : "not a string", why);
}

/* What "layer_types" says of block l. */
static int read_type(bool *sliding, const osv_family *f, bool windows, const json_t *types, int l,
                     const char *path, osv_error *e)
{
    const char *type = json_string_value(json_array_get(types, (size_t)l));
    *sliding = type && strcmp(type, "sliding_attention") == 0;
    if (!*sliding && !(type && strcmp(type, "full_attention") == 0))
        return fail_type(types, l, "; supported: full_attention, sliding_attention", path, e);
    if (*sliding && f->window == OSV_WINDOW_NONE)
        return fail_type(types, l, ", which this family does not have", path, e);
    if (f->window == OSV_WINDOW_ALL && windows != *sliding)
        return fail_type(types, l, ", but all blocks of this family are as \"sliding_window\" says", path, e);
    return OSV_OK;
}

static int read_window(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    int size = f->window_size, pattern = f->pattern, first = 28;
    bool use = f->window != OSV_WINDOW_UPPER;
    OSV_TRY(osv_json_int(json, "sliding_window", false, 1, INT_MAX, &size, path, e));
    OSV_TRY(osv_json_bool(json, "use_sliding_window", false, &use, path, e));
    OSV_TRY(osv_json_int(json, "sliding_window_pattern", false, 1, INT_MAX, &pattern, path, e));
    OSV_TRY(osv_json_int(json, "max_window_layers", false, 0, INT_MAX, &first, path, e));
    const json_t *given = json_object_get(json, "sliding_window");
    if (!use || json_is_null(given)) size = 0;
    if (size && f->window == OSV_WINDOW_NONE)
        return osv_config_fail_value(json, "sliding_window", "null in this family", path, e);
    if (pattern != f->pattern && !f->local_rope)
        return osv_config_fail_value(json, "sliding_window_pattern", "none in this family", path, e);

    const json_t *types = json_object_get(json, "layer_types");
    bool listed = types && !json_is_null(types);
    if (listed && json_array_size(types) != (size_t)c->N)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"layer_types\" must be an array with one entry for each of the %d blocks", path,
                        c->N);
    for (int l = 0; l < c->N; l++) {
        bool sliding = slides(f, l, pattern, first);
        if (listed) OSV_TRY(read_type(&sliding, f, size > 0, types, l, path, e));
        c->window[l] = sliding ? size : 0;
        c->block_rope[l] = f->local_rope && sliding;
    }
    return OSV_OK;
}

/* ---- all of it ---- */

/* Keys of a multimodal file that stand beside its "text_config" and say the same, or nothing of text. */
static int read_beside(osv_config *c, const json_t *json, const json_t *text, const char *path, osv_error *e)
{
    OSV_TRY(osv_config_known_beside(json, path, e));
    const json_t *inner = json_object_get(text, "tie_word_embeddings");
    bool tied = c->tied;
    OSV_TRY(osv_json_bool(json, "tie_word_embeddings", false, &tied, path, e));
    if (tied != c->tied && inner && !json_is_null(inner))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"tie_word_embeddings\" in \"text_config\" and beside it disagree", path);
    c->tied = tied;
    return OSV_OK;
}

static int read_all(osv_config *c, const json_t *json, const char *path, osv_error *e)
{
    if (!json_is_object(json)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be a JSON object", path);
    const osv_family *f = NULL;
    const json_t *text = NULL;
    OSV_TRY(osv_family_find(&f, &text, json, path, e));
    snprintf(c->family, sizeof c->family, "%s", f->model_type);
    OSV_TRY(osv_config_known_keys(text, path, e));
    OSV_TRY(read_sizes(c, f, text, path, e));
    OSV_TRY(read_maths(c, f, text, path, e));
    OSV_TRY(read_window(c, f, text, path, e));
    OSV_TRY(osv_config_rope(c, f, text, path, e));
    read_format(c, text);
    if (text != json) {
        OSV_TRY(read_beside(c, json, text, path, e));
        if (!json_object_get(text, "dtype") && !json_object_get(text, "torch_dtype")) read_format(c, json);
    }
    /* Some files give a list, or an id that the vocabulary does not have: then there is none. */
    const json_t *bos = json_object_get(text, "bos_token_id");
    if (!bos && text != json) bos = json_object_get(json, "bos_token_id");
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
