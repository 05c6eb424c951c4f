/* What all tools share: their version, their messages, and what a signal asks for. */
#ifndef OSV_TOOLS_PROGRAM_H
#define OSV_TOOLS_PROGRAM_H

#include <signal.h>
#include <stdio.h>

#include "kernels/error.h"

const char *osv_program_version(void); /* "0.1.0" */
const char *osv_program_commit(void);  /* of the sources, "unknown" outside a checkout */
const char *osv_program_compiler(void);

/* --version */
void osv_program_print_version(FILE *out, const char *program);

/* "osv-train: --lr x: must be ...", with a hint after usage errors; returns the exit status. */
int osv_program_fail(const char *program, const osv_error *e);

/* Flushes standard output; results that could not be written are OSV_BAD_INPUT. */
int osv_program_flush(osv_error *e);

/* From here SIGINT and SIGTERM only set the flag, which is the number of the signal; the second SIGINT ends
 * the process at once. */
extern volatile sig_atomic_t osv_program_signal;
void osv_program_catch_signals(void);

#endif
