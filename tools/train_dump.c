#include "tools/train_dump.h"

#include <stdio.h>

#include "optim/dump.h"
#include "tools/program.h"

int train_dump(const train_setup *s)
{
    const train_options *o = s->options;
    const osv_training training = train_setup_training(s);
    osv_dump_size size;
    OSV_TRY(osv_dump(&training, o->dump, o->force, s->m.name, &size));
    if (o->json)
        printf(
            "{\"jobs\": %d, \"unsteered_rows\": %d, \"steered_rows\": %d, \"tensors\": %d, \"bytes\": %zu}\n",
            size.jobs, size.base, size.live, size.tensors, size.bytes);
    else
        printf("dump of one forward and one reverse pass: %d of %d jobs, %d unsteered rows, %d steered rows, "
               "%d tensors, %zu bytes\n",
               size.jobs, s->jobs.jobs, size.base, size.live, size.tensors, size.bytes);
    return osv_program_flush(s->error);
}
