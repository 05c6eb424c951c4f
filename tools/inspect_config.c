#include "tools/inspect_config.h"

#include "engine/model.h"

static const char *activation_name(osv_activation a)
{
    switch (a) {
    case OSV_SILU: return "silu";
    case OSV_GELU_TANH: return "gelu, tanh form";
    case OSV_GELU: return "gelu";
    }
    return "?";
}

static const char *qk_norm_name(osv_qk_norm n)
{
    switch (n) {
    case OSV_QK_NORM_NONE: return "none";
    case OSV_QK_NORM_HEAD: return "each head";
    case OSV_QK_NORM_WIDTH: return "all heads together";
    }
    return "?";
}

/* 0, which stands for "none", is null. */
static json_t *number_or_none(double x)
{
    return x > 0 ? json_real(x) : json_null();
}

static json_t *numbers_json(const double *x, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, json_real(x[i]));
    return list;
}

static json_t *rope_json(const osv_rope *r, int components)
{
    static const char *const kinds[] = {[OSV_ROPE_DEFAULT] = "default",
                                        [OSV_ROPE_LINEAR] = "linear",
                                        [OSV_ROPE_LLAMA3] = "llama3",
                                        [OSV_ROPE_YARN] = "yarn",
                                        [OSV_ROPE_LONGROPE] = "longrope"};
    json_t *rope = json_object();
#define FIELD(present, name, value) \
    if (present) json_object_set_new(rope, name, value)
    bool llama3 = r->kind == OSV_ROPE_LLAMA3, yarn = r->kind == OSV_ROPE_YARN,
         lists = r->kind == OSV_ROPE_LONGROPE;
    FIELD(true, "kind", json_string(kinds[r->kind]));
    FIELD(true, "theta", json_real(r->theta));
    FIELD(true, "components", json_integer(components));
    FIELD(llama3 || yarn || r->kind == OSV_ROPE_LINEAR, "factor", json_real(r->factor));
    FIELD(llama3 || yarn || lists, "original_positions", json_real(r->original));
    FIELD(llama3, "low_freq_factor", json_real(r->low_freq));
    FIELD(llama3, "high_freq_factor", json_real(r->high_freq));
    FIELD(yarn, "beta_fast", json_real(r->beta_fast));
    FIELD(yarn, "beta_slow", json_real(r->beta_slow));
    FIELD(yarn, "truncate", json_boolean(r->truncate));
    FIELD(yarn || lists, "attention_factor", json_real(r->scale));
    FIELD(lists, "long_sequences", json_boolean(r->use_long)); /* than `original`, in this run */
    FIELD(lists, "short_factors", numbers_json(r->short_factor, components / 2));
    FIELD(lists, "long_factors", numbers_json(r->long_factor, components / 2));
#undef FIELD
    return rope;
}

/* Which of the rotary embeddings each block has. */
static json_t *block_rope_json(const osv_config *c)
{
    json_t *list = json_array();
    for (int l = 0; l < c->N; l++) json_array_append_new(list, json_integer(c->block_rope[l]));
    return list;
}

/* One number where all blocks have the same, 0: full attention; else a list. */
static json_t *window_json(const osv_config *c)
{
    bool same = true;
    json_t *list = json_array();
    for (int l = 0; l < c->N; l++) {
        same = same && c->window[l] == c->window[0];
        json_array_append_new(list, c->window[l] ? json_integer(c->window[l]) : json_null());
    }
    if (!same) return list;
    json_decref(list);
    return c->window[0] ? json_integer(c->window[0]) : json_null();
}

json_t *inspect_config_json(const osv_config *c)
{
    json_t *json = json_object();
#define FIELD(name, value) json_object_set_new(json, name, value)
    FIELD("family", json_string(*c->family ? c->family : "random"));
    FIELD("blocks", json_integer(c->N));
    FIELD("width", json_integer(c->D));
    FIELD("ffn_width", json_integer(c->F));
    FIELD("query_heads", json_integer(c->H));
    FIELD("kv_heads", json_integer(c->K));
    FIELD("head_size", json_integer(c->E));
    FIELD("vocabulary", json_integer(c->V));
    FIELD("positions", json_integer(c->positions));
    FIELD("norm", json_string(c->norm_offset == 1 ? "rms, times 1 + w" : "rms, times w"));
    FIELD("norm_eps", json_real(c->norm_eps));
    FIELD("norms_before", json_boolean(c->pre_norms));
    FIELD("norms_after", json_boolean(c->post_norms));
    FIELD("query_key_norm", json_string(qk_norm_name(c->qk_norm)));
    FIELD("activation", json_string(activation_name(c->activation)));
    FIELD("embedding_scale", json_real(c->embed_scale));
    FIELD("embedding_scale_in_dtype", json_boolean(c->embed_scale_dtype));
    FIELD("residual_scale", json_real(c->residual_scale));
    FIELD("logit_scale", json_real(c->logit_scale));
    FIELD("query_scale", json_real(c->query_scale));
    FIELD("attention_softcap", number_or_none(c->attention_softcap));
    FIELD("final_softcap", number_or_none(c->final_softcap));
    FIELD("rope", rope_json(&c->rope[0], c->rot));
    if (c->ropes > 1) FIELD("rope_1", rope_json(&c->rope[1], c->rot));
    if (c->ropes > 1) FIELD("rope_of_blocks", block_rope_json(c));
    FIELD("window", window_json(c));
    FIELD("qkv_bias", json_boolean(c->qkv_bias));
    FIELD("attention_out_bias", json_boolean(c->out_bias));
    FIELD("ffn_bias", json_boolean(c->mlp_bias));
    FIELD("tied_head", json_boolean(c->tied));
    FIELD("weights", json_string(osv_format_name(c->format)));
    FIELD("bos", c->bos < 0 ? json_null() : json_integer(c->bos));
#undef FIELD
    return json;
}

/* ---- parameters ---- */

static json_int_t count(const osv_weight *w)
{
    return w->data ? (json_int_t)w->rows * w->cols : 0;
}

static json_int_t counts(const osv_weight *const *w)
{
    json_int_t sum = 0;
    for (; *w; w++) sum += count(*w);
    return sum;
}

int inspect_parameters_json(json_t **out, const osv_config *c, osv_error *e)
{
    osv_shard shard;
    osv_model m;
    OSV_TRY(osv_shard_make(&shard, c, 0, 1, e));
    OSV_TRY(osv_model_alloc(&m, c, &shard, e));
    osv_model_shapes(&m, c->format);
    json_int_t attention = 0, ffn = 0, norms = count(&m.final_norm), biases = 0;
    for (int l = 0; l < c->N; l++) {
        const osv_block *b = &m.block[l];
        attention += counts((const osv_weight *[]){&b->q, &b->k, &b->v, &b->out, NULL});
        ffn += counts((const osv_weight *[]){&b->gate, &b->up, &b->down, NULL});
        norms += counts((const osv_weight *[]){&b->attention_norm, &b->attention_post_norm, &b->q_norm,
                                               &b->k_norm, &b->ffn_norm, &b->ffn_post_norm, NULL});
        biases += counts((const osv_weight *[]){&b->q_bias, &b->k_bias, &b->v_bias, &b->out_bias,
                                                &b->gate_bias, &b->up_bias, &b->down_bias, NULL});
    }
    json_int_t embedding = count(&m.embed), head = c->tied ? 0 : count(&m.head);
    osv_model_free(&m);
    *out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "embedding", embedding, "attention", attention,
                     "ffn", ffn, "norms", norms, "biases", biases, "head", head, "total",
                     embedding + attention + ffn + norms + biases + head);
    return *out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for the report");
}
