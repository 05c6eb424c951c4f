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

/* Makes the folder. One that already holds a run is OSV_USAGE unless `force`, which removes the run's files
 * first. */
int osv_run_create(osv_run_directory *r, const char *path, bool force, osv_error *e);
int osv_run_write_json(const osv_run_directory *r, const json_t *run, osv_error *e); /* run.json */
int osv_run_trace(osv_run_directory *r, const char *job, const osv_report *report, osv_error *e);
/* "<path>/vectors/<job>.safetensors", malloc'ed. */
int osv_run_vector_path(const osv_run_directory *r, const char *job, char **path, osv_error *e);
/* Flushes and closes the trace; an error (full disk) is reported here at the latest. */
int osv_run_close(osv_run_directory *r, osv_error *e);

#endif
