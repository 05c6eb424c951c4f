#include "tools/train_cluster.h"

#include <math.h>
#include <stdlib.h>

/* Between H100s, at the few MB that an iteration sends at once: NVLink in a host, and a network card of 400
 * Gbit/s for each of eight. */
static const double GPU_LATENCY = 20e-6, GPU_BANDWIDTH = 3e11, GPU_NETWORK_LATENCY = 40e-6;
static const double GPU_NETWORK = 3200; /* Gbit/s of a host */
/* Between processes over MPI: shared memory, as bench-comm finds it on two processors, and Ethernet. */
static const double CPU_LATENCY = 10e-6, CPU_BANDWIDTH = 1.3e9, CPU_NETWORK_LATENCY = 100e-6;
static const double CPU_NETWORK = 10;

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

int train_cluster_make(train_cluster *c, const train_options *o, bool on_gpus, osv_error *e)
{
    int ranks = o->ranks > 0 ? o->ranks : o->machine.tp > 0 ? o->machine.tp : 1;
    int tp = o->machine.tp > 0 ? o->machine.tp : ranks;
    if (ranks % tp != 0)
        return OSV_FAIL(e, OSV_USAGE, "--ranks %d: no multiple of --tp %d, the ranks of a replica", ranks,
                        tp);
    *c = (train_cluster){.ranks = ranks,
                         .tp = tp,
                         .replicas = ranks / tp,
                         .on_host = smaller(o->host_ranks, ranks),
                         .hosts = (ranks + o->host_ranks - 1) / o->host_ranks,
                         .latency = on_gpus ? GPU_LATENCY : CPU_LATENCY,
                         .bandwidth = on_gpus ? GPU_BANDWIDTH : CPU_BANDWIDTH};
    if (c->hosts == 1 || c->on_host % tp == 0) return OSV_OK;
    /* A replica lies on several hosts; it has the part of a host's network that it has of the host's ranks.
     */
    double network = o->host_network > 0 ? o->host_network : on_gpus ? GPU_NETWORK : CPU_NETWORK;
    double part = (double)smaller(tp, c->on_host) / c->on_host;
    c->latency = on_gpus ? GPU_NETWORK_LATENCY : CPU_NETWORK_LATENCY;
    c->bandwidth = fmin(c->bandwidth, part * network * 1e9 / 8);
    return OSV_OK;
}

double train_cluster_seconds(const train_cluster *c, osv_traffic t)
{
    if (c->tp == 1) return 0;
    return (double)t.calls * c->latency + 2.0 * (c->tp - 1) / c->tp * (double)t.bytes / c->bandwidth;
}

static int longest_first(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

int train_cluster_makespan(double *longest, const train_cluster *c, double *seconds, int units, osv_error *e)
{
    double *busy = calloc((size_t)c->replicas, sizeof *busy);
    if (!busy) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    qsort(seconds, (size_t)units, sizeof *seconds, longest_first);
    for (int i = 0; i < units; i++) {
        int first = 0;
        for (int r = 1; r < c->replicas; r++)
            if (busy[r] < busy[first]) first = r;
        busy[first] += seconds[i];
    }
    *longest = 0;
    for (int r = 0; r < c->replicas; r++) *longest = fmax(*longest, busy[r]);
    free(busy);
    return OSV_OK;
}
