#include "bench/timing.h"

#include <math.h>

#include "bench/rates.h"
#include "kernels/host.h"

/* Between two stamps lie at least SHORTEST seconds of work, if MOST_CALLS are enough for that: then what
 * stamps and the start of a graph cost is lost in it. */
static const double SHORTEST = 3e-3;
enum { MOST_CALLS = 2048, FEWEST_REPEATS = 3 };

static void calls(osv_ops *o, const bench_work *w, int rounds)
{
    for (int r = 0; r < rounds; r++)
        for (int t = 0; t < w->copies; t++) w->run(o, w->state, t);
}

/* NULL where the filling does not record: then nothing has been run either, or the calls once. */
static osv_graph *record(osv_ops *o, const bench_work *w, int rounds)
{
    bool recorded = o->graph_begin(o);
    if (!recorded) return NULL;
    calls(o, w, rounds);
    return o->graph_end(o);
}

/* Seconds of a call; graph[]: both NULL where they are called directly. */
static double once(osv_ops *o, const bench_work *w, osv_graph *const graph[2], int rounds)
{
    if (graph[0]) o->graph_run(o, graph[0]);
    o->stamp(o, 0);
    if (graph[1])
        o->graph_run(o, graph[1]);
    else
        calls(o, w, rounds);
    o->stamp(o, 1);
    return o->between(o, 0, 1) / (rounds * w->copies);
}

static double best(osv_ops *o, const bench_work *w, int rounds, double seconds)
{
    double least = INFINITY, begin = osv_host_seconds();
    osv_graph *graph[2] = {record(o, w, rounds), record(o, w, rounds)};
    for (int n = 0; !osv_ops_status(o) && (n < FEWEST_REPEATS || osv_host_seconds() - begin < seconds); n++)
        least = fmin(least, once(o, w, graph, rounds));
    for (int i = 0; i < 2; i++)
        if (graph[i]) o->graph_free(o, graph[i]);
    return least;
}

double bench_time(osv_ops *o, const bench_work *w, double seconds)
{
    /* once for what a first call makes, then a short look at how long it takes */
    double begin = osv_host_seconds();
    calls(o, w, 1);
    o->sync(o, 0);
    double least = best(o, w, 1, 0);
    double wanted = SHORTEST / (least * w->copies), left = seconds - (osv_host_seconds() - begin);
    int most = MOST_CALLS / w->copies, rounds = 1;
    if (wanted > 1) rounds = wanted < most ? (int)ceil(wanted) : most;
    if (rounds > 1)
        least = best(o, w, rounds, left);
    else if (left > 0)
        least = fmin(least, best(o, w, 1, left));
    return osv_ops_status(o) ? NAN : least;
}

int bench_copies(const osv_ops *o, double touched, double held)
{
    enum { FEWEST = 2, MOST = 64 };
    const double cache = osv_on_device(o) ? 256e6 : 128e6, memory = osv_on_device(o) ? 8e9 : 2e9;
    double n = fmin(fmin(ceil(cache / touched), floor(memory / held)), MOST);
    return n < FEWEST ? FEWEST : (int)n;
}
