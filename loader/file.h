/* Whole small files into memory, whole files onto the disk, and paths. What is returned is malloc'ed and
 * owned by the caller. */
#ifndef OSV_LOADER_FILE_H
#define OSV_LOADER_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/error.h"

/* Reads `path` (a regular file or a pipe) up to `limit` bytes; more is an error. The text is NUL-terminated
 * after *bytes. */
int osv_file_read(char **text, size_t *bytes, const char *path, size_t limit, osv_error *e);

/* Writes the pieces one after the other as `path`, all or nothing: to a temporary name in the same folder,
 * synced to the disk, renamed, the folder synced. On failure the temporary file is removed and what was under
 * `path` before is still there. Of a symbolic link the file it leads to is replaced. What is no file, a pipe
 * or a device such as /dev/stdout, stays what it is and gets the bytes. A folder that cannot be written to,
 * and a disk that is full or fails, are OSV_BAD_INPUT. */
typedef struct {
    const void *data;
    size_t bytes;
} osv_piece;
int osv_file_write(const char *path, const osv_piece *piece, int pieces, osv_error *e);

/* Makes what was done to the name `path` durable (made, renamed): syncs the folder that it is in. */
int osv_path_sync(const char *path, osv_error *e);

/* "dir/name". */
int osv_path_join(char **path, const char *dir, const char *name, osv_error *e);

/* True where something exists under this name (symlinks are followed). */
bool osv_path_exists(const char *path);
bool osv_path_is_folder(const char *path);

/* First byte of `text` that is not valid UTF-8 (overlong forms, surrogates and values beyond U+10FFFF count
 * as invalid), or `bytes` if all is well. */
size_t osv_utf8_check(const char *text, size_t bytes);

#endif
