#include "loader/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fills a growing buffer from `fd`. On failure the buffer is the caller's to free all the same. */
static int read_all(int fd, char **text, size_t *bytes, const char *path, size_t limit, osv_error *e)
{
    size_t room = 0, used = 0;
    for (;;) {
        if (room - used < 2) { /* one byte for the terminating NUL */
            size_t wider = room ? 2 * room : 1 << 16;
            char *moved = realloc(*text, wider);
            if (!moved) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for %zu bytes", path, wider);
            *text = moved;
            room = wider;
        }
        ssize_t n = read(fd, *text + used, room - used - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0) break;
        used += (size_t)n;
        if (used > limit)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: longer than the %zu MB that such a file may have", path,
                            limit >> 20);
    }
    (*text)[used] = '\0';
    *bytes = used;
    return OSV_OK;
}

int osv_file_read(char **text, size_t *bytes, const char *path, size_t limit, osv_error *e)
{
    *text = NULL;
    *bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot open: %s", path, strerror(errno));
    int status;
    struct stat info;
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode))
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: is a folder, expected a file", path);
    else
        status = read_all(fd, text, bytes, path, limit, e);
    close(fd);
    if (status) {
        free(*text);
        *text = NULL;
    }
    return status;
}

static int write_all(int fd, const osv_piece *piece, const char *path, osv_error *e)
{
    const char *data = piece->data;
    for (size_t done = 0; done < piece->bytes;) {
        ssize_t n = write(fd, data + done, piece->bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
        done += (size_t)n;
    }
    return OSV_OK;
}

/* A new file beside `path`, so that renaming it never crosses file systems. */
static int open_temporary(char **temporary, const char *path, osv_error *e)
{
    int fd = -1;
    for (int attempt = 0; fd < 0 && attempt < 100; attempt++) {
        if (asprintf(temporary, "%s.%ld-%d.tmp", path, (long)getpid(), attempt) < 0) {
            *temporary = NULL;
            OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its temporary name", path);
            return -1;
        }
        fd = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        int why = errno;
        if (fd >= 0) break;
        free(*temporary);
        *temporary = NULL;
        if (why != EEXIST) { /* EEXIST: left by a process that was killed */
            OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: %s", path, strerror(why));
            return -1;
        }
    }
    if (fd < 0) OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: too many %s.*.tmp beside it", path, path);
    return fd;
}

/* File systems that cannot sync a folder say EINVAL; nothing more can be done there. */
int osv_path_sync(const char *path, osv_error *e)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!dir) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the name of its folder", path);
    int status = OSV_OK;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        if (fsync(fd) && errno != EINVAL)
            status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot sync the folder: %s", dir, strerror(errno));
        close(fd);
    }
    free(dir);
    return status;
}

/* Into what is there already. */
static int write_in_place(const char *path, const osv_piece *piece, int pieces, osv_error *e)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot open: %s", path, strerror(errno));
    int status = OSV_OK;
    for (int i = 0; i < pieces && !status; i++) status = write_all(fd, &piece[i], path, e);
    if (close(fd) && !status)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
    return status;
}

static int replace_file(const char *path, const osv_piece *piece, int pieces, osv_error *e)
{
    char *temporary;
    int fd = open_temporary(&temporary, path, e);
    if (fd < 0) return e->status;
    int status = OSV_OK;
    for (int i = 0; i < pieces && !status; i++) status = write_all(fd, &piece[i], path, e);
    if (!status && fsync(fd))
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
    if (close(fd) && !status) /* network file systems report a full disk here */
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
    if (!status && rename(temporary, path))
        status =
            OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot rename %s to it: %s", path, temporary, strerror(errno));
    if (status) unlink(temporary);
    free(temporary);
    return status ? status : osv_path_sync(path, e);
}

int osv_file_write(const char *path, const osv_piece *piece, int pieces, osv_error *e)
{
    struct stat info;
    if (stat(path, &info)) return replace_file(path, piece, pieces, e);
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) return write_in_place(path, piece, pieces, e);
    char *target = realpath(path, NULL);
    if (!target) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: %s", path, strerror(errno));
    int status = replace_file(target, piece, pieces, e);
    free(target);
    return status;
}

int osv_path_join(char **path, const char *dir, const char *name, osv_error *e)
{
    size_t length = strlen(dir);
    const char *slash = length && dir[length - 1] == '/' ? "" : "/";
    if (asprintf(path, "%s%s%s", dir, slash, name) < 0) {
        *path = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "no memory for the path of %s", name);
    }
    return OSV_OK;
}

bool osv_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool osv_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Length of the character that starts at `s`, or 0 where it is not valid (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    unsigned char low = 0x80, high = 0xbf; /* allowed range of the second byte */
    size_t length;
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        length = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        length = 3;
        if (s[0] == 0xe0) low = 0xa0;  /* overlong */
        if (s[0] == 0xed) high = 0x9f; /* surrogates */
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        length = 4;
        if (s[0] == 0xf0) low = 0x90;  /* overlong */
        if (s[0] == 0xf4) high = 0x8f; /* beyond U+10FFFF */
    } else {
        return 0;
    }
    if (length > left || s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xbf) return 0;
    return length;
}

size_t osv_utf8_check(const char *text, size_t bytes)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < bytes) {
        size_t length = utf8_length(s + i, bytes - i);
        if (!length) return i;
        i += length;
    }
    return bytes;
}
