/* Models of random weights: shapes as published, weights where they belong. */
#include "loader/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint.h"
#include "loader/tokenizer.h"

static double numbers(const osv_weight *w)
{
    return (double)w->rows * w->cols;
}

/* Of the whole model: a tied head counts once. */
static double parameters(const osv_config *c)
{
    double D = c->D, q = (double)c->H * c->E, kv = (double)c->K * c->E;
    double block = 2 * D * q + 2 * D * kv + 3 * D * c->F +
                   ((c->pre_norms ? 2 : 0) + (c->post_norms ? 2 : 0)) * D;
    if (c->qkv_bias) block += q + 2 * kv;
    if (c->qk_norm == OSV_QK_NORM_HEAD) block += 2 * c->E;
    if (c->qk_norm == OSV_QK_NORM_WIDTH) block += q + kv;
    return c->N * block + D + (c->tied ? 1 : 2) * D * c->V;
}

Test(random_model, parameters_are_those_published)
{
    static const struct {
        const char *dir;
        double count;
    } published[] = {
        {"random:llama-3.2-1b", 1235814400},     {"random:llama-3.2-3b", 3212749824},
        {"random:llama-3.1-8b", 8030261248},     {"random:llama-3.1-70b", 70553706496},
        {"random:llama-3.1-405b", 405853388800}, {"random:gemma-2-2b", 2614341888},
        {"random:gemma-2-9b", 9241705984},       {"random:gemma-2-27b", 27227128320},
        {"random:qwen2.5-0.5b", 494032768},      {"random:qwen2.5-7b", 7615616512},
        {"random:qwen3-0.6b", 596049920},        {"random:qwen3-8b", 8190735360},
        {"random:mistral-7b", 7241732096},       {"random:gemma-2b", 2506172416},
        {"random:gemma-3-1b", 999885952},        {"random:phi-3-mini", 3821079552},
        {"random:granite-3.1-8b", 8170848256},   {"random:olmo-2-7b", 7298617344},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        osv_config c;
        osv_error e = {0};
        cr_assert_eq(osv_config_read(&c, published[i].dir, &e), OSV_OK, "%s", e.text);
        cr_expect_eq(parameters(&c), published[i].count, "%s: %.0f", published[i].dir, parameters(&c));
    }
}

Test(random_model, every_shape_can_be_split)
{
    for (int i = 0; osv_random_shape(i); i++) {
        osv_config c;
        osv_shard s;
        osv_error e = {0};
        cr_assert_eq(osv_random_config(&c, osv_random_shape(i), &e), OSV_OK, "%s", e.text);
        cr_expect(c.H % c.K == 0 && c.rot == c.E && c.query_scale > 0 && c.positions >= 4096, "%s",
                  osv_random_shape(i));
        for (int size = 1; size <= (c.qk_norm == OSV_QK_NORM_WIDTH ? 1 : 4); size++)
            for (int rank = 0; rank < size; rank++)
                cr_expect_eq(osv_shard_make(&s, &c, rank, size, &e), OSV_OK, "%s: %s", osv_random_shape(i),
                             e.text);
    }
}

Test(random_model, unknown_shape_lists_all)
{
    osv_config c;
    osv_error e = {0};
    cr_assert_eq(osv_config_read(&c, "random:llama-9000b", &e), OSV_USAGE);
    cr_expect(strstr(e.text, "random:llama-9000b"), "%s", e.text);
    for (int i = 0; osv_random_shape(i); i++) cr_expect(strstr(e.text, osv_random_shape(i)), "%s", e.text);
}

Test(random_model, no_tokenizer)
{
    osv_tokenizer *t;
    osv_error e = {0};
    cr_assert_eq(osv_tokenizer_open(&t, "random:llama-60m", &e), OSV_BAD_INPUT);
    cr_expect_str_eq(e.text, "random:llama-60m: a random model has none");
}

