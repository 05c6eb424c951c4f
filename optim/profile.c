#include "optim/profile.h"

static void begin_range(void *context, osv_ops *o, const char *name, int number)
{
    (void)context;
    o->range(o, name, number);
}

static void end_range(void *context, osv_ops *o, const char *name, int number)
{
    (void)context, (void)name, (void)number;
    o->range(o, NULL, -1);
}

static const osv_watch ranges = {.begin = begin_range, .end = end_range};

/* Number of an iteration among those that are profiled; negative before them. */
static int place(const osv_profile *p)
{
    return p->iteration - OSV_PROFILE_WARM;
}

bool osv_profile_turns(const osv_profile *p)
{
    int at = place(p);
    return p->count > 0 && (at == 0 || at == p->count || at == 2 * p->count);
}

static void collect(osv_profile *p, bool on)
{
    if (p->on != on) p->o->profiler(p->o, on);
    p->on = on;
}

bool osv_profile_begin(osv_profile *p)
{
    int at = place(p);
    bool op_by_op = at >= 0 && at < p->count;
    if (p->count == 0) return false;
    collect(p, at >= 0 && at < 2 * p->count);
    p->o->watch = op_by_op ? &ranges : NULL;
    if (p->on) p->o->range(p->o, op_by_op ? "iteration, op by op" : "iteration, recorded", p->iteration);
    return op_by_op;
}

void osv_profile_end(osv_profile *p)
{
    if (p->on) p->o->range(p->o, NULL, -1);
    p->iteration++;
}

void osv_profile_close(osv_profile *p)
{
    if (p->count > 0) p->o->watch = NULL;
    collect(p, false);
}
