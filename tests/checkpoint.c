#include "loader/checkpoint.h"

#include <stdint.h>

#include "files.h"
#include "loader/store.h"

/* A Llama with sizes that all differ, H E != D, and heads that 3 ranks cannot share evenly. */
enum { N = 2, D = 8, F = 20, H = 4, K = 2, E = 6, V = 11, TENSORS = 3 + 9 * N, ROOM = 200 };

#define CONFIG(more)                                                                                       \
    "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 20, \"num_hidden_layers\": 2," \
    " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 6, \"vocab_size\": 11" more "}"
static const char PLAIN[] = CONFIG(""), TIED[] = CONFIG(", \"tie_word_embeddings\": true"),
                  BIASED[] = CONFIG(", \"attention_bias\": true"), DEEPER[] = CONFIG(", \"mlp_bias\": true");

typedef struct {
    char name[80];
    osv_tensor_out out;
    float data[ROOM];
} stored;

/* The model's tensors, F32, element i of tensor t being 1000 t + i: every slice can be told from any other.
 */
static stored model[TENSORS + 4];
static int tensors;

static stored *put(const char *name, int rows, int cols)
{
    stored *s = &model[tensors];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->out = (osv_tensor_out){s->name, "F32", rows ? 2 : 1, {rows ? rows : cols, cols}, s->data};
    cr_assert((rows ? rows : 1) * cols <= ROOM);
    for (int i = 0; i < ROOM; i++) s->data[i] = (float)(1000 * tensors + i);
    tensors++;
    return s;
}

static void make_tensors(void)
{
    static const struct {
        const char *name;
        int rows, cols;
    } block[] = {
        {"input_layernorm", 0, D},      {"post_attention_layernorm", 0, D},
        {"self_attn.q_proj", H * E, D}, {"self_attn.k_proj", K * E, D},
        {"self_attn.v_proj", K * E, D}, {"self_attn.o_proj", D, H * E},
        {"mlp.gate_proj", F, D},        {"mlp.up_proj", F, D},
        {"mlp.down_proj", D, F},
    };
    tensors = 0;
    put("model.embed_tokens.weight", V, D);
    put("model.norm.weight", 0, D);
    put("lm_head.weight", V, D);
    for (int l = 0; l < N; l++)
        for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, block[i].name);
            put(name, block[i].rows, block[i].cols);
        }
}

static stored *get(const char *name)
{
    for (int i = 0; i < tensors; i++)
        if (strcmp(model[i].name, name) == 0) return &model[i];
    cr_assert(false, "the test's model has no %s", name);
    return NULL;
}

static void drop(const char *name)
{
    stored *s = get(name);
    *s = model[--tensors];
    s->out.name = s->name;
    s->out.data = s->data;
}

/* Writes tensors [first, end) of the model as a file of the folder. */
static void write_file(const char *name, int first, int end)
{
    osv_tensor_out out[TENSORS + 4];
    for (int i = first; i < end; i++) {
        out[i - first] = model[i].out;
        out[i - first].name = model[i].name;
        out[i - first].data = model[i].data;
    }
    osv_error e = {0};
    cr_assert_eq(osv_safetensors_write(temp_path(name), out, end - first, NULL, 0, &e), OSV_OK, "%s", e.text);
}

static void write_model(const char *config)
{
    temp_text("config.json", config);
    write_file("model.safetensors", 0, tensors);
}

/* ---- right answers ---- */

static void check_weight(const char *what, const osv_weight *w, const char *name, int row0, int rows,
                         int col0, int cols)
{
    const stored *s = get(name);
    int whole = (int)(s->out.rank == 2 ? s->out.shape[1] : s->out.shape[0]);
    cr_assert(w->rows == rows && w->cols == cols && w->format == OSV_F32, "%s: %s is [%d, %d]", what, name,
              w->rows, w->cols);
    cr_assert((uintptr_t)w->data % 4 == 0, "%s: %s is not aligned", what, name);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            cr_assert(osv_weight_get(w, (size_t)r, (size_t)c) ==
                          (double)s->data[(row0 + r) * whole + col0 + c],
                      "%s: %s [%d, %d]", what, name, r, c);
}

