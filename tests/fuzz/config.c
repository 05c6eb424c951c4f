#include "fuzz.h"
#include "loader/checkpoint.h"

/* Any text is refused, or gives a config whose sizes fit together, whole and for each of a few ranks. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    osv_error e = {0};
    osv_config c;
    int status = osv_config_parse(&c, (const char *)data, bytes, "config.json", &e);
    check_error(status, &e);
    if (status) return 0;
    MUST(c.N >= 1 && c.N <= OSV_MAX_BLOCKS && c.D >= 1 && c.F >= 1 && c.V >= 1 && c.positions >= 1);
    MUST(c.H >= 1 && c.K >= 1 && c.H % c.K == 0 && c.E >= 2 && c.E % 2 == 0);
    MUST(c.rot >= 2 && c.rot % 2 == 0 && c.rot <= c.E && c.ropes >= 1 && c.ropes <= OSV_MAX_ROPES);
    MUST(c.norm_eps >= 0 && c.query_scale > 0 && c.embed_scale > 0);
    MUST(c.residual_scale > 0 && c.logit_scale > 0);
    for (int i = 0; i < c.ropes; i++) MUST(c.rope[i].theta > 0 && c.rope[i].scale > 0);
    MUST(c.attention_softcap >= 0 && c.final_softcap >= 0 && c.bos >= -1 && c.bos < c.V);
    for (int l = 0; l < c.N; l++) MUST(c.window[l] >= 0 && c.block_rope[l] >= 0 && c.block_rope[l] < c.ropes);
    for (int size = 1;
         size <= (c.qk_norm == OSV_QK_NORM_WIDTH ? 1 : 4) && size <= c.H && size <= c.F && size <= c.V;
         size++)
        for (int rank = 0; rank < size; rank++) {
            osv_shard s;
            MUST(osv_shard_make(&s, &c, rank, size, &e) == OSV_OK);
            MUST(s.H >= 1 && s.K >= 1 && s.F >= 1 && s.V >= 1 && s.head0 + s.H <= c.H && s.kv0 + s.K <= c.K);
        }
    return 0;
}
