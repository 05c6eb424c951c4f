/* How far a long run has come, on standard error: one line that is drawn again and again on a terminal, plain
 * lines elsewhere. NO_COLOR and TERM=dumb are respected. Only tools use it: the library never prints. */
#ifndef OSV_TOOLS_PROGRESS_H
#define OSV_TOOLS_PROGRESS_H

#include <stdbool.h>

typedef struct {
    bool quiet, terminal, color;
    bool drawn;               /* the line holds a bar */
    double started, drawn_at; /* seconds */
    double from;              /* fraction that was done before it started */
} osv_progress;

void osv_progress_start(osv_progress *p, bool quiet);

/* Terminal: draws the bar with `text` and the time that is left, at most ten times a second. Elsewhere
 * nothing. fraction in 0 .. 1. */
void osv_progress_draw(osv_progress *p, double fraction, const char *text);

/* A line of its own, above the bar where there is one. Nothing when quiet. */
void osv_progress_line(osv_progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes the bar away. */
void osv_progress_end(osv_progress *p);

#endif