static void check_model(const char *what, const osv_model *m)
{
    const osv_shard *s = &m->shard;
    check_weight(what, &m->embed, "model.embed_tokens.weight", s->vocab0, s->V, 0, D);
    check_weight(what, &m->final_norm, "model.norm.weight", 0, 1, 0, D);
    if (!m->config.tied) check_weight(what, &m->head, "lm_head.weight", s->vocab0, s->V, 0, D);
    for (int l = 0; l < N; l++) {
        const osv_block *b = &m->block[l];
        char name[80];
#define IN_BLOCK(part) (snprintf(name, sizeof name, "model.layers.%d." part ".weight", l), name)
        check_weight(what, &b->attention_norm, IN_BLOCK("input_layernorm"), 0, 1, 0, D);
        check_weight(what, &b->ffn_norm, IN_BLOCK("post_attention_layernorm"), 0, 1, 0, D);
        check_weight(what, &b->q, IN_BLOCK("self_attn.q_proj"), s->head0 * E, s->H * E, 0, D);
        check_weight(what, &b->k, IN_BLOCK("self_attn.k_proj"), s->kv0 * E, s->K * E, 0, D);
        check_weight(what, &b->v, IN_BLOCK("self_attn.v_proj"), s->kv0 * E, s->K * E, 0, D);
        check_weight(what, &b->out, IN_BLOCK("self_attn.o_proj"), 0, D, s->head0 * E, s->H * E);
        check_weight(what, &b->gate, IN_BLOCK("mlp.gate_proj"), s->ffn0, s->F, 0, D);
        check_weight(what, &b->up, IN_BLOCK("mlp.up_proj"), s->ffn0, s->F, 0, D);
        check_weight(what, &b->down, IN_BLOCK("mlp.down_proj"), 0, D, s->ffn0, s->F);
        cr_assert_null(b->q_bias.data);
        cr_assert_null(b->attention_post_norm.data);
    }
}

static const char *folder = temp_dir;

/* Opens the folder, checks every weight, and returns the hash. */
static const char *open_and_check(const char *what, int rank, int size)
{
    static char hash[4][65];
    static int next;
    char *kept = hash[next++ % 4];
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    cr_assert_eq(osv_checkpoint_open(&c, &m, folder, rank, size, &e), OSV_OK, "%s: %s", what, e.text);
    check_model(what, &m);
    snprintf(kept, 65, "%s", osv_checkpoint_sha256(c));
    cr_assert_eq(strlen(kept), 64);
    osv_model_free(&m);
    osv_checkpoint_close(c);
    return kept;
}

Test(checkpoint, slices_of_every_rank, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_model(PLAIN);
    const char *whole = open_and_check("one rank", 0, 1);
    for (int size = 2; size <= H; size++)
        for (int rank = 0; rank < size; rank++) {
            char what[32];
            snprintf(what, sizeof what, "rank %d of %d", rank, size);
            cr_expect_str_eq(open_and_check(what, rank, size), whole, "the hash depends on the rank");
        }
}

Test(checkpoint, one_rank_copies_nothing, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_model(TIED);
    drop("lm_head.weight");
    write_model(TIED);
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    cr_assert_eq(osv_checkpoint_open(&c, &m, temp_dir, 0, 1, &e), OSV_OK, "%s", e.text);
    /* All weights lie in one mapping, a tied head where the embedding is. */
    uintptr_t first = (uintptr_t)m.embed.data, last = (uintptr_t)m.block[1].down.data;
    uintptr_t apart = first < last ? last - first : first - last;
    cr_expect(apart < 1 << 16);
    cr_expect_eq(m.head.data, m.embed.data);
    osv_model_free(&m);
    osv_checkpoint_close(c);
}

Test(checkpoint, without_prefix, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    for (int i = 0; i < tensors; i++)
        if (strncmp(model[i].name, "model.", 6) == 0) memmove(model[i].name, model[i].name + 6, 70);
    write_model(PLAIN);
    make_tensors(); /* what check_model compares with has the usual names */
    open_and_check("bare names", 0, 1);
}

Test(checkpoint, tables_of_frequencies_are_ignored, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    put("model.layers.0.self_attn.rotary_emb.inv_freq", 0, E / 2);
    put("model.rotary_emb.inv_freq", 0, E / 2)->out.dtype = "I32";
    write_model(PLAIN);
    open_and_check("inv_freq", 0, 1);
}

/* A header whose length is odd: no tensor is aligned. */
Test(checkpoint, unaligned_file, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_model(PLAIN);
    static unsigned char bytes[1 << 17];
    FILE *f = fopen(temp_path("model.safetensors"), "rb");
    size_t count = fread(bytes, 1, sizeof bytes - 1, f);
    fclose(f);
    unsigned header = bytes[0] | (unsigned)bytes[1] << 8;
    memmove(bytes + 8 + header + 1, bytes + 8 + header, count - 8 - header);
    bytes[8 + header] = ' ';
    header++;
    bytes[0] = (unsigned char)header, bytes[1] = (unsigned char)(header >> 8);
    temp_write("model.safetensors", bytes, count + 1);
    open_and_check("unaligned", 0, 1);
    open_and_check("unaligned", 1, 3);
}

