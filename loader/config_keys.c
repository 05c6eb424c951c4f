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

/* No influence on the logits of a forward pass. */
static const char *const HARMLESS[] = {
    /* about the file */
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
    /* training and initialisation */
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
    /* token ids and generation */
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
    /* how a program runs it */
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
    /* classifiers */
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    NULL,
};

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

static bool listed(const char *const list[], const char *key)
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

int osv_config_known_keys(const json_t *config, const char *path, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        /* The one key whose "off" is not the usual case. */
        if (strcmp(key, "is_causal") == 0 ? json_is_true(value) : off(value)) continue;
        if (key[0] == '_' || listed(UNDERSTOOD, key) || listed(HARMLESS, key)) continue;
        return fail_unknown(key, value, path, e);
    }
    return OSV_OK;
}

int osv_config_known_beside(const json_t *config, const char *path, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        if (!off(value) && key[0] != '_' && !listed(BESIDE, key) && !listed(HARMLESS, key))
            return fail_unknown(key, value, path, e);
    }
    return OSV_OK;
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
