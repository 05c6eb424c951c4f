/* The command lines of osv-vector: a verb, its files, its options. Strings point into argv; `file` is owned.
 */
#ifndef OSV_TOOLS_VECTOR_OPTIONS_H
#define OSV_TOOLS_VECTOR_OPTIONS_H

#include "tools/options.h"

typedef enum { VECTOR_MEAN, VECTOR_SUM, VECTOR_COSINE, VECTOR_NORM, VECTOR_SHOW, VECTOR_VERBS } vector_verb;

typedef struct {
    vector_verb verb;
    const char **file; /* [files] as given */
    int files;
    const char *out, *csv; /* NULL: not given */
    double norm;           /* < 0: as it comes */
    int layer;             /* -1: that of the files */
    int top;               /* components shown */
    bool force, json, help, version;
} vector_options;

/* "mean", ... */
const char *vector_verb_name(vector_verb verb);

/* Reads argv, whose argv[1] is the verb. With --help or --version nothing else is asked for, nor a verb. */
int vector_options_parse(vector_options *o, int argc, char **argv, osv_error *e);
void vector_options_free(vector_options *o);
/* verb VECTOR_VERBS: of the tool. */
void vector_options_help(FILE *out, vector_verb verb);

#endif
