/* The command line of osv-generate: strings point into argv or constants, nothing is owned. */
#ifndef OSV_TOOLS_GENERATE_OPTIONS_H
#define OSV_TOOLS_GENERATE_OPTIONS_H

#include "tools/options.h"
#include "tools/steering.h"
#include "tools/tool_model.h"

typedef struct {
    const char *model, *prompt, *prompts; /* NULL: not given */
    const char *chat;
    steering_options steering;
    int max_tokens, samples, top_k;
    double temperature, top_p;
    unsigned long long seed;
    osv_machine machine;
    bool json, quiet, verbose, help, version;
} generate_options;

/* Reads argv and checks all that can be checked without the model and the prompts. With --help or --version
 * nothing else is asked for. */
int generate_options_parse(generate_options *o, int argc, char **argv, osv_error *e);
void generate_options_help(FILE *out);

#endif