Test(random_model, hash_names_shape_and_seed)
{
    char a[65], b[65], other_seed[65], other_shape[65];
    osv_error e = {0};
    cr_assert_eq(osv_random_sha256(a, "random:llama-60m", 0, &e), OSV_OK);
    cr_assert_eq(osv_random_sha256(b, "llama-60m", 0, &e), OSV_OK);
    cr_assert_eq(osv_random_sha256(other_seed, "llama-60m", 1, &e), OSV_OK);
    cr_assert_eq(osv_random_sha256(other_shape, "qwen2.5-0.5b", 0, &e), OSV_OK);
    cr_expect_str_eq(a, b);
    cr_expect_str_neq(a, other_seed);
    cr_expect_str_neq(a, other_shape);
}

/* ---- weights ---- */

typedef struct {
    osv_model m;
    char *memory;
    size_t bytes;
} made;

static made make(const char *shape, int rank, int size, size_t most, unsigned long long seed, int threads)
{
    made x = {0};
    osv_config c;
    osv_shard s;
    osv_error e = {0};
    void *memory;
    omp_set_num_threads(threads);
    cr_assert_eq(osv_random_config(&c, shape, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_shard_make(&s, &c, rank, size, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_model_alloc(&x.m, &c, &s, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_random_fill(&x.m, &memory, &x.bytes, most, seed, &e), OSV_OK, "%s", e.text);
    x.memory = memory;
    return x;
}

static void drop(made *x)
{
    osv_model_free(&x->m);
    free(x->memory);
}

static const size_t most_all = OSV_RANDOM_POOL, few = 1;

Test(random_model, same_bytes_for_any_number_of_threads)
{
    made one = make("llama-60m", 0, 1, most_all, 0, 1), three = make("llama-60m", 0, 1, most_all, 0, 3);
    made other = make("llama-60m", 0, 1, most_all, 1, 2);
    cr_assert_eq(one.bytes, three.bytes);
    cr_expect_eq(memcmp(one.memory, three.memory, one.bytes), 0);
    cr_expect_neq(memcmp(one.memory, other.memory, one.bytes), 0);
    drop(&one), drop(&three), drop(&other);
}

/* Each weight of a block that may be there, in a list. */
enum { WEIGHTS = 20 };

static void list(const osv_block *b, const osv_weight *w[WEIGHTS])
{
    const osv_weight *all[WEIGHTS] = {&b->attention_norm, &b->q,       &b->k,         &b->v,
                                      &b->q_bias,         &b->k_bias,  &b->v_bias,    &b->q_norm,
                                      &b->k_norm,         &b->out,     &b->out_bias,  &b->attention_post_norm,
                                      &b->ffn_norm,       &b->gate,    &b->up,        &b->down,
                                      &b->gate_bias,      &b->up_bias, &b->down_bias, &b->ffn_post_norm};
    memcpy(w, all, sizeof all);
}

static void check_place(const made *x, const osv_weight *w)
{
    const char *from = w->data;
    cr_assert(from >= x->memory && from + (size_t)numbers(w) * 2 <= x->memory + x->bytes);
    cr_assert_eq((size_t)(from - x->memory) % 256, 0);
    cr_assert_eq(w->format, OSV_BF16);
}

static void check_places(const made *x)
{
    check_place(x, &x->m.embed);
    check_place(x, &x->m.head);
    check_place(x, &x->m.final_norm);
    for (int l = 0; l < x->m.config.N; l++) {
        const osv_weight *w[WEIGHTS];
        list(&x->m.block[l], w);
        int there = 0;
        for (int i = 0; i < WEIGHTS; i++)
            if (w[i]->data) check_place(x, w[i]), there++;
        const osv_config *c = &x->m.config;
        cr_assert_eq(there, 7 + (c->pre_norms ? 2 : 0) + (c->qkv_bias ? 3 : 0) + (c->post_norms ? 2 : 0) +
                                (c->qk_norm ? 2 : 0));
    }
}

Test(random_model, every_weight_lies_in_the_pool)
{
    static const char *const shapes[] = {"llama-60m", "qwen2.5-0.5b", "gemma2-0.4b", "qwen3-0.6b",
                                         "gemma-3-1b"};
    for (int i = 0; i < 5; i++) {
        int size = 1 + i % 2;
        made x = make(shapes[i], size - 1, size, few, 0, 2);
        check_places(&x);
        cr_expect_eq(x.m.head.data == x.m.embed.data, x.m.config.tied);
        drop(&x);
    }
}

/* With a pool of the largest matrix, laps do not repeat each other. */
Test(random_model, the_pool_wraps_round)
{
    made x = make("llama-60m", 0, 1, few, 0, 2);
    const osv_block *b = x.m.block;
    cr_expect_lt(x.bytes, (size_t)101 << 20);
    cr_expect_neq(x.m.embed.data, x.m.head.data);
    for (int l = 1; l < x.m.config.N; l++) {
        cr_expect_neq(b[l].q.data, b[l - 1].q.data);
        cr_expect_neq(b[l].gate.data, b[l - 1].gate.data);
    }
    drop(&x);
}

Test(random_model, numbers_are_as_transformers_initializes)
{
    made x = make("gemma2-0.4b", 0, 1, few, 0, 2);
    double sum = 0, squares = 0, n = numbers(&x.m.embed);
    for (size_t i = 0; i < (size_t)n; i++) {
        double z = osv_float_from_bf16(((const unsigned short *)x.m.embed.data)[i]);
        sum += z;
        squares += z * z;
    }
    cr_expect(fabs(sum / n) < 1e-5, "mean %g", sum / n);
    cr_expect(fabs(sqrt(squares / n) / 0.02 - 1) < 1e-3, "deviation %g", sqrt(squares / n));
    for (int i = 0; i < x.m.config.D; i++) cr_assert_eq(osv_weight_get(&x.m.final_norm, 0, (size_t)i), 0);
    drop(&x);
    x = make("qwen2.5-0.5b", 0, 1, few, 0, 2);
    for (int i = 0; i < x.m.config.D; i++) {
        cr_assert_eq(osv_weight_get(&x.m.block[3].ffn_norm, 0, (size_t)i), 1);
        cr_assert_eq(osv_weight_get(&x.m.block[3].q_bias, 0, (size_t)i), 0);
    }
    drop(&x);
}

/* What a rank has is a slice of what one rank alone has. */
Test(random_model, ranks_share_one_model)
{
    made all = make("llama-60m", 0, 1, few, 0, 2);
    for (int rank = 0; rank < 3; rank++) {
        made x = make("llama-60m", rank, 3, few, 0, 2);
        const osv_shard *s = &x.m.shard;
        const osv_block *a = &all.m.block[5], *b = &x.m.block[5];
        for (size_t r = 0; r < 7; r++)
            for (size_t c = 0; c < 7; c++) {
                size_t E = (size_t)x.m.config.E, head = (size_t)s->head0 * E, ffn = (size_t)s->ffn0;
                cr_assert_eq(osv_weight_get(&b->q, r, c), osv_weight_get(&a->q, head + r, c));
                cr_assert_eq(osv_weight_get(&b->v, r, c), osv_weight_get(&a->v, (size_t)s->kv0 * E + r, c));
                cr_assert_eq(osv_weight_get(&b->out, r, c), osv_weight_get(&a->out, r, head + c));
                cr_assert_eq(osv_weight_get(&b->down, r, c), osv_weight_get(&a->down, r, ffn + c));
                cr_assert_eq(osv_weight_get(&x.m.head, r, c),
                             osv_weight_get(&all.m.head, (size_t)s->vocab0 + r, c));
            }
        cr_assert_eq(b->down.cols, s->F);
        check_places(&x);
        drop(&x);
    }
    drop(&all);
}

Test(random_model, opens_as_a_checkpoint)
{
    osv_checkpoint *c;
    osv_model m;
    char hex[65];
    osv_error e = {0};
    cr_assert_eq(osv_checkpoint_open(&c, &m, "random:llama-60m", 0, 1, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_random_sha256(hex, "random:llama-60m", 0, &e), OSV_OK);
    cr_expect_str_eq(osv_checkpoint_sha256(c), hex);
    cr_expect_eq(m.block[7].down.cols, 1408);
    osv_model_free(&m);
    osv_checkpoint_close(c);
    cr_expect_eq(osv_checkpoint_open(&c, &m, "random:none", 0, 1, &e), OSV_USAGE);
}
