#include "optim/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/json.h"

enum {
    HOST_ROOM = 256,
    TEXT_ROOM = 512,
    ATTEMPTS = 100,
    RENEWED = 5, /* seconds after which a lock is renewed, */
    LEFT = 60    /* and after which one of another host that was not has been left; clocks may differ a bit */
};

typedef struct {
    char host[HOST_ROOM];
    int pid;
    double started; /* of the process, in ticks since its host started: numbers of processes are used again */
} holder;

/* Field 22 of /proc/<pid>/stat; the name in field 2 may hold blanks and brackets. Negative: no such process.
 */
static double start_of(int pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f) return -1;
    size_t bytes = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[bytes] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    return at ? strtod(at + 1, NULL) : -1;
}

static holder myself(void)
{
    holder h = {.pid = (int)getpid()};
    h.started = start_of(h.pid);
    if (gethostname(h.host, sizeof h.host - 1)) snprintf(h.host, sizeof h.host, "unknown");
    for (char *c = h.host; *c; c++)
        if (*c < 0x21 || *c > 0x7e || strchr("\"\\/", *c)) *c = '?';
    return h;
}

/* Who holds the lock whose text this is. */
static int parse(holder *h, const char *text, size_t bytes, const char *path, osv_error *e)
{
    json_t *json;
    osv_error why = {0};
    const char *host = "";
    *h = (holder){0};
    int status = osv_json_parse(&json, text, bytes, path, 1, &why);
    if (!status) status = osv_json_string(json, "host", true, &host, path, &why);
    if (!status) status = osv_json_int(json, "pid", true, 1, INT_MAX, &h->pid, path, &why);
    if (!status) status = osv_json_number(json, "started", true, &h->started, path, &why);
    snprintf(h->host, sizeof h->host, "%s", host);
    json_decref(json);
    if (!status) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s; if no osv-train works in this folder, remove that file and start again", why.text);
}

static int refuse(const holder *h, const char *path, osv_error *e)
{
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s: process %d on this host (%s) works in this folder; wait for its end, or stop it",
                    path, h->pid, h->host);
}

static int refuse_from_afar(const holder *h, const char *path, osv_error *e)
{
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: process %d on host %s works in this folder; wait for its end, or stop it. If it is gone, "
        "try again in %d seconds, or remove that file",
        path, h->pid, h->host, LEFT);
}

/* how: LOCK_EX, to take it over, or LOCK_SH, so that those that only look do not take each other for holders.
 */
static bool held_for_the_kernel(int file, int how)
{
    return flock(file, how | LOCK_NB) && errno == EWOULDBLOCK;
}

/* Seconds since the lock was renewed. */
static double age_of(int file)
{
    struct stat s;
    return fstat(file, &s) ? 0 : difftime(time(NULL), s.st_mtime);
}

/* Refused, or *stale. A lock that the kernel says is held is held, whatever processes can be seen from here
 * (in a container only some can). */
static int judge(bool *stale, const holder *h, int file, int how, const char *path, osv_error *e)
{
    holder me = myself();
    *stale = false;
    bool here = strcmp(h->host, me.host) == 0;
    if (!here && (age_of(file) < LEFT || held_for_the_kernel(file, how))) return refuse_from_afar(h, path, e);
    if (here && held_for_the_kernel(file, how)) return refuse(h, path, e);
    double started = here ? start_of(h->pid) : -1;
    if (started >= 0 && started == h->started) return refuse(h, path, e);
    *stale = true;
    return OSV_OK;
}

/* The lock that is there: *file is open, -1 where there is none. */
static int look(int *file, bool *stale, int how, const char *path, osv_error *e)
{
    char text[TEXT_ROOM];
    holder h;
    *stale = false;
    *file =
        open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK); /* network file systems lock only what can be written */
    if (*file < 0 && errno != ENOENT) *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*file < 0 && errno == ENOENT) return OSV_OK;
    if (*file < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot open: %s", path, strerror(errno));
    ssize_t bytes = read(*file, text, sizeof text);
    int status = bytes < 0 ? OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot read: %s", path, strerror(errno))
                           : parse(&h, text, (size_t)bytes, path, e);
    if (!status) status = judge(stale, &h, *file, how, path, e);
    if (!status) return OSV_OK;
    close(*file);
    *file = -1;
    return status;
}

