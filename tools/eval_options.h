/* The command line of `osv-eval flips`: strings point into argv or constants, nothing is owned. */
#ifndef OSV_TOOLS_EVAL_OPTIONS_H
#define OSV_TOOLS_EVAL_OPTIONS_H

#include "tools/eval_match.h"
#include "tools/options.h"
#include "tools/steering.h"
#include "tools/tool_model.h"

enum { EVAL_MOST_SCALES = 256, EVAL_MOST_CHOICES = 100 };

typedef struct {
    const char *model, *prompts, *control, *csv; /* NULL: not given */
    const char *chat;
    steering_options steering;
    double scale[EVAL_MOST_SCALES];
    int scales;
    int by, match; /* eval_by, eval_match */
    int max_tokens;
    osv_machine machine;
    bool json, quiet, verbose, help, version;

    const char *scales_text; /* as given; read into `scale` */
} eval_options;

/* Reads argv, whose argv[0] is the verb. With --help or --version nothing else is asked for. */
int eval_options_parse(eval_options *o, int argc, char **argv, osv_error *e);
void eval_options_help(FILE *out);

#endif
