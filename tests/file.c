#include "loader/file.h"

#include <fcntl.h>

#include "files.h"

static const osv_piece pieces[] = {{"one", 3}, {" two", 4}};

static void check_text(const char *path, const char *expected)
{
    osv_error e = {0};
    char *text;
    size_t bytes;
    cr_assert_eq(osv_file_read(&text, &bytes, path, 100, &e), OSV_OK, "%s", e.text);
    cr_expect_str_eq(text, expected, "%s", path);
    free(text);
}

Test(file, writes_and_replaces, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    const char *path = temp_path("a");
    cr_assert_eq(osv_file_write(path, pieces, 2, &e), OSV_OK, "%s", e.text);
    check_text(path, "one two");
    cr_assert_eq(osv_file_write(path, pieces, 1, &e), OSV_OK, "%s", e.text);
    check_text(path, "one");
}

/* A rename would put a file in the place of /dev/stdout, for all programs of the machine. */
Test(file, pipes_and_devices_stay_what_they_are, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    struct stat info;
    char text[16] = "";
    const char *path = temp_path("pipe");
    cr_assert_eq(mkfifo(path, 0666), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    cr_assert(fd >= 0);
    cr_assert_eq(osv_file_write(path, pieces, 2, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(read(fd, text, sizeof text - 1), 7);
    cr_expect_str_eq(text, "one two");
    close(fd);
    cr_assert_eq(stat(path, &info), 0);
    cr_expect(S_ISFIFO(info.st_mode), "the pipe has been replaced");
}

Test(file, links_are_followed, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    struct stat info;
    const char *link = temp_path("link"), *target = temp_text("target", "old");
    cr_assert_eq(symlink("target", link), 0);
    cr_assert_eq(osv_file_write(link, pieces, 2, &e), OSV_OK, "%s", e.text);
    check_text(target, "one two");
    cr_assert_eq(lstat(link, &info), 0);
    cr_expect(S_ISLNK(info.st_mode), "the link has been replaced");
    const char *loose = temp_path("loose");
    cr_assert_eq(symlink("nowhere", loose), 0);
    cr_assert_eq(osv_file_write(loose, pieces, 1, &e), OSV_OK, "%s", e.text);
    check_text(loose, "one");
}
