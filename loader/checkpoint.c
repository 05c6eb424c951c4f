#include "loader/checkpoint.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/random_model.h"
#include "loader/store.h"

struct osv_checkpoint {
    char *dir;
    osv_store store;
    const struct layout *layout; /* of the names in it */
    int cols;                    /* D */
    void **copy;                 /* memory of slices that cannot be used where they lie in the file */
    int copies;
    char *config; /* the text of config.json, which goes into the hash */
    size_t config_bytes;
    char sha256[65]; /* empty until somebody asks */
};

/* ---- slices ---- */

/* What of a stored [rows, cols] matrix belongs to this rank. */
typedef struct {
    int rows, cols; /* whole */
    int row0, row_count, col0, col_count;
    bool vector; /* stored as [cols] */
} slice;

static slice matrix_rows(int rows, int row0, int count, int cols)
{
    return (slice){rows, cols, row0, count, 0, cols, false};
}

static slice matrix_cols(int rows, int cols, int col0, int count)
{
    return (slice){rows, cols, 0, rows, col0, count, false};
}

static slice vector(int cols, int col0, int count)
{
    return (slice){1, cols, 0, 1, col0, count, true};
}

static int check_shape(const osv_stored *s, const slice *want, osv_error *e)
{
    const osv_tensor *t = s->tensor;
    bool good = want->vector ? t->rank == 1 && t->shape[0] == want->cols
                             : t->rank == 2 && t->shape[0] == want->rows && t->shape[1] == want->cols;
    if (good) return OSV_OK;
    char actual[OSV_MAX_RANK * 22 + 1] = "", expected[48];
    for (int i = 0, used = 0; i < t->rank; i++)
        used += snprintf(actual + used, sizeof actual - (size_t)used, "%s%lld", i ? ", " : "",
                         (long long)t->shape[i]);
    if (want->vector)
        snprintf(expected, sizeof expected, "%d", want->cols);
    else
        snprintf(expected, sizeof expected, "%d, %d", want->rows, want->cols);
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s has shape [%s], config.json asks for [%s]", s->path,
                    t->name, actual, expected);
}

static int format_of(osv_format *format, const osv_stored *s, osv_error *e)
{
    for (int f = OSV_F32; f <= OSV_BF16; f++)
        if (strcmp(s->tensor->dtype, osv_format_name((osv_format)f)) == 0) {
            *format = (osv_format)f;
            return OSV_OK;
        }
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s has dtype %s, supported: F32, F16, BF16", s->path,
                    s->tensor->name, s->tensor->dtype);
}

/* Room for one more entry of c->copy. */
static bool room_to_keep(osv_checkpoint *c)
{
    void **wider = realloc(c->copy, ((size_t)c->copies + 1) * sizeof *wider);
    if (wider) c->copy = wider;
    return wider;
}

/* Memory that lives as long as the checkpoint. */
static void *keep(osv_checkpoint *c, size_t bytes)
{
    void *memory = room_to_keep(c) ? malloc(bytes) : NULL;
    if (memory) c->copy[c->copies++] = memory;
    return memory;
}

/* The pages that hold a piece of a mapped file. */
static void advise(const char *piece, size_t bytes, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)piece / page * page;
    madvise((void *)first, (uintptr_t)piece + bytes - first, advice);
}

/* Copies `row` bytes out of every `stride`. Where that leaves whole pages out, only the others are read: the
 * kernel is told not to read ahead by itself, and which pages come next. */
static void copy_columns(char *out, const char *data, size_t row, size_t stride, int rows)
{
    enum { AHEAD = 256 };
    bool sparse = row + (size_t)sysconf(_SC_PAGESIZE) < stride;
    size_t all = (size_t)(rows - 1) * stride + row;
    if (sparse) advise(data, all, MADV_RANDOM);
    for (int r = 0; r < rows; r++) {
        for (int k = r; sparse && r % AHEAD == 0 && k < rows && k < r + AHEAD; k++)
            advise(data + (size_t)k * stride, row, MADV_WILLNEED);
        memcpy(out + (size_t)r * row, data + (size_t)r * stride, row);
    }
    if (sparse) advise(data, all, MADV_NORMAL);
}

/* Rows of a slice lie together in the file and are used there; columns are copied, and so is a tensor that
 * the file does not align to its elements. */