int osv_run_lock_check(const char *folder, osv_error *e)
{
    char *path;
    int file = -1;
    bool stale;
    OSV_TRY(osv_path_join(&path, folder, "lock", e));
    int status = look(&file, &stale, LOCK_SH, path, e);
    if (file >= 0) close(file);
    free(path);
    return status;
}

/* A file of our own that says who we are, locked for the kernel before anybody else can see it as the lock.
 */
static int write_own(int *file, char **own, const char *path, osv_error *e)
{
    holder me = myself();
    char text[TEXT_ROOM];
    *file = -1;
    int length = snprintf(text, sizeof text, "{\"host\": \"%s\", \"pid\": %d, \"started\": %.0f}\n", me.host,
                          me.pid, me.started);
    if (asprintf(own, "%s.%s-%d.tmp", path, me.host, me.pid) < 0) {
        *own = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its name", path);
    }
    unlink(*own); /* left by a process of this number that was killed */
    *file = open(*own, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*file < 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: %s", path, strerror(errno));
    flock(*file, LOCK_EX | LOCK_NB); /* file systems that cannot are judged by the process alone */
    if (write(*file, text, (size_t)length) != length || fsync(*file))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
    return OSV_OK;
}

static bool same_file(int file, const char *path)
{
    struct stat a, b;
    return fstat(file, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Puts `own` in the place of the lock. A link fails where there is one already, on network file systems too;
 * a stale lock is replaced by who holds it for the kernel and finds it still in its place. *done: false where
 * somebody else was faster. */
static int put_in_place(bool *done, const char *own, const char *path, osv_error *e)
{
    int old;
    bool stale;
    *done = link(own, path) == 0;
    if (*done) {
        unlink(own);
        return OSV_OK;
    }
    if (errno == ENOENT) return OSV_OK; /* whoever holds the lock has tidied up */
    bool no_links = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK;
    if (errno != EEXIST && !no_links)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: %s", path, strerror(errno));
    OSV_TRY(look(&old, &stale, LOCK_EX, path, e));
    if (old < 0 ? no_links : same_file(old, path)) *done = rename(own, path) == 0;
    if (old >= 0) close(old);
    return OSV_OK;
}

int osv_run_lock_take(osv_run_lock *lock, const char *folder, osv_error *e)
{
    char *path = NULL;
    int file = -1;
    bool done = false;
    *lock = (osv_run_lock){0};
    int status = osv_path_join(&path, folder, "lock", e);
    for (int i = 0; i < ATTEMPTS && !status && !done; i++) {
        char *own;
        status = write_own(&file, &own, path, e);
        if (!status) status = put_in_place(&done, own, path, e);
        if (!done && file >= 0) {
            unlink(own);
            close(file);
        }
        free(own);
    }
    if (!status && !done)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: other processes do all the time", path);
    if (!status)
        *lock = (osv_run_lock){.path = path, .file = file, .renewed = time(NULL)};
    else
        free(path);
    return status;
}

int osv_run_lock_renew(osv_run_lock *lock, osv_error *e)
{
    long long now = time(NULL);
    if (!lock->path || now - lock->renewed < RENEWED) return OSV_OK;
    if (!same_file(lock->file, lock->path))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: another process has taken over this folder, or the file was removed; end one of "
                        "them",
                        lock->path);
    futimens(lock->file, NULL); /* where it fails the file system has no times, and others ask the kernel */
    lock->renewed = now;
    return OSV_OK;
}

void osv_run_lock_release(osv_run_lock *lock)
{
    if (!lock->path) return;
    if (same_file(lock->file, lock->path)) unlink(lock->path);
    close(lock->file);
    free(lock->path);
    *lock = (osv_run_lock){0};
}
