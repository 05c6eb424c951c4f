/* For suites about files: a temporary folder per test, and the check that every row of a table of broken
 * files goes through. Each Criterion test is a process of its own, so the statics here are per test. */
#ifndef OSV_TESTS_FILES_H
#define OSV_TESTS_FILES_H

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/error.h"

static char temp_dir[64];

static int temp_remove(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static inline void temp_close(void)
{
    if (*temp_dir) nftw(temp_dir, temp_remove, 16, FTW_DEPTH | FTW_PHYS);
    *temp_dir = '\0';
}

/* Makes the folder; use as .init of a test, with temp_close as .fini. */
static inline void temp_open(void)
{
    snprintf(temp_dir, sizeof temp_dir, "/tmp/osv-test-XXXXXX");
    cr_assert(mkdtemp(temp_dir) != NULL, "cannot make a temporary folder");
}

/* Path of `name` in the folder; the last 8 stay valid. */
static inline const char *temp_path(const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", temp_dir, name);
    return p;
}

static inline const char *temp_write(const char *name, const void *bytes, size_t count)
{
    const char *path = temp_path(name);
    FILE *f = fopen(path, "wb");
    cr_assert(f != NULL, "cannot write %s", path);
    cr_assert_eq(fwrite(bytes, 1, count, f), count);
    cr_assert_eq(fclose(f), 0);
    return path;
}

static inline const char *temp_text(const char *name, const char *text)
{
    return temp_write(name, text, strlen(text));
}

/* One row of a table: the call must have failed with `expected` and a message that holds `piece`. A row that
 * should succeed has expected = OSV_OK. */
static inline void check_failure(const char *row, int status, const osv_error *e, int expected,
                                 const char *piece)
{
    cr_expect(status == expected, "%s: status %d, expected %d (\"%s\")", row, status, expected, e->text);
    cr_expect(e->status == status, "%s: returned %d but keeps %d", row, status, e->status);
    if (expected != OSV_OK)
        cr_expect(strstr(e->text, piece) != NULL, "%s: \"%s\" does not say \"%s\"", row, e->text, piece);
}

#endif
