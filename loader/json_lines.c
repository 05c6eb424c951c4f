#include "loader/json_lines.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"

static const size_t FILE_LIMIT = (size_t)1 << 31;
static const size_t LINE_LIMIT = (size_t)16 << 20;

static bool blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!memchr(" \t\r", text[i], 3)) return false;
    return true;
}

static int read_line(const char *name, int line, const char *text, size_t bytes, osv_json_line *each,
                     void *context, osv_error *e)
{
    char where[PATH_MAX + 16];
    snprintf(where, sizeof where, "%s:%d", name, line);
    json_t *json;
    OSV_TRY(osv_json_parse(&json, text, bytes, name, line, e));
    int status = json_is_object(json)
                     ? each(context, json, line, where, e)
                     : OSV_FAIL(e, OSV_BAD_INPUT, "%s: a line must be one JSON object", where);
    json_decref(json);
    return status;
}

static int read_lines(const char *name, const char *text, size_t bytes, osv_json_line *each, void *context,
                      int *count, osv_error *e)
{
    int line = 1;
    for (size_t at = 0; at < bytes; line++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - text) - at : bytes - at;
        if (length > LINE_LIMIT)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d: line of %zu bytes, at most %zu are read", name, line,
                            length, LINE_LIMIT);
        size_t bad = osv_utf8_check(text + at, length);
        if (bad < length)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d: invalid UTF-8 at byte %zu of the file (0x%02x)", name,
                            line, at + bad, (unsigned char)text[at + bad]);
        if (!blank(text + at, length)) {
            OSV_TRY(read_line(name, line, text + at, length, each, context, e));
            ++*count;
        }
        at += length + 1;
    }
    return OSV_OK;
}

int osv_json_lines(const char *path, osv_json_line *each, void *context, int *count, osv_error *e)
{
    bool standard_input = strcmp(path, "-") == 0;
    char *text;
    size_t bytes;
    *count = 0;
    OSV_TRY(osv_file_read(&text, &bytes, standard_input ? "/dev/stdin" : path, FILE_LIMIT, e));
    int status = read_lines(standard_input ? "standard input" : path, text, bytes, each, context, count, e);
    free(text);
    return status;
}