static int take(osv_checkpoint *c, osv_weight *w, osv_stored *s, const slice *want, osv_error *e)
{
    s->used = true;
    osv_format format = OSV_F32; /* gcc does not see that a failure is never OSV_OK */
    OSV_TRY(format_of(&format, s, e));
    OSV_TRY(check_shape(s, want, e));
    size_t element = osv_format_bytes(format);
    size_t stride = (size_t)want->cols * element, row = (size_t)want->col_count * element;
    const char *data = (const char *)s->tensor->data + (size_t)want->row0 * stride +
                       (size_t)want->col0 * element;
    *w = (osv_weight){data, format, want->row_count, want->col_count};
    bool together = row == stride || want->row_count == 1;
    if (together && (uintptr_t)data % element == 0) return OSV_OK;
    char *copy = keep(c, (size_t)want->row_count * row);
    if (!copy)
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for this rank's %zu bytes of tensor %s", s->path,
                        (size_t)want->row_count * row, s->tensor->name);
    copy_columns(copy, data, row, stride, want->row_count);
    w->data = copy;
    return OSV_OK;
}

/* ---- names ---- */

/* Where a file keeps the language model: what stands in front of its tensors' names, the name of the head,
 * and what else of a multimodal model may lie beside it, which is left alone. */
struct layout {
    const char *prefix, *head, *beside[2];
};
static const struct layout LAYOUTS[] = {
    {"model.", "lm_head.weight", {NULL}},
    {"", "lm_head.weight", {NULL}}, /* the bare model, without its head */
    {"language_model.model.", "language_model.lm_head.weight", {"vision_tower.", "multi_modal_projector."}},
    {"model.language_model.", "lm_head.weight", {"model.vision_tower.", "model.multi_modal_projector."}},
};

static osv_stored *find_in(const osv_checkpoint *c, const struct layout *layout, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", layout->prefix, name);
    return osv_store_find(&c->store, full);
}

static const struct layout *find_layout(const osv_checkpoint *c)
{
    for (size_t i = 0; i < sizeof LAYOUTS / sizeof *LAYOUTS; i++)
        if (find_in(c, &LAYOUTS[i], "norm.weight") || find_in(c, &LAYOUTS[i], "embed_tokens.weight"))
            return &LAYOUTS[i];
    return &LAYOUTS[0];
}

static osv_stored *find(const osv_checkpoint *c, const char *name)
{
    return find_in(c, c->layout, name);
}

/* `block` < 0: the tensor belongs to none. */
static osv_stored *find_of(char full[80], const osv_checkpoint *c, int block, const char *name)
{
    if (block < 0)
        snprintf(full, 80, "%s", name);
    else
        snprintf(full, 80, "layers.%d.%s", block, name);
    return find(c, full);
}

