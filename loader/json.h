/* Reading JSON (jansson) with errors that name file, line, column or key.
 *
 * A json_t obtained from osv_json_read / osv_json_parse is owned by the caller (json_decref). The getters
 * return values that live as long as the object they were taken from. `where` is what a user should read in
 * front of a message: a path, or "data.jsonl:17". */
#ifndef OSV_LOADER_JSON_H
#define OSV_LOADER_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels/error.h"

/* A whole file holding one object or array. Duplicate keys, trailing text, invalid UTF-8, the character
 * U+0000 and excessive nesting are errors "path:line:column: ...". Integers that 64 bits do not hold are read
 * as reals. On failure *out is NULL. */
int osv_json_read(json_t **out, const char *path, osv_error *e);

/* The same for a file that need not be there, and that must hold an object; *out is NULL where there is none.
 */
int osv_json_read_optional(json_t **out, const char *path, osv_error *e);

/* The same for a buffer of `bytes` bytes whose first line is line `first_line` (from 1) of `where`, for JSON
 * Lines. */
int osv_json_parse(json_t **out, const char *text, size_t bytes, const char *where, int first_line,
                   osv_error *e);

/* Typed getters: a wrong type is an error that names `where`, the key and what was expected. A missing or
 * null key leaves *out untouched (set the default before) and returns OSV_OK, unless `required`. Integers
 * outside [low, high] are errors. */
int osv_json_int(const json_t *object, const char *key, bool required, long low, long high, int *out,
                 const char *where, osv_error *e);
int osv_json_number(const json_t *object, const char *key, bool required, double *out, const char *where,
                    osv_error *e);
int osv_json_bool(const json_t *object, const char *key, bool required, bool *out, const char *where,
                  osv_error *e);
int osv_json_string(const json_t *object, const char *key, bool required, const char **out, const char *where,
                    osv_error *e);

/* Keys of the object that are not in `known`, "prompt, times", are errors. */
int osv_json_keys(const json_t *object, const char *known, const char *where, osv_error *e);

/* A value as one would write it, cut with "..." where it does not fit: for messages. Returns `text`. */
const char *osv_json_show(const json_t *value, char *text, size_t room);

#endif
