#include "kernels/error.h"

#include <stdarg.h>
#include <stdio.h>

int osv_error_set(osv_error *e, int status, const char *file, int line, const char *format, ...)
{
    if (e->status != OSV_OK) return e->status;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    e->status = status;
    e->file = file;
    e->line = line;
    return status;
}
