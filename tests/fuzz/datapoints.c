#include "loader/datapoints.h"

#include "texts.h"

enum { V = 600, POSITIONS = 300 };

/* Another prompt, under which the completion may be run. */
static void check_ids(const osv_ids *ids, int completion)
{
    MUST(ids->count + completion <= POSITIONS);
    for (int i = 0; i < ids->count; i++) MUST(ids->data[i] >= 0 && ids->data[i] < V);
}

/* Any file is refused, or gives datapoints that the engine can take. */
static void check_dataset(const osv_dataset *d)
{
    MUST(d->count >= 1);
    for (int i = 0; i < d->count; i++) {
        const osv_datapoint *p = &d->point[i];
        MUST(p->completions >= 1 && p->line >= 1 && !strchr(p->job, '/') && p->job[0]);
        for (int k = 0; k < p->completions; k++) {
            const osv_completion *c = &p->completion[k];
            MUST(c->scored == c->prompt || (c->scored == 1 && c->kind == OSV_COMPLETION_ANCHOR));
            MUST(c->prompt >= 1 && c->prompt < c->count && c->count <= POSITIONS);
            for (int t = 0; t < c->count; t++) {
                MUST(c->ids[t] >= 0 && c->ids[t] < V);
                MUST(c->steer[t] == 0 || c->steer[t] == (p->negative ? -1 : 1));
            }
            for (int t = 0; t < c->count && c->opposite; t++) MUST(c->opposite[t] == -c->steer[t]);
            check_ids(&c->under, c->count - c->prompt);
            if (!c->beam) continue;
            check_ids(&c->beam->prompt, c->count - c->prompt);
            check_ids(&c->beam->minus, c->count - c->prompt);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *path = as_file(data, bytes);
    for (int k = 0; k < 3; k++) { /* three boundaries, three stages */
        const osv_dataset_options options = {.tokenizer = a_tokenizer(),
                                             .chat = a_chat(),
                                             .V = V,
                                             .positions = POSITIONS,
                                             .default_positions = "all",
                                             .beam_tokens = 3,
                                             .match_tokens = 3,
                                             .boundary = (osv_boundary)k,
                                             .stage = (osv_stage)k};
        osv_dataset *d;
        osv_error e = {0};
        int status = osv_dataset_read(&d, path, &options, &e);
        check_error(status, &e);
        if (!status) check_dataset(d);
        osv_dataset_free(d);
    }
    return 0;
}
