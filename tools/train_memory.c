#include "tools/train_memory.h"

#include <string.h>

#include "kernels/host.h"
#include "tools/text.h"

/* Of what is free a tenth stays free: others live on the machine too, and allocators round up. */
static const double USED_OF_FREE = 0.9;

typedef struct {
    const osv_footprint *footprint;
    size_t bytes;
} sum;

static void add(void *context, osv_weight *w)
{
    sum *s = context;
    s->bytes += osv_footprint_weight(s->footprint, w);
}

static int split(train_memory *m, size_t limit, const osv_footprint *f, osv_model *model, osv_error *e)
{
    sum weights = {.footprint = f};
    osv_model_each(model, add, &weights);
    *m = (train_memory){.limit = limit, .weights = weights.bytes, .fixed = f->fixed, .runtime = f->runtime};
    size_t taken = m->weights + m->fixed + m->runtime;
    char all[24], of_weights[24], rest[24];
    if (taken >= limit)
        return OSV_FAIL(
            e, OSV_DEVICE,
            "%s of memory are too little: the weights take %s, the backend %s itself %s; give more "
            "(--memory) or use %s",
            osv_show_bytes(all, sizeof all, limit), osv_show_bytes(of_weights, sizeof of_weights, m->weights),
            f->backend, osv_show_bytes(rest, sizeof rest, m->fixed + m->runtime),
            f->dtype == OSV_DTYPE_F32 ? "--dtype bf16" : "a smaller model");
    m->bin = limit - taken;
    return OSV_OK;
}

int train_memory_find(train_memory *m, size_t limit, const osv_footprint *f, osv_model *model, osv_ops *o)
{
    if (limit > 0) return split(m, limit, f, model, o->error);
    bool device = strcmp(f->backend, "cuda") == 0;
    size_t available = o->available(o);
    *m = (train_memory){0};
    OSV_TRY(osv_ops_status(o));
    /* On a device weights, scratch and runtime are there already; in host memory weights are still pages of a
     * file, which count as free. */
    sum weights = {.footprint = f};
    osv_model_each(model, add, &weights);
    size_t taken = weights.bytes + f->fixed + f->runtime, all = available + (device ? taken : 0);
    return split(m, taken + (size_t)(USED_OF_FREE * (double)(all > taken ? all - taken : 0)), f, model,
                 o->error);
}

int train_memory_plan(train_memory *m, size_t limit, const osv_footprint *f, osv_model *shapes, osv_error *e)
{
    bool device = strcmp(f->backend, "cuda") == 0;
    size_t all = device ? TRAIN_MEMORY_CARD : osv_host_available();
    osv_error too_little = {0};
    if (limit > 0) return split(m, limit, f, shapes, e);
    if (split(m, (size_t)(USED_OF_FREE * (double)all), f, shapes, &too_little)) m->bin = 0;
    return OSV_OK;
}

osv_format train_memory_format(const osv_footprint *f, const osv_config *c)
{
    if (f->dtype == OSV_DTYPE_BF16) return OSV_BF16;
    return strcmp(f->backend, "cuda") == 0 ? OSV_F32 : c->format;
}

json_t *train_memory_json(const train_memory *m)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "limit_bytes", (json_int_t)m->limit, "weights_bytes",
                     (json_int_t)m->weights, "fixed_bytes", (json_int_t)(m->fixed + m->runtime), "bin_bytes",
                     (json_int_t)m->bin);
}