static int fetch(osv_checkpoint *c, osv_weight *w, int block, const char *name, slice want, osv_error *e)
{
    char full[80];
    osv_stored *s = find_of(full, c, block, name);
    if (s) return take(c, w, s, &want, e);
    const char *prefix = c->layout->prefix;
    if (block < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s%s is missing", c->dir, prefix, full);
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: block %d: tensor %s%s is missing", c->dir, block, prefix, full);
}

/* ---- the model ---- */

/* One of several matrices that some files store one below the other, as a single tensor. */
typedef struct {
    osv_weight *to;
    const char *name; /* where it is stored by itself */
    int rows;         /* whole */
    int first, count; /* this rank's */
} part;

/* Parts of one input. Where the file has them as one tensor, each is some rows of it, used where they lie. */
static int fetch_parts(osv_checkpoint *c, int l, const char *fused, const part *p, int parts, osv_error *e)
{
    char full[80];
    int D = c->cols, rows = 0, at = 0;
    bool together = find_of(full, c, l, fused);
    for (int i = 0; i < parts; i++) rows += p[i].rows;
    for (int i = 0; i < parts; at += p[i++].rows) {
        slice want = together ? matrix_rows(rows, at + p[i].first, p[i].count, D)
                              : matrix_rows(p[i].rows, p[i].first, p[i].count, D);
        OSV_TRY(fetch(c, p[i].to, l, together ? fused : p[i].name, want, e));
    }
    return OSV_OK;
}

static int fill_qk_norms(osv_checkpoint *c, const osv_model *m, int l, osv_error *e)
{
    const osv_config *g = &m->config;
    osv_block *b = &m->block[l];
    const osv_shard *s = &m->shard;
    int E = g->E;
    slice q = vector(E, 0, E), k = q;
    if (g->qk_norm == OSV_QK_NORM_WIDTH) {
        q = vector(g->H * E, s->head0 * E, s->H * E);
        k = vector(g->K * E, s->kv0 * E, s->K * E);
    }
    if (!g->qk_norm) return OSV_OK;
    OSV_TRY(fetch(c, &b->q_norm, l, "self_attn.q_norm.weight", q, e));
    return fetch(c, &b->k_norm, l, "self_attn.k_norm.weight", k, e);
}

static int fill_attention(osv_checkpoint *c, const osv_model *m, int l, osv_error *e)
{
    const osv_config *g = &m->config;
    const osv_shard *s = &m->shard;
    osv_block *b = &m->block[l];
    int D = g->D, E = g->E, q = g->H * E, kv = g->K * E;
    int q0 = s->head0 * E, q_count = s->H * E, kv0 = s->kv0 * E, kv_count = s->K * E;
    const part qkv[] = {{&b->q, "self_attn.q_proj.weight", q, q0, q_count},
                        {&b->k, "self_attn.k_proj.weight", kv, kv0, kv_count},
                        {&b->v, "self_attn.v_proj.weight", kv, kv0, kv_count}};
    if (g->pre_norms) OSV_TRY(fetch(c, &b->attention_norm, l, "input_layernorm.weight", vector(D, 0, D), e));
    OSV_TRY(fetch_parts(c, l, "self_attn.qkv_proj.weight", qkv, 3, e));
    OSV_TRY(fetch(c, &b->out, l, "self_attn.o_proj.weight", matrix_cols(D, q, q0, q_count), e));
    if (g->qkv_bias) {
        OSV_TRY(fetch(c, &b->q_bias, l, "self_attn.q_proj.bias", vector(q, q0, q_count), e));
        OSV_TRY(fetch(c, &b->k_bias, l, "self_attn.k_proj.bias", vector(kv, kv0, kv_count), e));
        OSV_TRY(fetch(c, &b->v_bias, l, "self_attn.v_proj.bias", vector(kv, kv0, kv_count), e));
    }
    if (g->out_bias) OSV_TRY(fetch(c, &b->out_bias, l, "self_attn.o_proj.bias", vector(D, 0, D), e));
    return fill_qk_norms(c, m, l, e);
}

static int fill_ffn(osv_checkpoint *c, const osv_model *m, int l, osv_error *e)
{
    const osv_config *g = &m->config;
    osv_block *b = &m->block[l];
    int D = g->D, F = g->F, first = m->shard.ffn0, count = m->shard.F;
    const part gate_up[] = {{&b->gate, "mlp.gate_proj.weight", F, first, count},
                            {&b->up, "mlp.up_proj.weight", F, first, count}};
    OSV_TRY(fetch_parts(c, l, "mlp.gate_up_proj.weight", gate_up, 2, e));
    OSV_TRY(fetch(c, &b->down, l, "mlp.down_proj.weight", matrix_cols(D, F, first, count), e));
    if (g->mlp_bias) {
        OSV_TRY(fetch(c, &b->gate_bias, l, "mlp.gate_proj.bias", vector(F, first, count), e));
        OSV_TRY(fetch(c, &b->up_bias, l, "mlp.up_proj.bias", vector(F, first, count), e));
        OSV_TRY(fetch(c, &b->down_bias, l, "mlp.down_proj.bias", vector(D, 0, D), e));
    }
    /* "post_attention_layernorm" is the norm after attention where a family has post-norms, and the norm
     * before the ffn where it has none. */
    if (!g->post_norms)
        return fetch(c, &b->ffn_norm, l, "post_attention_layernorm.weight", vector(D, 0, D), e);
    OSV_TRY(fetch(c, &b->attention_post_norm, l, "post_attention_layernorm.weight", vector(D, 0, D), e));
    if (g->pre_norms)
        OSV_TRY(fetch(c, &b->ffn_norm, l, "pre_feedforward_layernorm.weight", vector(D, 0, D), e));
    return fetch(c, &b->ffn_post_norm, l, "post_feedforward_layernorm.weight", vector(D, 0, D), e);
}

static bool same_bytes(const osv_tensor *a, const osv_tensor *b)
{
    return strcmp(a->dtype, b->dtype) == 0 && a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* As transformers 5 does it: a tied matrix may be stored under either name, or both; where both are stored
 * and differ, the config is wrong and they are not tied. Whole tensors are compared, so that all ranks agree.
 */
static int fill_embeddings(osv_checkpoint *c, osv_model *m, osv_error *e)
{
    const osv_shard *s = &m->shard;
    slice want = matrix_rows(m->config.V, s->vocab0, s->V, m->config.D);
    osv_stored *embed = find(c, "embed_tokens.weight"), *head = osv_store_find(&c->store, c->layout->head);
    if (m->config.tied && !embed) embed = head;
    if (m->config.tied && !head) head = embed;
    if (!embed)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %sembed_tokens.weight is missing", c->dir,
                        c->layout->prefix);
    if (!head)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s is missing, and \"tie_word_embeddings\" is not true",
                        c->dir, c->layout->head);
    OSV_TRY(take(c, &m->embed, embed, &want, e));
    if (m->config.tied && head != embed) m->config.tied = same_bytes(head->tensor, embed->tensor);
    head->used = true;
    if (!m->config.tied) return take(c, &m->head, head, &want, e);
    m->head = m->embed;
    return OSV_OK;
}