Test(checkpoint, tied_heads, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;

    make_tensors(); /* both stored and different: not tied, whatever the config says */
    write_model(TIED);
    cr_assert_eq(osv_checkpoint_open(&c, &m, temp_dir, 0, 1, &e), OSV_OK, "%s", e.text);
    cr_expect(!m.config.tied);
    check_model("both, different", &m);
    osv_model_free(&m);
    osv_checkpoint_close(c);

    memcpy(get("lm_head.weight")->data, get("model.embed_tokens.weight")->data, sizeof model[0].data);
    write_model(TIED); /* both stored and equal */
    cr_assert_eq(osv_checkpoint_open(&c, &m, temp_dir, 0, 1, &e), OSV_OK, "%s", e.text);
    cr_expect(m.config.tied && m.head.data == m.embed.data);
    osv_model_free(&m);
    osv_checkpoint_close(c);

    drop("model.embed_tokens.weight"); /* only the head is stored */
    write_model(TIED);
    cr_assert_eq(osv_checkpoint_open(&c, &m, temp_dir, 1, 2, &e), OSV_OK, "%s", e.text);
    cr_expect(m.config.tied && m.head.data == m.embed.data);
    check_weight("only the head", &m.embed, "lm_head.weight", m.shard.vocab0, m.shard.V, 0, D);
    osv_model_free(&m);
    osv_checkpoint_close(c);
}

Test(checkpoint, biases, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    static const struct {
        const char *name;
        int cols;
    } bias[] = {{"self_attn.q_proj", H * E},
                {"self_attn.k_proj", K * E},
                {"self_attn.v_proj", K * E},
                {"self_attn.o_proj", D}};
    drop("model.layers.1.input_layernorm.weight"); /* make room: one block is enough here */
    for (int i = tensors - 1; i >= 0; i--)
        if (strstr(model[i].name, "layers.1.")) drop(model[i].name);
    for (int i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.0.%s.bias", bias[i].name);
        put(name, 0, bias[i].cols);
    }
    write_model(
        "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 20, \"num_hidden_layers\": 1,"
        " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 6, \"vocab_size\": 11,"
        " \"attention_bias\": true}");
    for (int rank = 0; rank < 3; rank++) {
        osv_error e = {0};
        osv_model m;
        osv_checkpoint *c;
        cr_assert_eq(osv_checkpoint_open(&c, &m, temp_dir, rank, 3, &e), OSV_OK, "%s", e.text);
        const osv_shard *s = &m.shard;
        const osv_block *b = m.block;
        check_weight("bias", &b->q_bias, "model.layers.0.self_attn.q_proj.bias", 0, 1, s->head0 * E,
                     s->H * E);
        check_weight("bias", &b->k_bias, "model.layers.0.self_attn.k_proj.bias", 0, 1, s->kv0 * E, s->K * E);
        check_weight("bias", &b->v_bias, "model.layers.0.self_attn.v_proj.bias", 0, 1, s->kv0 * E, s->K * E);
        check_weight("bias", &b->out_bias, "model.layers.0.self_attn.o_proj.bias", 0, 1, 0, D);
        osv_model_free(&m);
        osv_checkpoint_close(c);
    }
}

/* ---- broken tensors ---- */

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

Test(checkpoint, broken_tensors, .init = temp_open, .fini = temp_close)
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

Test(checkpoint, more_ranks_than_heads, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_model(PLAIN);
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    check_failure("ranks", osv_checkpoint_open(&c, &m, temp_dir, 0, 5, &e), &e, OSV_USAGE,
                  "cannot share 4 query heads");
}

/* ---- shards ---- */

