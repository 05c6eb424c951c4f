/* The command line of osv-inspect: strings point into argv or constants, nothing is owned. */
#ifndef OSV_TOOLS_INSPECT_OPTIONS_H
#define OSV_TOOLS_INSPECT_OPTIONS_H

#include "tools/options.h"
#include "tools/tool_model.h"

typedef struct {
    const char *model;
    const char *data, *tokenize, *detokenize, *render; /* NULL: not given; of the last four one at most */
    const char *layer;                                 /* NULL: the middle block */
    const char *positions, *chat;
    int boundary; /* osv_boundary */
    osv_machine machine;
    size_t memory; /* 0: not given */
    bool json, quiet, help, version;
} inspect_options;

/* Reads argv and checks all that can be checked without the files. With --help or --version nothing else is
 * asked for. */
int inspect_options_parse(inspect_options *o, int argc, char **argv, osv_error *e);
void inspect_options_help(FILE *out);

#endif
