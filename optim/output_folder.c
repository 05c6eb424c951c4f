#include "optim/output_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"

int osv_output_check(const osv_output *kind, const char *path, bool force, osv_error *e)
{
    if (!*path)
        return OSV_FAIL(e, OSV_USAGE, "%s needs the name of a folder, not an empty one", kind->option);
    if (!osv_path_exists(path)) return OSV_OK;
    if (!osv_path_is_folder(path))
        return OSV_FAIL(e, OSV_USAGE, "%s %s: is a file; expected a folder, or a name that is free",
                        kind->option, path);
    if (force) return OSV_OK;
    for (int i = 0; i < kind->names; i++) {
        char *file;
        OSV_TRY(osv_path_join(&file, path, kind->name[i], e));
        bool there = osv_path_exists(file);
        free(file);
        if (there)
            return OSV_FAIL(
                e, OSV_USAGE,
                "%s %s: holds a %s already (%s); choose another folder, or replace it with --force",
                kind->option, path, kind->what, kind->name[i]);
    }
    return OSV_OK;
}

/* mkdir -p */
int osv_output_make(const char *path, osv_error *e)
{
    char *part = strdup(path);
    if (!part) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its name", path);
    int status = OSV_OK;
    for (char *slash = part + 1; !status; slash++) {
        char c = *slash;
        if (c != '/' && c != '\0') continue;
        *slash = '\0';
        if (mkdir(part, 0777) && !(errno == EEXIST && osv_path_is_folder(part)))
            status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot make the folder: %s", part, strerror(errno));
        if (!status) status = osv_path_sync(part, e); /* its name, so that it survives a crash */
        *slash = c;
        if (c == '\0') break;
    }
    free(part);
    return status;
}

int osv_output_remove(const char *dir, const char *name, osv_error *e)
{
    char *path;
    OSV_TRY(osv_path_join(&path, dir, name, e));
    int status = OSV_OK;
    if (unlink(path) && errno != ENOENT)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot remove: %s", path, strerror(errno));
    free(path);
    return status;
}