/* Tables of frequencies, which old files store although they follow from the config, and the other parts of a
 * multimodal model. */
static bool left_alone(const osv_checkpoint *c, const char *name)
{
    static const char table[] = "rotary_emb.inv_freq";
    size_t length = strlen(name), ending = sizeof table - 1;
    if (length >= ending && strcmp(name + length - ending, table) == 0) return true;
    for (int i = 0; i < 2; i++) {
        const char *beside = c->layout->beside[i];
        if (beside && strncmp(name, beside, strlen(beside)) == 0) return true;
    }
    return false;
}

/* Tensors that nothing asked for mean that the model is not what config.json says. */
static int check_unused(const osv_checkpoint *c, const osv_model *m, osv_error *e)
{
    for (int i = 0; i < c->store.count; i++) {
        const osv_stored *s = &c->store.stored[i];
        if (s->used || left_alone(c, s->tensor->name)) continue;
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: tensor %s has no place in the model of config.json (%s, %d blocks, attention_bias %s, "
            "mlp_bias %s)",
            s->path, s->tensor->name, m->config.family, m->config.N, m->config.qkv_bias ? "true" : "false",
            m->config.mlp_bias ? "true" : "false");
    }
    return OSV_OK;
}

static int fill_model(osv_checkpoint *c, osv_model *m, osv_error *e)
{
    c->layout = find_layout(c);
    c->cols = m->config.D;
    OSV_TRY(fill_embeddings(c, m, e));
    for (int l = 0; l < m->config.N; l++) {
        OSV_TRY(fill_attention(c, m, l, e));
        OSV_TRY(fill_ffn(c, m, l, e));
    }
    OSV_TRY(fetch(c, &m->final_norm, -1, "norm.weight", vector(m->config.D, 0, m->config.D), e));
    return check_unused(c, m, e);
}

static int keep_config(osv_checkpoint *c, osv_error *e)
{
    char *path;
    OSV_TRY(osv_path_join(&path, c->dir, "config.json", e));
    int status = osv_file_read(&c->config, &c->config_bytes, path, (size_t)1 << 24, e);
    free(path);
    return status;
}

/* A model of random weights. */
static int fill_random(osv_checkpoint *c, osv_model *m, osv_error *e)
{
    enum { SEED = 0 };
    size_t bytes;
    if (!room_to_keep(c)) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", c->dir);
    OSV_TRY(osv_random_fill(m, &c->copy[c->copies], &bytes, OSV_RANDOM_POOL, SEED, e));
    c->copies++;
    return osv_random_sha256(c->sha256, c->dir, SEED, e);
}

static int fill_from_files(osv_checkpoint *c, osv_model *m, osv_error *e)
{
    OSV_TRY(osv_store_open(&c->store, c->dir, e));
    OSV_TRY(fill_model(c, m, e));
    return keep_config(c, e);
}

int osv_checkpoint_open(osv_checkpoint **out, osv_model *model, const char *dir, int rank, int size,
                        osv_error *e)
{
    *out = NULL;
    *model = (osv_model){0};
    osv_config config;
    osv_shard shard;
    OSV_TRY(osv_config_read(&config, dir, e));
    OSV_TRY(osv_shard_make(&shard, &config, rank, size, e));
    osv_checkpoint *c = calloc(1, sizeof *c);
    if (!c || !(c->dir = strdup(dir))) {
        free(c);
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory to open it", dir);
    }
    int status = osv_model_alloc(model, &config, &shard, e);
    if (!status) status = osv_random_is(dir) ? fill_random(c, model, e) : fill_from_files(c, model, e);
    if (status) {
        osv_model_free(model);
        osv_checkpoint_close(c);
        return status;
    }
    *out = c;
    return OSV_OK;
}

void osv_checkpoint_close(osv_checkpoint *c)
{
    if (!c) return;
    osv_store_close(&c->store);
    for (int i = 0; i < c->copies; i++) free(c->copy[i]);
    free(c->copy);
    free(c->config);
    free(c->dir);
    free(c);
}

const char *osv_checkpoint_sha256(osv_checkpoint *c)
{
    osv_error e = {0};
    if (!c->sha256[0] && osv_store_sha256(&c->store, c->config, c->config_bytes, c->sha256, &e))
        c->sha256[0] = '\0';
    return c->sha256;
}
