/* Checkpoints that are as they should be: every weight, of every rank. */
#include "loader/checkpoint.h"

#include <stdint.h>

#include "checkpoint_made.h"

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
