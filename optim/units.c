#include "optim/units.h"

#include <stdlib.h>

#include "engine/cost.h"
#include "optim/bin.h"
#include "optim/pack.h"

/* A unit as it was found. */
typedef struct {
    int number;
    double cost;
} found_unit;

/* While units are planned: all [jobs]. */
typedef struct {
    int *leader; /* of the jobs that a job has to stay with, itself included, the first one */
    int *unit;
    double *cost; /* of such jobs together, at the first one */
    found_unit *found;
} planning;

/* What an iteration costs, times how many there may be. *rows: live tokens. */
static int measure(double *cost, int *rows, const osv_training *t, int job)
{
    const osv_job_options *o = &t->job[job].options;
    osv_bin_size size;
    osv_batch *batch;
    int alone, jobs = 0;
    OSV_TRY(osv_pack_fill(&size, t, &alone, &jobs, &job, 1));
    OSV_TRY(osv_bin_batch(&batch, t, &job, 1, false));
    double draws = o->noise > 0 ? o->noise_draws : 1;
    *cost = osv_iteration_cost(t->model, batch).flops * draws * ((double)o->max_iters + o->min_norm_iters);
    *rows = size.rows;
    osv_batch_free(batch);
    return OSV_OK;
}

static int leader_of(int *leader, int job)
{
    while (leader[job] != job) job = leader[job] = leader[leader[job]];
    return job;
}

static void find_leaders(int *leader, const osv_job *job, int jobs)
{
    for (int j = 0; j < jobs; j++) {
        leader[j] = j;
        for (int i = 0; i < job[j].befores; i++) {
            int a = leader_of(leader, j), b = leader_of(leader, job[j].before[i]);
            leader[a > b ? a : b] = a > b ? b : a;
        }
    }
    for (int j = 0; j < jobs; j++) leader[j] = leader_of(leader, j);
}

/* Neighbours to units, at most `wanted`, that cost about the same. Returns how many they are. */
static int divide(const planning *p, int jobs, int wanted)
{
    double all = 0, sum = 0;
    int units = 0, last = -1;
    for (int j = 0; j < jobs; j++) {
        all += p->cost[j];
        if (p->leader[j] != j) p->cost[p->leader[j]] += p->cost[j];
    }
    for (int j = 0; j < jobs; j++) {
        if (p->leader[j] != j) {
            p->unit[j] = p->unit[p->leader[j]];
            continue;
        }
        int place = all > 0 ? (int)(wanted * ((sum + p->cost[j] / 2) / all)) : 0; /* of its middle */
        if (place > last) {
            p->found[units] = (found_unit){.number = units};
            units++;
            last = place;
        }
        p->unit[j] = units - 1;
        p->found[units - 1].cost += p->cost[j];
        sum += p->cost[j];
    }
    return units;
}

/* The longest first. */
static int compare(const void *a, const void *b)
{
    const found_unit *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
    return x->number - y->number;
}

static int limit(long x, int least, int most)
{
    return x < least ? least : x > most ? most : (int)x;
}

static int plan(osv_units *u, const planning *p, const osv_training *t, int replicas)
{
    long all = 0;
    for (int j = 0, rows; j < t->jobs; j++) {
        OSV_TRY(measure(&p->cost[j], &rows, t, j));
        all += rows;
    }
    find_leaders(p->leader, t->job, t->jobs);
    int units = divide(p, t->jobs, limit(all / OSV_FEW_ROWS, replicas, OSV_UNITS_A_REPLICA * replicas));
    qsort(p->found, (size_t)units, sizeof *p->found, compare);
    int *place = p->leader; /* of no use any more; units are no more than jobs */
    for (int k = 0; k < units; k++) place[p->found[k].number] = k;
    for (int j = 0; j < t->jobs; j++) p->unit[j] = place[p->unit[j]];
    return osv_units_make(u, t->job, t->jobs, p->unit, units, t->ops->error);
}

int osv_units_plan(osv_units *u, const osv_training *t, int replicas)
{
    size_t n = (size_t)t->jobs + 1;
    planning p = {.leader = malloc(n * sizeof *p.leader),
                  .unit = malloc(n * sizeof *p.unit),
                  .cost = malloc(n * sizeof *p.cost),
                  .found = malloc(n * sizeof *p.found)};
    *u = (osv_units){0};
    int status = p.leader && p.unit && p.cost && p.found
                     ? plan(u, &p, t, replicas)
                     : OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory for %d jobs", t->jobs);
    free(p.leader);
    free(p.unit);
    free(p.cost);
    free(p.found);
    return status;
}

/* Are they units that can be trained apart? */
static int check(const osv_units *u, const osv_job *job, int jobs, const int *unit, osv_error *e)
{
    for (int j = 0; j < jobs; j++)
        for (int i = 0; i < job[j].befores; i++)
            if (unit[job[j].before[i]] != unit[j])
                return OSV_FAIL(e, OSV_BAD_INPUT, "job \"%s\" comes after job \"%s\" and is in another unit",
                                job[j].name, job[job[j].before[i]].name);
    for (int k = 0; k < u->units; k++)
        if (u->first[k] == u->first[k + 1]) return OSV_FAIL(e, OSV_BAD_INPUT, "unit %d has no jobs", k);
    return OSV_OK;
}

int osv_units_make(osv_units *u, const osv_job *job, int jobs, const int *unit, int units, osv_error *e)
{
    *u = (osv_units){.units = units,
                     .first = calloc((size_t)units + 2, sizeof *u->first),
                     .job = malloc((size_t)jobs * sizeof *u->job + 1)};
    int status = u->first && u->job ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for %d jobs", jobs);
    if (!status) {
        int *next = u->first +
                    1; /* place of the unit's next job; in the end, where the unit behind it begins */
        for (int j = 0; j < jobs; j++) next[unit[j] + 1]++;
        for (int k = 0; k < units; k++) next[k + 1] += next[k];
        for (int j = 0; j < jobs; j++) u->job[next[unit[j]]++] = j;
        status = check(u, job, jobs, unit, e);
    }
    if (status) osv_units_free(u);
    return status;
}

void osv_units_free(osv_units *u)
{
    free(u->first);
    free(u->job);
    *u = (osv_units){0};
}
