#include "engine/shard.h"

#include "engine/model.h"
#include "files.h"

/* H, K, F, V of some model and a number of ranks: every invariant of a split is checked. */
static const struct {
    int H, K, F, V, size;
} splits[] = {
    {4, 2, 100, 317, 1},       {4, 2, 100, 317, 2},      {4, 2, 100, 317, 3},        {4, 2, 100, 317, 4},
    {8, 1, 96, 200, 3},        {8, 8, 96, 200, 5},       {6, 3, 7, 11, 4}, /* group 2 across 4 ranks: a kv
                                                                              head on two of them */
    {32, 8, 14336, 128256, 3}, {24, 8, 8192, 128256, 7}, {64, 8, 28672, 128256, 64}, {7, 7, 7, 7, 7},
};

Test(shard, splits_cover_everything_once)
{
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        osv_config c = {.H = splits[i].H, .K = splits[i].K, .F = splits[i].F, .V = splits[i].V};
        int size = splits[i].size, group = c.H / c.K;
        int heads = 0, ffn = 0, vocab = 0, kv_end = 0;
        for (int rank = 0; rank < size; rank++) {
            osv_error e = {0};
            osv_shard s;
            cr_assert_eq(osv_shard_make(&s, &c, rank, size, &e), OSV_OK, "%s", e.text);
            cr_expect(s.rank == rank && s.size == size);
            /* Consecutive, without gap or overlap, nobody empty. */
            cr_expect(s.head0 == heads && s.ffn0 == ffn && s.vocab0 == vocab, "case %zu rank %d", i, rank);
            cr_expect(s.H >= 1 && s.F >= 1 && s.V >= 1, "case %zu rank %d", i, rank);
            heads += s.H, ffn += s.F, vocab += s.V;
            /* As even as they go. */
            cr_expect(abs(s.H * size - c.H) < size, "case %zu rank %d: %d heads", i, rank, s.H);
            cr_expect(abs(s.F * size - c.F) < 8 * size, "case %zu rank %d: %d ffn", i, rank, s.F);
            cr_expect(abs(s.V * size - c.V) < 8 * size, "case %zu rank %d: %d vocabulary", i, rank, s.V);
            /* Exactly the kv heads that its query heads read. */
            cr_expect_eq(s.kv0, s.head0 / group);
            cr_expect_eq(s.kv0 + s.K - 1, (s.head0 + s.H - 1) / group);
            cr_expect(s.kv0 <= kv_end, "case %zu rank %d: kv head %d on nobody", i, rank, kv_end);
            /* A kv head that two ranks have is one rank's to count. */
            cr_expect_eq(s.kv0 + s.kv_twice, kv_end, "case %zu rank %d: %d twice", i, rank, s.kv_twice);
            kv_end = s.kv0 + s.K;
            for (int h = 0; h < s.H; h++) { /* the rule of osv_heads in kernels/ops.h */
                int local = (s.head0 + h) / group - s.head0 / group;
                cr_expect(local >= 0 && local < s.K && s.kv0 + local == (s.head0 + h) / group);
            }
        }
        cr_expect(heads == c.H && ffn == c.F && vocab == c.V && kv_end == c.K, "case %zu", i);
    }
}

Test(shard, aligned_where_possible)
{
    osv_config c = {.H = 32, .K = 8, .F = 14336, .V = 128256};
    for (int rank = 0; rank < 3; rank++) {
        osv_error e = {0};
        osv_shard s;
        cr_assert_eq(osv_shard_make(&s, &c, rank, 3, &e), OSV_OK);
        cr_expect(s.ffn0 % 8 == 0 && s.F % 8 == 0 && s.vocab0 % 8 == 0 && s.V % 8 == 0);
    }
}

/* To add a case: name, rank, size, status, what the message must say. */
static const struct {
    const char *name;
    int rank, size, status;
    const char *piece;
} bad[] = {
    {"more ranks than heads", 0, 5, OSV_USAGE, "5 ranks cannot share 4 query heads"},
    {"no ranks", 0, 0, OSV_USAGE, "rank 0 of 0"},
    {"negative rank", -1, 2, OSV_USAGE, "rank -1 of 2"},
    {"rank beyond size", 2, 2, OSV_USAGE, "rank 2 of 2"},
    {"fewer ffn columns", 0, 4, OSV_USAGE, "3 ffn columns"},
};

Test(shard, refusals)
{
    osv_config c = {.H = 4, .K = 2, .F = 3, .V = 100};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        osv_error e = {0};
        osv_shard s;
        int status = osv_shard_make(&s, &c, bad[i].rank, bad[i].size, &e);
        check_failure(bad[i].name, status, &e, bad[i].status, bad[i].piece);
    }
}

/* A filling that only counts what is placed, and moves it. */
static int placed;
static const float moved[4];

static void count_place(osv_ops *o, osv_weight *w)
{
    (void)o;
    cr_expect_not_null(w->data);
    placed++;
    w->data = moved;
}

Test(shard, model_places_a_tied_head_once)
{
    static const float memory[4];
    osv_error e = {0};
    osv_ops o = {.error = &e, .place = count_place};
    osv_config c = {.N = 2};
    osv_shard s = {.size = 1};
    for (int tied = 0; tied < 2; tied++) {
        osv_model m;
        cr_assert_eq(osv_model_alloc(&m, &c, &s, &e), OSV_OK);
        m.embed.data = memory;
        m.head.data = tied ? memory : memory + 1;
        m.final_norm.data = memory + 2;
        for (int l = 0; l < 2; l++) m.block[l].q.data = m.block[l].down.data = memory + 3;
        placed = 0;
        cr_assert_eq(osv_model_place(&m, &o), OSV_OK);
        cr_expect_eq(placed, tied ? 6 : 7);
        cr_expect(m.head.data == moved && m.embed.data == moved && m.block[1].down.data == moved);
        cr_expect_null(m.block[0].k.data);
        osv_model_free(&m);
    }
}
