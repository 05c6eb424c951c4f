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

/* Of the device's memory the teacher takes nothing. */
static bool on_device(const osv_footprint *f)
{
    return strcmp(f->backend, "cuda") == 0;
}

size_t train_memory_taken(const train_memory *m, const osv_footprint *f)
{
    return m->weights + m->fixed + m->runtime + (on_device(f) ? 0 : m->teacher);
}

/* What does not depend on the limit. */
static train_memory measure(const osv_footprint *f, osv_model *model, size_t teacher)
{
    sum weights = {.footprint = f};
    osv_model_each(model, add, &weights);
    return (train_memory){
        .weights = weights.bytes, .fixed = f->fixed, .runtime = f->runtime, .teacher = teacher};
}

static int split(train_memory *m, size_t limit, const osv_footprint *f, osv_error *e)
{
    size_t taken = train_memory_taken(m, f);
    char all[24], of_weights[24], of_teacher[24], rest[24];
    m->limit = limit;
    if (taken >= limit)
        return OSV_FAIL(
            e, OSV_DEVICE,
            "%s of memory are too little: the weights take %s, the backend %s itself %s%s%s; give more "
            "(--memory) or use %s",
            osv_show_bytes(all, sizeof all, limit), osv_show_bytes(of_weights, sizeof of_weights, m->weights),
            f->backend, osv_show_bytes(rest, sizeof rest, m->fixed + m->runtime),
            m->teacher && !on_device(f) ? ", what is matched " : "",
            m->teacher && !on_device(f) ? osv_show_bytes(of_teacher, sizeof of_teacher, m->teacher) : "",
            f->dtype == OSV_DTYPE_F32 ? "--dtype bf16" : "a smaller model");
    m->bin = limit - taken;
    return OSV_OK;
}

/* What is free, in all. */
static int free_memory(size_t *limit, const train_memory *m, const osv_footprint *f, osv_ops *o,
                       osv_comm *comm, int local)
{
    size_t available = o->available(o), taken = train_memory_taken(m, f);
    int neighbours = osv_comm_neighbours(comm);
    if (!on_device(f)) available /= (size_t)(local > neighbours ? local : neighbours);
    OSV_TRY(osv_ops_status(o));
    /* On a device weights, scratch and runtime are there already; in host memory weights are still pages of a
     * file, which count as free. */
    size_t all = available + (on_device(f) ? taken : 0);
    *limit = taken + (size_t)(USED_OF_FREE * (double)(all > taken ? all - taken : 0));
    return OSV_OK;
}

int train_memory_find(train_memory *m, size_t limit, size_t teacher, const osv_footprint *f, osv_model *model,
                      osv_ops *o, osv_comm *comm, int local)
{
    *m = measure(f, model, teacher);
    if (limit == 0) OSV_TRY(free_memory(&limit, m, f, o, comm, local));
    OSV_TRY(split(m, limit, f, o->error));
    m->bin = osv_comm_least(comm, m->bin);
    return osv_ops_status(o);
}

int train_memory_plan(train_memory *m, size_t limit, size_t teacher, const osv_footprint *f,
                      osv_model *shapes, int neighbours, osv_error *e)
{
    size_t all = on_device(f) ? TRAIN_MEMORY_CARD : osv_host_available() / (size_t)neighbours;
    osv_error too_little = {0};
    *m = measure(f, shapes, teacher);
    if (limit > 0) return split(m, limit, f, e);
    split(m, (size_t)(USED_OF_FREE * (double)all), f, &too_little); /* or planned as if it were enough */
    return OSV_OK;
}

osv_format train_memory_format(const osv_footprint *f, const osv_config *c)
{
    if (f->dtype == OSV_DTYPE_BF16) return OSV_BF16;
    return on_device(f) ? OSV_F32 : c->format;
}

json_t *train_memory_json(const train_memory *m)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "limit_bytes", (json_int_t)m->limit, "weights_bytes",
                     (json_int_t)m->weights, "fixed_bytes", (json_int_t)(m->fixed + m->runtime),
                     "teacher_bytes", (json_int_t)m->teacher, "bin_bytes", (json_int_t)m->bin);
}
