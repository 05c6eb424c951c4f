/* The folder of a run (--out): run.json, trace.jsonl, vectors/<job>.safetensors. Nothing appears under its
 * final name before it is complete, but for the trace, which is appended to line by line. */
#ifndef OSV_OPTIM_RUN_DIRECTORY_H
#define OSV_OPTIM_RUN_DIRECTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "optim/run_lock.h"
#include "optim/train.h"

typedef struct {
    char *path;
    FILE *trace;
    osv_run_lock lock;
} osv_run_directory;

typedef enum {
    OSV_RUN_NEW,     /* only where there is none */
    OSV_RUN_REPLACE, /* the files of a run that is there are removed first */
    OSV_RUN_RESUME,  /* goes on with the one that is there */
} osv_run_mode;

/* Whether this may be done at `path`. Changes nothing: asked before long loading. */
int osv_run_check(const char *path, osv_run_mode mode, osv_error *e);
/* Makes the folder, and those above it, takes its lock, and writes run.json before all else: what is there of
 * a run that was killed at any moment says which run it is. */
int osv_run_create(osv_run_directory *r, const char *path, bool replace, const json_t *run, osv_error *e);
/* Takes the lock of a run that is there (it has a run.json) and removes what a killed process left half. The
 * trace still holds all that was written to it. */
int osv_run_reopen(osv_run_directory *r, const char *path, osv_error *e);
/* Cuts the trace back to its first `bytes` bytes. */
int osv_run_cut(osv_run_directory *r, long long bytes, osv_error *e);
int osv_run_trace(osv_run_directory *r, const char *job, const osv_report *report, osv_error *e);
/* What was traced so far is on the disk, *bytes of it. */
int osv_run_sync(osv_run_directory *r, long long *bytes, osv_error *e);
/* "<path>/vectors/<job>.safetensors", malloc'ed. */
int osv_run_vector_path(const osv_run_directory *r, const char *job, char **path, osv_error *e);
/* Flushes and closes the trace and removes the lock; an error (full disk) is reported here at the latest. */
int osv_run_close(osv_run_directory *r, osv_error *e);

/* ---- parts of a run, which are runs themselves: <path>/units/<number> ---- */

/* "<path>/units/<unit>", malloc'ed. */
int osv_run_unit_path(const char *path, int unit, char **unit_path, osv_error *e);
/* The trace of the run in `part` behind this one's. */
int osv_run_append(osv_run_directory *r, const char *part, osv_error *e);
/* The vector of a job from the run in `part`, into this one; done already: fine. */
int osv_run_move_vector(osv_run_directory *r, const char *part, const char *job, osv_error *e);
/* Removes all parts of the run in `path`, and what else is theirs. */
int osv_run_remove_units(const char *path, osv_error *e);

#endif
