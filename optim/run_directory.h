/* The folder of a run (--out): run.json, trace.jsonl, vectors/<job>.safetensors. Nothing appears under its
 * final name before it is complete, but for the trace, which is appended to line by line. */
#ifndef OSV_OPTIM_RUN_DIRECTORY_H
#define OSV_OPTIM_RUN_DIRECTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "optim/train.h"

typedef struct {
    char *path;
    FILE *trace;
} osv_run_directory;

/* Whether a run may be made at `path`: a file there, or a folder that already holds a run, is OSV_USAGE
 * (the latter unless `force`). Changes nothing: asked before long loading. */
int osv_run_check(const char *path, bool force, osv_error *e);
/* Makes the folder, and those above it. `force` removes the files of a run that is there first. */
int osv_run_create(osv_run_directory *r, const char *path, bool force, osv_error *e);
int osv_run_write_json(const osv_run_directory *r, const json_t *run, osv_error *e); /* run.json */
int osv_run_trace(osv_run_directory *r, const char *job, const osv_report *report, osv_error *e);
/* "<path>/vectors/<job>.safetensors", malloc'ed. */
int osv_run_vector_path(const osv_run_directory *r, const char *job, char **path, osv_error *e);
/* Closes a run that never started, and removes what was made of it. */
void osv_run_discard(osv_run_directory *r);
/* Flushes and closes the trace; an error (full disk) is reported here at the latest. */
int osv_run_close(osv_run_directory *r, osv_error *e);

#endif