/* Two shards, the first 7 tensors in a.safetensors, and their index. */
static void write_shards(void)
{
    static char index[1 << 13];
    int used = snprintf(index, sizeof index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (int i = 0; i < tensors; i++)
        used += snprintf(index + used, sizeof index - (size_t)used, "%s\"%s\": \"%s.safetensors\"",
                         i ? ", " : "", model[i].name, i < 7 ? "a" : "b");
    snprintf(index + used, sizeof index - (size_t)used, "}}");
    temp_text("config.json", PLAIN);
    write_file("a.safetensors", 0, 7);
    write_file("b.safetensors", 7, tensors);
    temp_text("model.safetensors.index.json", index);
}

Test(checkpoint, shards_equal_one_file, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_shards();
    const char *sharded = open_and_check("two shards", 0, 1);
    open_and_check("two shards", 2, 3);
    write_model(PLAIN);
    remove(temp_path("a.safetensors"));
    cr_expect_str_eq(open_and_check("one file", 0, 1), sharded, "the hash depends on the files");
}

/* The hub's cache: blobs by content, and snapshots of symbolic links to them. */
Test(checkpoint, snapshot_of_links, .init = temp_open, .fini = temp_close)
{
    make_tensors();
    write_shards();
    cr_assert_eq(mkdir(temp_path("blobs"), 0777) | mkdir(temp_path("snapshot"), 0777), 0);
    static const char *const name[] = {"config.json", "a.safetensors", "b.safetensors",
                                       "model.safetensors.index.json"};
    for (int i = 0; i < 4; i++) {
        char blob[64], target[64], link[64];
        snprintf(blob, sizeof blob, "blobs/%d", i);
        snprintf(target, sizeof target, "../blobs/%d", i);
        snprintf(link, sizeof link, "snapshot/%s", name[i]);
        cr_assert_eq(rename(temp_path(name[i]), temp_path(blob)) | symlink(target, temp_path(link)), 0);
    }
    folder = temp_path("snapshot");
    open_and_check("links", 0, 1);
}

/* ---- models of other makers ---- */

static void open_any(const char *dir, int rank, int size, bool tied)
{
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    cr_assert_eq(osv_checkpoint_open(&c, &m, dir, rank, size, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(m.config.tied, tied, "%s", dir);
    cr_expect_eq(m.head.data == m.embed.data, tied, "%s", dir);
    cr_expect(m.embed.rows == m.shard.V && m.embed.cols == m.config.D, "%s", dir);
    osv_model_free(&m);
    osv_checkpoint_close(c);
}

Test(checkpoint, golden_models)
{
    static const struct {
        const char *name;
        bool tied;
    } golden[] = {{"llama-tiny", false}, {"llama-bf16", true}, {"gemma2-tiny", true}, {"gemma2-f16", true}};
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        for (int size = 1; size <= 4; size++)
            for (int rank = 0; rank < size; rank++) {
                char dir[512];
                snprintf(dir, sizeof dir, "%s/models/%s", OSV_GOLDEN, golden[i].name);
                open_any(dir, rank, size, golden[i].tied);
            }
}

Test(checkpoint, formats_and_post_norms_of_a_golden_model)
{
    char dir[512];
    snprintf(dir, sizeof dir, "%s/models/gemma2-f16", OSV_GOLDEN);
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    osv_store s;
    cr_assert_eq(osv_checkpoint_open(&c, &m, dir, 0, 1, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_store_open(&s, dir, &e), OSV_OK, "%s", e.text);
    const osv_block *b = &m.block[1];
    const struct {
        const char *name;
        const osv_weight *w;
    } norms[] = {
        {"input_layernorm", &b->attention_norm},
        {"post_attention_layernorm", &b->attention_post_norm},
        {"pre_feedforward_layernorm", &b->ffn_norm},
        {"post_feedforward_layernorm", &b->ffn_post_norm},
    };
    for (int i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.1.%s.weight", norms[i].name);
        const osv_stored *stored = osv_store_find(&s, name);
        cr_assert_not_null(stored, "%s", name);
        cr_expect_eq(norms[i].w->format, OSV_F16);
        cr_expect_arr_eq(norms[i].w->data, stored->tensor->data, stored->tensor->bytes);
    }
    osv_store_close(&s);
    osv_model_free(&m);
    osv_checkpoint_close(c);
}

Test(checkpoint, foreign_models)
{
    const char *data = getenv("OSV_TEST_DATA");
    if (!data) cr_skip_test("OSV_TEST_DATA is not set: no foreign models to open");
    static const struct {
        const char *name;
        bool tied;
    } foreign[] = {
        {"tinystories-656k-hf", true}, /* its embedding is stored as lm_head.weight only */
        {"stories260K-hf-derived", true},
        {"tiny-random-mlxd/tiny_llama3", false},
    };
    char dir[512];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        for (int rank = 0; rank < 3; rank++) {
            snprintf(dir, sizeof dir, "%s/models/%s", data, foreign[i].name);
            open_any(dir, rank, 3, foreign[i].tied);
        }
    osv_error e = {0};
    snprintf(dir, sizeof dir, "%s/models/tiny-random-mlxd/tiny_qwen3_sharded_q4", data);
    osv_model m;
    osv_checkpoint *c;
    check_failure("qwen3", osv_checkpoint_open(&c, &m, dir, 0, 1, &e), &e, OSV_BAD_INPUT,
                  "\"model_type\" is \"qwen3\"");
}
