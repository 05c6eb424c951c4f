#include "loader/config_keys.h"

#include <string.h>

/* Read by loader/config.c and loader/config_rope.c. */
static const char *const UNDERSTOOD[] = {
    "architectures",
    "attention_bias",
    "attention_multiplier",
    "attn_logit_softcapping",
    "bos_token_id",
    "embedding_multiplier",
    "final_logit_softcapping",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "logits_scaling",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "query_pre_attn_scalar",
    "residual_multiplier",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "tie_word_embeddings",
    "use_sliding_window",
    "vocab_size",
    NULL,
};

/* No influence on the logits of a forward pass, group by group. */
static const char *const FILE_KEYS[] = {
    "auto_map",
    "dtype",
    "license",
    "model_name",
    "name_or_path",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    NULL,
};

static const char *const TRAINING_KEYS[] = {
    "attention_dropout",
    "embd_pdrop",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "initializer_range",
    "neftune_noise_alpha",
    "pretraining_tp",
    "resid_pdrop",
    "router_aux_loss_coef",
    NULL,
};

static const char *const GENERATION_KEYS[] = {
    "bad_words_ids",
    "begin_suppress_tokens",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "pad_token_id",
    "prefix",
    "repetition_penalty",
    "sep_token_id",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    NULL,
};

static const char *const PROGRAM_KEYS[] = {
    "attn_implementation",
    "full_attn_mod", /* Phi-4-mini's; transformers reads neither this nor the next */
    "interpolate_factor",
    "cache_implementation",
    "chunk_size_feed_forward",
    "is_decoder",
    "is_llama_config",
    "max_sequence_length",
    "model_max_length",
    "output_attentions",
    "output_hidden_states",
    "remove_invalid_values",
    "sliding_window_size",
    "return_dict",
    "return_dict_in_generate",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention",
    NULL,
};

static const char *const CLASSIFIER_KEYS[] = {
    "finetuning_task", "id2label", "label2id", "num_labels", "problem_type", NULL,
};

static const struct {
    const char *const *keys;
    const char *reason;
} HARMLESS[] = {
    {FILE_KEYS, "about the file, not about the maths"},
    {TRAINING_KEYS, "about training the weights, which are frozen here"},
    {GENERATION_KEYS, "about token ids and writing text, not about the logits"},
    {PROGRAM_KEYS, "how a program runs the model, not what it computes"},
    {CLASSIFIER_KEYS, "about classifiers, which this is not"},
};
enum { HARMLESS_GROUPS = sizeof HARMLESS / sizeof *HARMLESS };

/* Beside the "text_config" of a multimodal file: the other parts of the model, and numbers of tokens. */
static const char *const BESIDE[] = {
    "architectures", "audio_config",    "boi_token_id",        "boi_token_index",   "bos_token_id",
    "eoi_token_id",  "eoi_token_index", "image_token_id",      "image_token_index", "mm_tokens_per_image",
    "model_type",    "text_config",     "tie_word_embeddings", "vision_config",     NULL,
};

static const char *const ROPE[] = {
    "factor",
    "high_freq_factor",
    "low_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_theta",
    "rope_type",
    "type",
    NULL,
};
static const char *const YARN[] = {
    "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", NULL,
};
static const char *const LONGROPE[] = {"attention_factor", "long_factor", "short_factor", NULL};
static const char *const NO_MORE[] = {NULL};

static bool listed(const char *const *list, const char *key)
{
    for (int i = 0; list[i]; i++)
        if (strcmp(list[i], key) == 0) return true;
    return false;
}

static bool off(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

static int fail_unknown(const char *key, const json_t *value, const char *path, osv_error *e)
{
    char shown[80];
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s: \"%.80s\" is %s, which is not understood; it may change what the model computes",
                    path, key, osv_json_show(value, shown, sizeof shown));
}

/* Why a key that is not read has no influence on the logits; NULL: it may have one. */
static const char *reason_to_ignore(const char *key, const json_t *value)
{
    for (int i = 0; i < HARMLESS_GROUPS; i++)
        if (listed(HARMLESS[i].keys, key)) return HARMLESS[i].reason;
    if (key[0] == '_') return "a program's note to itself";
    /* The one key whose "off" is not the usual case. */
    bool is_off = strcmp(key, "is_causal") == 0 ? json_is_true(value) : off(value);
    return is_off ? "switched off" : NULL;
}

static int check_known(const json_t *config, const char *const *known, const char *path, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        if (!listed(known, key) && !reason_to_ignore(key, value)) return fail_unknown(key, value, path, e);
    }
    return OSV_OK;
}

int osv_config_known_keys(const json_t *config, const char *path, osv_error *e)
{
    return check_known(config, UNDERSTOOD, path, e);
}

int osv_config_known_beside(const json_t *config, const char *path, osv_error *e)
{
    return check_known(config, BESIDE, path, e);
}

typedef void tell(void *context, const char *key, const json_t *value, const char *reason);

static void tell_ignored(const json_t *config, bool beside, tell *f, void *context)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        const char *reason = reason_to_ignore(key, value);
        if (beside && listed(BESIDE, key))
            reason = "about other parts of the model than its text, or said in \"text_config\" too";
        else if (!beside && listed(UNDERSTOOD, key))
            reason = NULL;
        if (reason) f(context, key, value, reason);
    }
}

void osv_config_ignored(const json_t *config, tell *f, void *context)
{
    json_t *text = json_object_get(config, "text_config"), *beside;
    if (!json_is_object(text)) {
        tell_ignored(config, false, f, context);
        return;
    }
    beside = json_copy((json_t *)config);
    json_object_del(beside, "text_config");
    json_object_del(beside, "tie_word_embeddings"); /* which is read */
    tell_ignored(beside, true, f, context);
    tell_ignored(text, false, f, context);
    json_decref(beside);
}

int osv_config_known_rope_keys(const json_t *rope, osv_rope_kind kind, const char *path, osv_error *e)
{
    const char *const *more = kind == OSV_ROPE_YARN ? YARN : kind == OSV_ROPE_LONGROPE ? LONGROPE : NO_MORE;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)rope, key, value)
    {
        if (!off(value) && !listed(ROPE, key) && !listed(more, key)) return fail_unknown(key, value, path, e);
    }
    return OSV_OK;
}
