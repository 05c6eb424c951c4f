/* How long ranks take together, for osv-train --plan: what is counted, and the rates of links that are
 * assumed or given. docs/clusters.md has it in words. Pure. */
#ifndef OSV_TOOLS_TRAIN_CLUSTER_H
#define OSV_TOOLS_TRAIN_CLUSTER_H

#include "engine/traffic.h"
#include "tools/train_options.h"

typedef struct {
    int ranks;        /* in all */
    int tp, replicas; /* ranks that share a model, and how many such groups there are */
    int on_host;      /* ranks of a host, the last one aside */
    int hosts;
    double latency;   /* seconds of a collective of tp ranks, whatever is sent */
    double bandwidth; /* bytes/s of its slowest link, what nccl-tests call busbw */
} train_cluster;

/* As the options have it. Replicas of different numbers of ranks are OSV_USAGE. */
int train_cluster_make(train_cluster *c, const train_options *o, bool on_gpus, osv_error *e);

/* Seconds that a rank spends in these collectives. */
double train_cluster_seconds(const train_cluster *c, osv_traffic t);

/* Units of work are handed to whichever replica is free, longest first: the seconds until the last one ends.
 * Sorts `seconds` [units]. */
int train_cluster_makespan(double *longest, const train_cluster *c, double *seconds, int units, osv_error *e);

#endif
