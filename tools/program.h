/* What all tools share: their version, their messages, and what a signal asks for. */
#ifndef OSV_TOOLS_PROGRAM_H
#define OSV_TOOLS_PROGRAM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "kernels/error.h"

const char *osv_program_version(void); /* "0.1.0" */
const char *osv_program_commit(void);  /* of the sources, "unknown" outside a checkout */
const char *osv_program_compiler(void);

/* --version */
void osv_program_print_version(FILE *out, const char *program);

/* "osv-train: --lr x: must be ...", with a hint after usage errors; returns the exit status. */
int osv_program_fail(const char *program, const osv_error *e);
/* From here messages begin with "rank 3 (host b): "; or there are none, because another rank has them. */
void osv_program_speak_for(int rank);
void osv_program_mute(void);

/* --verbose: from here what osv_program_log is given goes to standard error, as "osv-train: rank 3 (host b):
 * text"; rank < 0: "osv-train: text". Without it nothing does. */
void osv_program_be_verbose(const char *program, int rank);
void osv_program_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* First thing in main. A limit on the size of files (ulimit -f) is an error of writing, as a full disk is,
 * and no end of the process. A closed pipe does not end the process: who reads what it says may have had
 * enough, and a run of hours is not to be lost for `2>&1 | head`. Standard streams that are closed are kept
 * closed: else the next file to be opened, such as the trace, would get their number and with it what is
 * printed. */
void osv_program_start(void);

/* Flushes standard output; results that could not be written are OSV_BAD_INPUT, but for a closed pipe, whose
 * reader does not want them. */
int osv_program_flush(osv_error *e);

/* Writes to standard output and flushes it. Where who reads it has had enough (`| head`) nothing is left to
 * do: the call returns OSV_PIPE_CLOSED, which sets no error and relays like one, up to main, which ends with
 * 0. */
enum { OSV_PIPE_CLOSED = -1 };
int osv_program_write(const char *text, size_t bytes, osv_error *e);

/* Who is told when this process begins to wait for whoever reads its output, or for its files, and when that
 * is over. */
void osv_program_tell(void (*waits)(bool outside));

/* May standard output have colours: a terminal, not a dumb one, no NO_COLOR, one rank. */
bool osv_program_color(void);

/* From here SIGINT and SIGTERM only set the flag, which is the number of the signal. SIGUSR1 counts as SIGINT
 * and SIGUSR2 as SIGTERM, because mpirun hands these two on to its ranks, and gives them a second to end
 * after the others. The second SIGINT ends the process at once, but not between hold and release, while files
 * are written: then at release. */
extern volatile sig_atomic_t osv_program_signal;
void osv_program_catch_signals(void);
void osv_program_hold(void);
void osv_program_release(void);

#endif
