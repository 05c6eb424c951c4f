/* JSON Lines: one object a line, blank lines passed over. */
#ifndef OSV_LOADER_JSON_LINES_H
#define OSV_LOADER_JSON_LINES_H

#include <jansson.h>

#include "kernels/error.h"

/* Called for each object; `where` is "data.jsonl:17". The object lives as long as the call (json_incref to
 * keep it). */
typedef int osv_json_line(void *context, json_t *object, int line, const char *where, osv_error *e);

/* Reads `path`, a line at a time, however long it is and as soon as the line is there; "-" is standard input.
 * Lines that are too long, not UTF-8 or no object are errors that name
 * the line. *count: objects read. */
int osv_json_lines(const char *path, osv_json_line *each, void *context, int *count, osv_error *e);

#endif
