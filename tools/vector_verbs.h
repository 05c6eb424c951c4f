/* What the verbs of osv-vector do: read the files, print or write the result. */
#ifndef OSV_TOOLS_VECTOR_VERBS_H
#define OSV_TOOLS_VECTOR_VERBS_H

#include "optim/vector_file.h"
#include "tools/vector_options.h"

/* A file that holds one vector. */
typedef struct {
    const char *path;
    osv_vector_file file;
} vector_input;

/* Opens `path`; a file with vectors for several layers is OSV_BAD_INPUT. */
int vector_input_open(vector_input *v, const char *path, const vector_options *o, osv_error *e);

int vector_make(const vector_options *o, osv_error *e);   /* mean, sum */
int vector_cosine(const vector_options *o, osv_error *e); /* the matrix */
int vector_norm(const vector_options *o, osv_error *e);
int vector_show(const vector_options *o, osv_error *e);

#endif
