/* The report on a model: as JSON, and that JSON as text. */
#ifndef OSV_TOOLS_INSPECT_REPORT_H
#define OSV_TOOLS_INSPECT_REPORT_H

#include "tools/inspect_jobs.h"

/* On standard output, as text or with --json as one object. */
int inspect_report(const inspect_jobs *j, const inspect_options *o, osv_error *e);

#endif
