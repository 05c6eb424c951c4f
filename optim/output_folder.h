/* Folders that a command writes its results to: whether one may be used, and making it. */
#ifndef OSV_OPTIM_OUTPUT_FOLDER_H
#define OSV_OPTIM_OUTPUT_FOLDER_H

#include <stdbool.h>

#include "kernels/error.h"

typedef struct {
    const char *option;      /* "--out" */
    const char *what;        /* "run": what such a folder holds */
    const char *const *name; /* [names] what is in a folder that holds one */
    int names;
} osv_output;

/* A file at `path`, or a folder that already holds one of the names, is OSV_USAGE (the latter unless
 * `force`). Changes nothing: asked before long loading. */
int osv_output_check(const osv_output *kind, const char *path, bool force, osv_error *e);
/* Makes the folder, and those above it. */
int osv_output_make(const char *path, osv_error *e);
/* Removes a file of the folder; one that is not there is fine. */
int osv_output_remove(const char *dir, const char *name, osv_error *e);

#endif
