#include "engine/step.h"

#include <stdlib.h>

int osv_step_open(osv_step **out, osv_ops *ops, osv_comm *comm, const osv_model *model,
                  const osv_batch *batch, const osv_switches *switches)
{
    osv_error *e = ops->error;
    *out = NULL;
    osv_step *s = calloc(1, sizeof *s);
    if (!s) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    *s = (osv_step){.engine = {.ops = ops, .comm = comm, .model = model}, .batch = batch, .on = *switches};
    s->bytes = osv_plan_bytes(model, batch, switches, e);
    if (!osv_ops_status(ops)) s->memory = ops->alloc(ops, s->bytes);
    if (!osv_ops_status(ops)) osv_plan_place(&s->buffer, model, batch, switches, ops, s->memory);
    for (int i = 0; i < OSV_MAX_ROPES; i++) s->engine.rope[i] = s->buffer.rope[i];
    if (osv_ops_status(ops)) {
        osv_step_close(s);
        return osv_ops_status(ops);
    }
    *out = s;
    return OSV_OK;
}

void osv_step_close(osv_step *s)
{
    if (!s) return;
    osv_buffers_free(&s->buffer);
    if (s->memory) s->engine.ops->free(s->engine.ops, s->memory);
    free(s);
}
