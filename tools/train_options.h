/* The command line of osv-train, resolved: strings point into argv or constants, nothing is owned. */
#ifndef OSV_TOOLS_TRAIN_OPTIONS_H
#define OSV_TOOLS_TRAIN_OPTIONS_H

#include "engine/config.h"
#include "kernels/ops.h"
#include "loader/datapoints.h"
#include "optim/job.h"
#include "tools/options.h"
#include "tools/steering.h"
#include "tools/tool_model.h"

enum { TRAIN_MOST_JOBS = 100000 };

/* Of preferences: the default of --beta; and that +v prefers what is chosen; and that -v prefers what is
 * rejected, both in every iteration or one of them drawn for each. */
static const double TRAIN_BETA = 0.1;
typedef enum { TRAIN_SIGNS_PLUS, TRAIN_SIGNS_BOTH, TRAIN_SIGNS_RANDOM } train_signs;

typedef struct {
    const char *model, *data, *out, *init, *sweep, *dump; /* NULL: not given */
    bool force, resume;
    int checkpoint_every;      /* iterations; 0: only when interrupted */
    int layer[OSV_MAX_BLOCKS]; /* [layers] in the order given, no number twice */
    int layers;
    osv_option_numbers lr, max_norm, init_norm; /* one job for each */
    osv_option_seeds seeds;
    bool orthogonal;           /* jobs that differ in the seed alone: one after the other */
    const char *orthogonal_to; /* vector files with commas between; NULL: not given */
    osv_job_options job;       /* the first of each of those; the start vector comes from the file `init` */
    osv_target target;         /* job.target_loss is NaN where it is relative */
    osv_form form;             /* how vectors meet the residual stream */
    bool joint;                /* one job steers at all of `layer`, */
    bool apart;                /* with a vector for each */
    const char *offset;        /* vector file; NULL: not given */
    const char *parity;        /* NULL: not given */
    int reentrant;             /* block of the map that is trained first; -1: not given */
    double early_lr, early_target_loss; /* of it; NaN: not given */
    int early_max_iters;                /* likewise; -1: not given */
    osv_stage stage;
    steering_options teacher; /* of matches: vector and apply */
    int match_tokens;
    bool reverse;   /* matches minimize KL(steered || teacher) */
    int noise_kind; /* osv_noise_kind */
    double anchor_weight;
    double anchor_bound; /* NaN: not given */
    bool negated;        /* suppress with +ln(P + eps) instead of -ln(1 - P + eps) */
    int melbo;           /* block; 0: not given */
    double beta;         /* of preferences */
    train_signs signs;
    bool beam; /* datapoints promote what beam search finds */
    int beam_width, beam_tokens, beam_rank;
    const char *positions;
    const char *chat;
    int boundary; /* osv_boundary */
    osv_machine machine;
    size_t memory;         /* 0: not given */
    int ranks, host_ranks; /* of a plan: how many there would be; 0: not given */
    double host_network;   /* likewise, Gbit/s */
    int profile;
    bool scan, scan_positions;
    double scan_norm; /* of its step, in lengths of the residual stream */
    bool plan, list, json, quiet, verbose, help, version;

    const char *layer_text, *betas, *apply, *joint_text; /* as given; read into the fields above */
    int suppress, target_rule, rank, schedule, kl, preference_signs; /* likewise */
    double clamp;
} train_options;

extern const osv_option train_option_table[];

/* What osv-train has without any option. */
int train_options_default(train_options *o, osv_error *e);
/* Reads argv and checks all that can be checked without the model and the data. With --help or --version
 * nothing else is asked for. */
int train_options_parse(train_options *o, int argc, char **argv, osv_error *e);
/* Reads what is kept as given into `layer`, `job` and so on; called by train_options_parse, and again after
 * one of them has been changed. */
int train_options_resolve(train_options *o, osv_error *e);
/* tools/train_help.c */
void train_options_help(FILE *out);

#endif
