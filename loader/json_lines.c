#include "loader/json_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/json.h"

static const size_t CHUNK = 1 << 16;
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

/* What has been read of the file and not yet taken. */
typedef struct {
    int fd;
    const char *path, *name; /* as opened, as messages call it */
    char *text;
    size_t start, end, room;
    size_t passed; /* bytes of the file before `start` */
    bool ended;
} source;

/* As much as there is to read now, at least a byte: a line that comes through a pipe is not kept waiting for
 * the next one. */
static int read_more(source *s, osv_error *e)
{
    if (s->start > 0) memmove(s->text, s->text + s->start, s->end - s->start);
    s->end -= s->start;
    s->start = 0;
    if (s->room - s->end < CHUNK) {
        size_t wider = 2 * s->room + CHUNK;
        char *moved = realloc(s->text, wider);
        if (!moved) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for %zu bytes", s->name, wider);
        s->text = moved;
        s->room = wider;
    }
    ssize_t n;
    do n = read(s->fd, s->text + s->end, s->room - s->end);
    while (n < 0 && errno == EINTR);
    if (n < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot read: %s", s->path, strerror(errno));
    s->ended = n == 0;
    s->end += (size_t)n;
    return OSV_OK;
}

/* The next line, without its end; *line NULL: there is none. It lives until the next call. */
static int next_line(source *s, int number, char **line, size_t *bytes, osv_error *e)
{
    size_t searched = 0;
    for (;;) {
        char *text = s->text ? s->text + s->start : NULL;
        size_t all = s->end - s->start;
        char *end = all > searched ? memchr(text + searched, '\n', all - searched) : NULL;
        size_t length = end ? (size_t)(end - text) : all;
        if (length > LINE_LIMIT)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d: line of more than %zu bytes, which is all that is read",
                            s->name, number, LINE_LIMIT);
        if (end || s->ended) {
            *line = all ? text : NULL;
            *bytes = length;
            s->start += length + (end != NULL);
            return OSV_OK;
        }
        searched = all;
        OSV_TRY(read_more(s, e));
    }
}

static int read_lines(source *s, osv_json_line *each, void *context, int *count, osv_error *e)
{
    for (int number = 1;; number++) {
        char *line = NULL;
        size_t bytes = 0;
        OSV_TRY(next_line(s, number, &line, &bytes, e));
        if (!line) return OSV_OK;
        size_t bad = osv_utf8_check(line, bytes);
        if (bad < bytes)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d: invalid UTF-8 at byte %zu of the file (0x%02x)",
                            s->name, number, s->passed + bad, (unsigned char)line[bad]);
        if (!blank(line, bytes)) {
            OSV_TRY(read_line(s->name, number, line, bytes, each, context, e));
            ++*count;
        }
        s->passed += bytes + 1;
    }
}

static int open_source(source *s, const char *path, osv_error *e)
{
    bool standard_input = strcmp(path, "-") == 0;
    *s = (source){.fd = -1,
                  .path = standard_input ? "/dev/stdin" : path,
                  .name = standard_input ? "standard input" : path};
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot open: %s", s->path, strerror(errno));
    struct stat info;
    if (fstat(s->fd, &info) == 0 && S_ISDIR(info.st_mode))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: is a folder, expected a file", s->path);
    return OSV_OK;
}

int osv_json_lines(const char *path, osv_json_line *each, void *context, int *count, osv_error *e)
{
    source s;
    *count = 0;
    int status = open_source(&s, path, e);
    if (!status) status = read_lines(&s, each, context, count, e);
    if (s.fd >= 0) close(s.fd);
    free(s.text);
    return status;
}
