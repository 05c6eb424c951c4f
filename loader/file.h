/* Whole small files into memory, and paths. What is returned is malloc'ed and owned by the caller. */
#ifndef OSV_LOADER_FILE_H
#define OSV_LOADER_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/error.h"

/* Reads `path` (a regular file or a pipe) up to `limit` bytes; more is an error. The text is NUL-terminated
 * after *bytes. */
int osv_file_read(char **text, size_t *bytes, const char *path, size_t limit, osv_error *e);

/* "dir/name". */
int osv_path_join(char **path, const char *dir, const char *name, osv_error *e);

/* True where something exists under this name (symlinks are followed). */
bool osv_path_exists(const char *path);

/* First byte of `text` that is not valid UTF-8 (overlong forms, surrogates and values beyond U+10FFFF count
 * as invalid), or `bytes` if all is well. */
size_t osv_utf8_check(const char *text, size_t bytes);

#endif
