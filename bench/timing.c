#include "bench/timing.h"

#include <math.h>
#include <string.h>

#include "kernels/host.h"

bool osv_on_device(const osv_ops *o)
{
    return strcmp(o->name, "cuda") == 0;
}

double bench_seconds(const osv_ops *o, int threads)
{
    return osv_on_device(o) || threads > 1 ? osv_host_seconds() : osv_host_cpu_seconds();
}

static double or_failed(const osv_ops *o, double seconds)
{
    return osv_ops_status(o) ? NAN : seconds;
}

/* ---- called directly ---- */

/* Between two stamps lies one call, or as many as take this long: the host's clock is fine, and the shorter
 * the time, the likelier that no other program runs in it. */
static const double SHORTEST_DIRECT = 2e-5;

static double directly(osv_ops *o, const bench_work *w, double seconds)
{
    enum { MOST_CALLS = 4096, FEWEST_ROUNDS = 3 };
    double least = INFINITY, begin = osv_host_seconds();
    int turn = 0, calls = 1;
    for (long done = 0; !osv_ops_status(o) && (!isfinite(least) || done < (long)FEWEST_ROUNDS * w->copies ||
                                               osv_host_seconds() - begin < seconds);) {
        o->stamp(o, 0);
        for (int i = 0; i < calls; i++, turn = (turn + 1) % w->copies) w->run(o, w->state, turn);
        o->stamp(o, 1);
        double taken = o->between(o, 0, 1);
        done += calls;
        if (taken < SHORTEST_DIRECT && calls < MOST_CALLS)
            calls *= 2;
        else
            least = fmin(least, taken / calls);
    }
    return or_failed(o, least);
}

/* ---- recorded ---- */

/* Between two stamps lie at least SHORTEST seconds of work, if MOST_CALLS are enough for that: then what
 * stamps and the start of a graph cost is lost in it. */
static const double SHORTEST = 3e-3;
enum { MOST_CALLS = 2048, FEWEST_REPEATS = 3 };

/* NULL where the filling does not record; then nothing has been run either. */
static osv_graph *record(osv_ops *o, const bench_work *w, int rounds)
{
    if (!o->graph_begin(o)) return NULL;
    for (int r = 0; r < rounds; r++)
        for (int t = 0; t < w->copies; t++) w->run(o, w->state, t);
    return o->graph_end(o);
}

/* The least of several times, in seconds of a call. Releases the graphs. */
static double recorded(osv_ops *o, const bench_work *w, osv_graph *first, osv_graph *second, int rounds,
                       double seconds)
{
    double least = INFINITY, begin = osv_host_seconds();
    for (int n = 0; !osv_ops_status(o) && (n < FEWEST_REPEATS || osv_host_seconds() - begin < seconds); n++) {
        o->graph_run(o, first);
        o->stamp(o, 0);
        o->graph_run(o, second);
        o->stamp(o, 1);
        least = fmin(least, o->between(o, 0, 1) / (rounds * w->copies));
    }
    if (first) o->graph_free(o, first);
    if (second) o->graph_free(o, second);
    return or_failed(o, least);
}

double bench_time(osv_ops *o, const bench_work *w, double seconds)
{
    w->run(o, w->state, 0); /* what a first call makes */
    o->sync(o, 0);
    osv_graph *graph = record(o, w, 1);
    if (!graph) return directly(o, w, seconds);
    /* a short look at how long it takes */
    double least = recorded(o, w, graph, record(o, w, 1), 1, 0);
    double wanted = SHORTEST / (least * w->copies);
    int most = MOST_CALLS / w->copies, rounds = wanted < most ? (int)fmax(1, ceil(wanted)) : most;
    if (osv_ops_status(o)) return NAN;
    graph = record(o, w, rounds);
    return recorded(o, w, graph, record(o, w, rounds), rounds, seconds);
}

int bench_copies(const osv_ops *o, double touched, double held)
{
    enum { FEWEST = 2, MOST = 64 };
    const double cache = osv_on_device(o) ? 256e6 : 128e6, memory = osv_on_device(o) ? 8e9 : 2e9;
    double n = fmin(fmin(ceil(cache / touched), floor(memory / held)), MOST);
    return n < FEWEST ? FEWEST : (int)n;
}
