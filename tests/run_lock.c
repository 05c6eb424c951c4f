/* The lock of a run's folder: held by a process that lives, by one that is gone, by another host. */
#include "optim/run_lock.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "files.h"
#include "loader/file.h"

static char *lock_text(void)
{
    osv_error e = {0};
    char *text;
    size_t bytes;
    cr_assert_eq(osv_file_read(&text, &bytes, temp_path("lock"), 4096, &e), OSV_OK, "%s", e.text);
    return text;
}

Test(run_lock, held_and_released, .init = temp_open, .fini = temp_close)
{
    osv_run_lock lock, second;
    osv_error e = {0};
    cr_assert_eq(osv_run_lock_check(temp_dir, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_lock_take(&lock, temp_dir, &e), OSV_OK, "%s", e.text);
    char *text = lock_text(), pid[32];
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    cr_expect(strstr(text, "{\"host\": \"") == text && strchr(text, '\n') == text + strlen(text) - 1, "%s",
              text);
    free(text);
    check_failure("check", osv_run_lock_check(temp_dir, &e), &e, OSV_BAD_INPUT, pid);
    e = (osv_error){0};
    check_failure("take", osv_run_lock_take(&second, temp_dir, &e), &e, OSV_BAD_INPUT,
                  "works in this folder");
    cr_expect(second.path == NULL);
    osv_run_lock_release(&second); /* nothing */
    osv_run_lock_release(&lock);
    cr_expect(rmdir(temp_dir) == 0, "something is left in the folder");
}

/* A process that takes the lock and is killed. */
static void leave_stale(void)
{
    pid_t child = fork();
    if (child == 0) {
        osv_run_lock lock;
        osv_error e = {0};
        _exit(osv_run_lock_take(&lock, temp_dir, &e));
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert(osv_path_exists(temp_path("lock")));
}

Test(run_lock, of_a_process_that_is_gone, .init = temp_open, .fini = temp_close)
{
    osv_run_lock lock;
    osv_error e = {0};
    leave_stale();
    cr_assert_eq(osv_run_lock_check(temp_dir, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_lock_take(&lock, temp_dir, &e), OSV_OK, "%s", e.text);
    char *text = lock_text(), pid[32];
    snprintf(pid, sizeof pid, "\"pid\": %d,", (int)getpid());
    cr_expect(strstr(text, pid) != NULL, "%s", text);
    free(text);
    osv_run_lock_release(&lock);
    cr_expect(!osv_path_exists(temp_path("lock")));
}

/* The number lives again, as another process: this one, which began at another time. */
Test(run_lock, of_a_number_that_is_used_again, .init = temp_open, .fini = temp_close)
{
    osv_run_lock lock;
    osv_error e = {0};
    leave_stale();
    char *text = lock_text(), host[256], again[512];
    cr_assert_eq(sscanf(text, "{\"host\": \"%255[^\"]\"", host), 1);
    free(text);
    snprintf(again, sizeof again, "{\"host\": \"%s\", \"pid\": %d, \"started\": 1}\n", host, (int)getpid());
    temp_text("lock", again);
    cr_assert_eq(osv_run_lock_take(&lock, temp_dir, &e), OSV_OK, "%s", e.text);
    osv_run_lock_release(&lock);
}

static void set_age(const char *path, int seconds)
{
    struct timespec then[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};
    cr_assert_eq(utimensat(AT_FDCWD, path, then, 0), 0);
}

static const char elsewhere[] = "{\"host\": \"elsewhere.example\", \"pid\": 17, \"started\": 5}\n";

/* Of another host: left, unless its host's kernel says that it is held. */
Test(run_lock, of_another_host_that_does_not_renew, .init = temp_open, .fini = temp_close)
{
    osv_run_lock lock;
    osv_error e = {0};
    temp_text("lock", elsewhere);
    set_age(temp_path("lock"), 50);
    check_failure("too early", osv_run_lock_take(&lock, temp_dir, &e), &e, OSV_BAD_INPUT,
                  "elsewhere.example");
    set_age(temp_path("lock"), 70);
    int held = open(temp_path("lock"), O_RDONLY);
    cr_assert_eq(flock(held, LOCK_EX), 0);
    e = (osv_error){0};
    check_failure("held", osv_run_lock_take(&lock, temp_dir, &e), &e, OSV_BAD_INPUT, "elsewhere.example");
    close(held);
    e = (osv_error){0};
    cr_assert_eq(osv_run_lock_take(&lock, temp_dir, &e), OSV_OK, "%s", e.text);
    osv_run_lock_release(&lock);
    cr_expect(rmdir(temp_dir) == 0, "something is left in the folder");
}

Test(run_lock, renewed, .init = temp_open, .fini = temp_close)
{
    osv_run_lock lock;
    osv_error e = {0};
    struct stat s;
    cr_assert_eq(osv_run_lock_take(&lock, temp_dir, &e), OSV_OK, "%s", e.text);
    set_age(temp_path("lock"), 50);
    cr_assert_eq(osv_run_lock_renew(&lock, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(stat(temp_path("lock"), &s), 0);
    cr_expect_lt(s.st_mtime, time(NULL) - 40, "not so soon");
    lock.renewed -= 10; /* seconds have passed */
    cr_assert_eq(osv_run_lock_renew(&lock, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(stat(temp_path("lock"), &s), 0);
    cr_expect_gt(s.st_mtime, time(NULL) - 5);
    /* Others have taken it meanwhile: its holder hears of it, and leaves theirs alone. */
    cr_assert_eq(unlink(temp_path("lock")), 0);
    temp_text("lock", elsewhere);
    lock.renewed -= 10;
    check_failure("lost", osv_run_lock_renew(&lock, &e), &e, OSV_BAD_INPUT, "taken over");
    osv_run_lock_release(&lock);
    cr_expect(osv_path_exists(temp_path("lock")));
}

/* Many at once for one stale lock: one gets it. */
Test(run_lock, one_of_many_takes_over, .init = temp_open, .fini = temp_close)
{
    enum { CONTENDERS = 12, ROUNDS = 5 };
    for (int round = 0; round < ROUNDS; round++) {
        int go[2], winners = 0;
        leave_stale();
        cr_assert_eq(pipe(go), 0);
        for (int i = 0; i < CONTENDERS; i++) {
            if (fork() != 0) continue;
            osv_run_lock lock;
            osv_error e = {0};
            char end;
            close(go[1]);
            if (read(go[0], &end, 1) != 0) _exit(9); /* until the parent closes its end */
            bool won = osv_run_lock_take(&lock, temp_dir, &e) == OSV_OK;
            if (won) usleep(200000); /* the others have tried by then */
            _exit(won ? 1 : e.status == OSV_BAD_INPUT ? 0 : 9);
        }
        close(go[0]);
        close(go[1]);
        for (int i = 0, status; i < CONTENDERS; i++) {
            cr_assert_gt(wait(&status), 0);
            cr_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
            winners += WEXITSTATUS(status);
        }
        cr_expect_eq(winners, 1, "%d hold the lock", winners);
    }
}

/* To add a case: what stands in the file, what is said. */
static const struct {
    const char *text, *piece;
} refused[] = {
    {"{\"host\": \"elsewhere.example\", \"pid\": 17, \"started\": 5}\n",
     "process 17 on host elsewhere.example"},
    {"{\"host\": \"elsewhere.example\", \"pid\": 17, \"started\": 5}\n", "remove that file"},
    {"", "remove that file"},
    {"{\"host\": ", "remove that file"},
    {"[]", "remove that file"},
    {"{\"host\": 5, \"pid\": 17, \"started\": 5}", "\"host\" must be a string"},
    {"{\"host\": \"a\", \"pid\": -17, \"started\": 5}", "\"pid\" must be an integer"},
    {"{\"host\": \"a\", \"pid\": 17}", "\"started\" is missing"},
};

Test(run_lock, refused, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        osv_run_lock lock;
        osv_error e = {0};
        temp_text("lock", refused[i].text);
        check_failure(refused[i].text, osv_run_lock_check(temp_dir, &e), &e, OSV_BAD_INPUT, refused[i].piece);
        e = (osv_error){0};
        check_failure(refused[i].text, osv_run_lock_take(&lock, temp_dir, &e), &e, OSV_BAD_INPUT,
                      refused[i].piece);
    }
    cr_assert_eq(unlink(temp_path("lock")), 0);
    cr_expect(rmdir(temp_dir) == 0, "something else is left in the folder");
}

/* Ranks of a run that goes on look all at once. */
Test(run_lock, looked_at_by_several, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_run_lock lock;
    temp_text("lock", "{\"host\": \"elsewhere.example\", \"pid\": 17, \"started\": 5}\n");
    set_age(temp_path("lock"), 70);
    int other = open(temp_path("lock"), O_RDWR);
    cr_assert_eq(flock(other, LOCK_SH), 0);
    cr_expect_eq(osv_run_lock_check(temp_dir, &e), OSV_OK, "%s", e.text);
    check_failure("taken", osv_run_lock_take(&lock, temp_dir, &e), &e, OSV_BAD_INPUT, "elsewhere.example");
    close(other);
}
