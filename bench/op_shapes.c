#include "bench/op_shapes.h"

#include <stdarg.h>
#include <stdio.h>

enum { JOB_ROWS = 64, FROZEN = 192, MOST_HEAD_ROWS = 256, MOST_JOBS = 64, EMBEDDINGS = 4096, SAMPLED = 40 };

typedef struct {
    const op_visitor *v;
    const osv_config *c;
    const osv_shard *s;
    int rows, head_rows, jobs;
} maker;

static void call(const maker *m, const op_kind *kind, const void *shape, int rows, const char *format, ...)
{
    char text[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    m->v->call(m->v->context, kind, shape, text, rows);
}

/* ---- block ---- */

static void product(const maker *m, const char *name, matmul_shape s)
{
    int total = 0;
    for (int i = 0; i < s.n; i++) total += s.outputs[i];
    s.format = OSV_BF16;
    call(m, &op_matmul, &s, s.rows, "%s %dx%d", name, total, s.cols);
    call(m, &op_matmul_dx, &s, s.rows, "%s %dx%d", name, total, s.cols);
}

static void products(const maker *m)
{
    const osv_config *c = m->c;
    const osv_shard *s = m->s;
    int rows = m->rows, q = s->H * c->E, kv = s->K * c->E;
    product(m, "qkv", (matmul_shape){.rows = rows, .cols = c->D, .n = 3, .outputs = {q, kv, kv}});
    product(m, "out", (matmul_shape){.rows = rows, .cols = q, .n = 1, .outputs = {c->D}});
    product(m, "gate+up", (matmul_shape){.rows = rows, .cols = c->D, .n = 2, .outputs = {s->F, s->F}});
    product(m, "down", (matmul_shape){.rows = rows, .cols = s->F, .n = 1, .outputs = {c->D}});
    product(m, "head", (matmul_shape){.rows = m->head_rows, .cols = c->D, .n = 1, .outputs = {s->V}});
}

static void attention(const maker *m, const op_forest_shape *forest, int rows)
{
    const osv_config *c = m->c;
    const osv_shard *s = m->s;
    attention_shape a = {
        .forest = forest,
        .heads = {.H = s->H, .K = s->K, .E = c->E, .first = s->head0, .group = c->H / c->K},
        .window = c->window[0],
        .softcap = c->attention_softcap,
        .own = true,
    };
    call(m, &op_attention, &a, rows, "%s H%d K%d E%d", forest->name, s->H, s->K, c->E);
    call(m, &op_attention_dx, &a, rows, "%s H%d K%d E%d", forest->name, s->H, s->K, c->E);
}

/* Jobs, or completions, behind one prompt. */
static void short_attention(const maker *m)
{
    char name[64];
    int segments = (m->rows + JOB_ROWS - 1) / JOB_ROWS;
    if (segments > OP_MAX_SEGMENTS - 1) segments = OP_MAX_SEGMENTS - 1;
    op_forest_shape forest = {.name = name, .segment = {{-1, FROZEN, true}}};
    int rows = m->rows / segments * segments;
    for (int i = 1; i <= segments; i++) forest.segment[i] = (op_segment){0, rows / segments, false};
    snprintf(name, sizeof name, "%d x %d after %d", segments, rows / segments, FROZEN);
    attention(m, &forest, rows);
}

static void block(const maker *m)
{
    const osv_config *c = m->c;
    const osv_shard *s = m->s;
    int rows = m->rows, D = c->D, q = s->H * c->E;
    norm_shape norm = {.rows = rows, .D = D, .offset = c->norm_offset, .scale = 1, .format = OSV_BF16};
    call(m, &op_embed,
         &(embed_shape){.rows = rows, .V = EMBEDDINGS, .D = D, .scale = c->embed_scale, .format = OSV_BF16},
         rows, "D%d", D);
    call(m, &op_rmsnorm, &norm, rows, "D%d", D);
    call(m, &op_rmsnorm_dx, &norm, rows, "D%d", D);
    if (c->qk_norm == OSV_QK_NORM_WIDTH) {
        split_norm_shape split = {.rows = rows, .D = q, .width = c->H * c->E, .scale = 1, .format = OSV_BF16};
        call(m, &op_rmsnorm_split, &split, rows, "q %d", q);
        call(m, &op_rmsnorm_split_dx, &split, rows, "q %d", q);
    }
    call(m, &op_residual_add, &(residual_shape){.rows = rows, .D = D}, rows, "D%d", D);
    call(m, &op_bias, &(matmul_shape){.rows = rows, .cols = q, .format = OSV_BF16}, rows, "q %d", q);
    call(m, &op_rope, &(rope_shape){rows, s->H, c->E, c->rot, 1}, rows, "q H%d E%d", s->H, c->E);
    call(m, &op_rope, &(rope_shape){rows, s->K, c->E, c->rot, 1}, rows, "k H%d E%d", s->K, c->E);
    glu_shape glu = {.n = (size_t)rows * (size_t)s->F, .act = c->activation};
    call(m, &op_glu, &glu, rows, "F%d", s->F);
    call(m, &op_glu_dx, &glu, rows, "F%d", s->F);
}

/* ---- head ---- */

static void head(const maker *m)
{
    int R = m->head_rows, V = m->s->V;
    score_shape score = {.R = R, .V = V, .per_row = 1, .eps = 1e-6, .softcap = m->c->final_softcap};
    sample_shape sample = {.R = R, .V = V, .top_p = 1, .spread = 10};
    if (score.softcap > 0) call(m, &op_softcap, &score, R, "V%d", V);
    call(m, &op_score_max, &score, R, "V%d", V);
    call(m, &op_score_sum, &score, R, "V%d", V);
    call(m, &op_score, &score, R, "V%d", V);
    call(m, &op_score_dx, &score, R, "V%d", V);
    distance_shape distance = {.M = R, .D = m->c->D, .apart = 1, .power = {1, 1, 1}};
    call(m, &op_distance, &distance, R, "D%d", distance.D);
    call(m, &op_distance_dx, &distance, R, "D%d", distance.D);
    call(m, &op_objective, &(objective_shape){.C = m->jobs, .S = R}, R, "C%d", m->jobs);
    call(m, &op_sample, &sample, R, "greedy V%d", V);
    sample.temperature = 0.8;
    call(m, &op_sample, &sample, R, "all V%d", V);
    sample.top_p = 0.95;
    sample.top_k = SAMPLED;
    call(m, &op_sample, &sample, R, "top %d p 0.95 V%d", SAMPLED, V);
}

/* ---- vector ---- */

static void vector(const maker *m)
{
    int D = m->c->D, J = m->jobs, R = m->head_rows;
    site_shape site = {.jobs = J, .per_job = (m->rows - 1) / J, .J = J, .D = D};
    if (site.per_job < 1) return;
    static const struct {
        osv_form form;
        const char *text;
    } form[] = {{{.kind = OSV_FORM_ADD}, "add J%d D%d"},
                {{.kind = OSV_FORM_CLAMP, .clamp = 1}, "clamp J%d D%d"},
                {{.kind = OSV_FORM_AFFINE, .rank = 1}, "affine 1 J%d D%d"}};
    site.T = J * site.per_job + 1;
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        site.form = form[i].form;
        call(m, &op_apply, &site, site.T, form[i].text, J, D);
        call(m, &op_apply_dp, &site, site.T, form[i].text, J, D);
    }
    call(m, &op_adam, &(adam_shape){.D = D, .J = J, .step = 7, .max_norm = 10}, J, "J%d D%d", J, D);
    call(m, &op_norm, &(adam_shape){.D = D, .J = J}, J, "J%d D%d", J, D);
    call(m, &op_gather_rows, &(rows_shape){R, D, R}, R, "D%d", D);
    call(m, &op_scatter_rows, &(rows_shape){R, D, R}, R, "D%d", D);
}

void op_shapes_rows(const op_visitor *v, const osv_config *c, const osv_shard *s, int rows)
{
    maker m = {.v = v, .c = c, .s = s, .rows = rows, .head_rows = rows / 4, .jobs = rows / JOB_ROWS};
    if (m.head_rows < 1) m.head_rows = 1;
    if (m.head_rows > MOST_HEAD_ROWS) m.head_rows = MOST_HEAD_ROWS;
    if (m.jobs < 1) m.jobs = 1;
    if (m.jobs > MOST_JOBS) m.jobs = MOST_JOBS;
    products(&m);
    short_attention(&m);
    block(&m);
    head(&m);
    vector(&m);
}

void op_shapes_long(const op_visitor *v, const osv_config *c, const osv_shard *s, int tokens)
{
    char name[32];
    maker m = {.v = v, .c = c, .s = s, .rows = tokens};
    op_forest_shape forest = {.name = name, .segment = {{-1, tokens, false}}};
    snprintf(name, sizeof name, "1 x %d", tokens);
    attention(&m, &forest, tokens);
}
