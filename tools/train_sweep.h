/* Which configurations a run trains: the command line's, or one a line of --sweep, whose keys are options of
 * osv-train and stand above the command line's. Where a configuration has several layers, seeds, norms or
 * rates it makes a job of each combination.
 *
 * Everything is owned by train_sweep and released by train_sweep_close, in whatever state opening has left
 * it; the command line's options must outlive it. */
#ifndef OSV_TOOLS_TRAIN_SWEEP_H
#define OSV_TOOLS_TRAIN_SWEEP_H

#include "tools/train_options.h"

/* Options that may differ between the jobs of a run, in the order in which they make up a job's name, and
 * what stands before the value there. Ends with an option NULL. */
typedef struct {
    const char *option, *prefix;
} train_job_option;
extern const train_job_option train_job_options[];
enum { TRAIN_JOB_OPTIONS = 45 };

/* One configuration. */
typedef struct {
    train_options options;
    const char *job;  /* only for this job of the data; NULL: for all */
    const char *name; /* of the result; NULL: made of what varies */
    int line;         /* of the file; 0: the command line */
} train_line;

typedef struct {
    const char *path; /* of --sweep; NULL: one line, the command line */
    int lines, line_room;
    train_line *line;
    char **text; /* [texts] what the lines' options point to */
    int texts, text_room;
    json_t *objects; /* the lines as they were read */
} train_sweep;

int train_sweep_open(train_sweep *s, const train_options *o, osv_error *e);
void train_sweep_close(train_sweep *s);
/* As if a file had one more line, {"job": job, "layer": layer}; s may be all zeros. */
int train_sweep_add(train_sweep *s, const train_options *o, const char *job, const char *layer, osv_error *e);

/* Relays what is wrong with a configuration: what the command line has caused as it is, what a line of the
 * file has as OSV_BAD_INPUT that names the line. */
int train_line_fail(const train_sweep *s, const train_line *line, const osv_error *cause, osv_error *e);

/* How many jobs a configuration makes, -1: more than TRAIN_MOST_JOBS; and the options of the i-th, each with
 * one value: layers in the outermost loop, then seeds, --max-norm, --lr, --init-norm. */
int train_line_jobs(const train_options *o);
void train_line_job(train_options *job, const train_options *o, int i);
/* Which of the seeds the i-th has, and which it is of the jobs that have this seed. */
void train_line_seed(const train_options *o, int i, int *seed, int *other);

#endif
