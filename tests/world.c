/* A world of processes on this host: how they meet, talk and end, and what becomes of them when one is lost.
 */
#include "kernels/world.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/host.h"
#include "kernels/world/socket.h"

enum { MOST = 4, UNTOUCHED = 100 };

/* What a process has come to, in memory that all share. */
typedef struct {
    volatile int open; /* osv_world_open's status; UNTOUCHED: not back yet */
    volatile bool told, ready;
    char error[1024];
    char lost[1024]; /* what it was to say */
    volatile double waited;
    volatile int saves;
} outcome;

typedef struct {
    int rank, size, tp;
    double timeout;
    void (*body)(osv_world *w, outcome *o); /* with the world that it has opened */
} part;

static outcome *outcomes; /* [MOST] */
static pid_t pid[MOST];
static char place[64];
static int port;

static void on_lost(void *context, const char *text, double wait)
{
    outcome *o = context;
    o->saves++;
    o->waited = wait;
    if (text) snprintf(o->lost, sizeof o->lost, "%s", text);
}

static void on_end(void *context, int status)
{
    (void)context;
    _exit(status);
}

static void play(const part *p, outcome *o)
{
    osv_error e = {0};
    osv_world *w;
    bool told;
    int lowest;
    const osv_world_settings s = {.launch = {.by = "RANK", .rank = p->rank, .size = p->size},
                                  .tp = p->tp ? p->tp : p->size,
                                  .timeout = p->timeout ? p->timeout : 20,
                                  .observer = {o, on_lost, on_end}};
    int status = osv_world_open(&w, &s, &told, &e);
    snprintf(o->error, sizeof o->error, "%s", e.text);
    o->told = told;
    o->open = status;
    if (status) _exit(status);
    if (p->body) p->body(w, o);
    osv_world_leave(w, OSV_OK, &lowest);
    _exit(osv_world_close(w) ? 0 : 1);
}

static void setup(void)
{
    int fd;
    osv_error e = {0};
    outcomes = mmap(NULL, MOST * sizeof *outcomes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < MOST; i++) outcomes[i] = (outcome){.open = UNTOUCHED};
    port = 0;
    cr_assert(!osv_socket_listen(&fd, "127.0.0.1", &port, &e), "%s", e.text);
    close(fd);
    snprintf(place, sizeof place, "127.0.0.1:%d", port);
    setenv("OSV_RENDEZVOUS", place, 1);
}

static void start(int i, part p)
{
    pid[i] = fork();
    if (pid[i] == 0) play(&p, &outcomes[i]);
}

static int wait_for(int i)
{
    int status;
    cr_assert_eq(waitpid(pid[i], &status, 0), pid[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Until all of these are where they wait. */
static void wait_until_ready(int count)
{
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 2000 && !outcomes[i].ready; k++) usleep(10000);
}

TestSuite(world, .init = setup, .timeout = 60);

/* ---- meeting, and talking ---- */

static size_t answer(void *context, int rank, const void *request, size_t bytes, void *reply)
{
    (void)context;
    memcpy(reply, request, bytes);
    return bytes + (size_t)sprintf((char *)reply + bytes, " %d", rank);
}

static void talk(osv_world *w, outcome *o)
{
    osv_error e = {0};
    int all[MOST] = {0}, own = 10 + w->rank;
    char got[OSV_MESSAGE], expected[16];
    size_t bytes;
    const osv_world_service service = {NULL, answer, NULL};
    bool good = !osv_world_agree(w, "build", "today", &e);
    if (w->rank == 0) osv_world_serve(w, &service);
    good = good && !osv_world_gather(w, osv_world_replica(w), all, &own, sizeof own, &e);
    for (int i = 0; i < w->tp; i++) good = good && all[i] == 10 + w->replica * w->tp + i;
    good = good && !osv_world_ask(w, "go", 2, got, sizeof got, &bytes, &e);
    int n = snprintf(expected, sizeof expected, "go %d", w->rank);
    good = good && bytes == (size_t)n && memcmp(got, expected, bytes) == 0;
    good = good && osv_world_agree(w, "model", w->rank == w->size - 1 ? "b" : "a", &e) == OSV_DEVICE;
    good = good && strstr(e.text, "has another model than rank 0") && w->local;
    if (!good) snprintf(o->lost, sizeof o->lost, "%s", e.text);
    o->ready = good;
}

Test(world, meets_and_talks)
{
    for (int r = MOST - 1; r >= 0; r--) start(r, (part){.rank = r, .size = MOST, .tp = 2, .body = talk});
    for (int r = 0; r < MOST; r++) {
        cr_expect_eq(wait_for(r), 0, "rank %d", r);
        cr_expect(outcomes[r].ready, "rank %d: %s%s", r, outcomes[r].error, outcomes[r].lost);
    }
}

/* One rank has no world: everything is done, or nothing is. */
Test(world, nobody_else)
{
    int x = 3, all = 0, lowest;
    osv_error e = {0};
    cr_expect_eq(osv_world_agree(NULL, "model", "a", &e), OSV_OK);
    cr_expect(osv_world_gather(NULL, (osv_group){1, 1}, &all, &x, sizeof x, &e) == OSV_OK && all == 3);
    osv_world_waits(NULL, true);
    osv_world_outside(NULL, true);
    cr_expect(osv_world_leave(NULL, OSV_OK, &lowest) && lowest == 1);
    cr_expect(osv_world_close(NULL));
}

Test(world, strangers_are_sent_away)
{
    start(0, (part){.rank = 0, .size = 2});
    int silent = -1, loud = -1;
    for (int k = 0; k < 200 && silent < 0; k++) {
        silent = osv_socket_connect("127.0.0.1", port, 1);
        if (silent < 0) usleep(10000);
    }
    loud = osv_socket_connect("127.0.0.1", port, 1);
    cr_assert(silent >= 0 && loud >= 0);
    cr_expect_gt(send(loud, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, MSG_NOSIGNAL), 0);
    start(1, (part){.rank = 1, .size = 2});
    for (int r = 0; r < 2; r++) cr_expect_eq(wait_for(r), 0, "rank %d: %s", r, outcomes[r].error);
}

/* ---- who does not meet ---- */

static void expect_failure(int i, bool told, const char *piece)
{
    const outcome *o = &outcomes[i];
    cr_expect_eq(wait_for(i), OSV_DEVICE, "process %d", i);
    cr_expect_eq(o->told, told, "process %d", i);
    cr_expect(strstr(o->error, piece), "process %d: %s", i, o->error);
}

Test(world, another_size)
{
    start(0, (part){.rank = 0, .size = 2});
    start(1, (part){.rank = 1, .size = 3});
    expect_failure(0, false, "was started as one of 3 ranks, 3 to a model, but rank 0");
    expect_failure(1, true, "was started as one of 3 ranks");
}

Test(world, a_rank_twice)
{
    start(0, (part){.rank = 0, .size = 3});
    start(1, (part){.rank = 1, .size = 3});
    start(2, (part){.rank = 1, .size = 3});
    expect_failure(0, false, "two processes were started as rank 1 of 3");
    for (int i = 1; i < 3; i++) expect_failure(i, true, "two processes were started as rank 1 of 3");
}

Test(world, a_rank_that_does_not_come)
{
    double begin = osv_host_seconds();
    start(0, (part){.rank = 0, .size = 4, .timeout = 1});
    start(1, (part){.rank = 1, .size = 4, .timeout = 1});
    expect_failure(0, false, "rank 2 of 4, and not alone, has not come to 127.0.0.1, port ");
    expect_failure(1, true, "rank 2 of 4");
    cr_expect_lt(osv_host_seconds() - begin, 5);
}

Test(world, no_rank_0)
{
    double begin = osv_host_seconds();
    start(1, (part){.rank = 1, .size = 2, .timeout = 1});
    expect_failure(1, false, "rank 1 of 2 finds no rank 0 at 127.0.0.1");
    cr_expect_lt(osv_host_seconds() - begin, 5);
}

/* Somebody listens there who says nothing. */
Test(world, a_port_that_is_taken)
{
    int fd;
    osv_error e = {0};
    double begin = osv_host_seconds();
    cr_assert(!osv_socket_listen(&fd, "127.0.0.1", &port, &e));
    start(0, (part){.rank = 0, .size = 2, .timeout = 1});
    start(1, (part){.rank = 1, .size = 2, .timeout = 1});
    expect_failure(0, false, "Address already in use; is another run there? OSV_RENDEZVOUS=host:port");
    expect_failure(1, false, "finds no rank 0");
    cr_expect_lt(osv_host_seconds() - begin, 10);
    close(fd);
}

/* ---- who is lost ---- */

static void wait_outside_of_all(osv_world *w, outcome *o)
{
    (void)w;
    o->ready = true;
    for (;;) pause();
}

static void wait_for_others(osv_world *w, outcome *o)
{
    osv_world_waits(w, true);
    wait_outside_of_all(w, o);
}

static void start_all(int size, int tp, double timeout)
{
    for (int r = 0; r < size; r++)
        start(r, (part){.rank = r, .size = size, .tp = tp, .timeout = timeout, .body = wait_outside_of_all});
    wait_until_ready(size);
}

/* Ranks that end as the ones that are left do, and the one of them that speaks. */
static void expect_end(int size, int without, int speaker, const char *piece)
{
    for (int r = 0; r < size; r++) {
        if (r == without) continue;
        cr_expect_eq(wait_for(r), OSV_DEVICE, "rank %d", r);
        if (r == speaker)
            cr_expect(strstr(outcomes[r].lost, piece), "rank %d: %s", r, outcomes[r].lost);
        else
            cr_expect_eq(outcomes[r].saves, 0, "rank %d", r);
    }
}

Test(world, a_rank_is_killed)
{
    start_all(3, 3, 20);
    double begin = osv_host_seconds();
    kill(pid[1], SIGKILL);
    cr_expect_eq(wait_for(1), 128 + SIGKILL);
    expect_end(3, 1, 0, "is lost: its process has ended");
    cr_expect_lt(osv_host_seconds() - begin, 5, "without waiting for the timeout");
}

/* The others can tell each other nothing: the first of them saves at once, the second one looks whether it
 * has. */
Test(world, rank_0_is_killed)
{
    start_all(3, 3, 20);
    kill(pid[0], SIGKILL);
    cr_expect_eq(wait_for(0), 128 + SIGKILL);
    for (int r = 1; r < 3; r++) {
        cr_expect_eq(wait_for(r), OSV_DEVICE);
        cr_expect(strstr(outcomes[r].lost, "rank 0 (host "), "rank %d: %s", r, outcomes[r].lost);
        cr_expect_eq(outcomes[r].saves, 1);
    }
    cr_expect_eq(outcomes[1].waited, 0);
    cr_expect_gt(outcomes[2].waited, 0);
}

/* And ends when it goes on, for it was given up. */
Test(world, a_rank_is_stopped)
{
    for (int stopped = 1; stopped >= 0; stopped--) {
        setup();
        start_all(3, 3, 1);
        double begin = osv_host_seconds();
        kill(pid[stopped], SIGSTOP);
        for (int r = 0; r < 3; r++)
            if (r != stopped) cr_expect_eq(wait_for(r), OSV_DEVICE, "rank %d", r);
        double taken = osv_host_seconds() - begin;
        cr_expect(taken > 0.7 && taken < 6, "%g s", taken);
        cr_expect(strstr(outcomes[!stopped].lost, "nothing was heard of it for 1 s"), "%s",
                  outcomes[!stopped].lost);
        kill(pid[stopped], SIGCONT);
        cr_expect_eq(wait_for(stopped), OSV_DEVICE);
        cr_expect_eq(outcomes[stopped].saves, 0, "what it had is old");
    }
}

Test(world, a_rank_keeps_the_others_waiting)
{
    for (int r = 0; r < 3; r++)
        start(r, (part){.rank = r,
                        .size = 3,
                        .timeout = 1,
                        .body = r == 1 ? wait_outside_of_all : wait_for_others});
    wait_until_ready(3);
    for (int r = 0; r < 3; r++)
        if (r != 1) cr_expect_eq(wait_for(r), OSV_DEVICE);
    cr_expect(strstr(outcomes[0].lost, "rank 1 (host "), "%s", outcomes[0].lost);
    cr_expect(strstr(outcomes[0].lost, "the others have waited for it for 1 s"), "%s", outcomes[0].lost);
    cr_expect_eq(wait_for(1), OSV_DEVICE, "it ends as well");
}

static void wait_a_while(osv_world *w, outcome *o)
{
    (void)w;
    o->ready = true;
    sleep(3);
}

/* Another replica goes on, and hears at the end that not all are there. */
Test(world, a_replica_is_lost)
{
    for (int r = 0; r < 4; r++)
        start(r, (part){.rank = r,
                        .size = 4,
                        .tp = 2,
                        .timeout = 20,
                        .body = r < 2 ? wait_a_while : wait_outside_of_all});
    wait_until_ready(4);
    kill(pid[2], SIGKILL);
    cr_expect_eq(wait_for(2), 128 + SIGKILL);
    cr_expect_eq(wait_for(3), OSV_DEVICE);
    cr_expect(strstr(outcomes[3].lost, "rank 2 (host "), "%s", outcomes[3].lost);
    for (int r = 0; r < 2; r++) {
        cr_expect_eq(wait_for(r), 1, "osv_world_close says so");
        cr_expect_eq(outcomes[r].saves, 0);
    }
}

static void fail_alone(osv_world *w, outcome *o)
{
    int lowest;
    o->ready = true;
    _exit(osv_world_leave(w, OSV_BAD_INPUT, &lowest) ? 99 : OSV_BAD_INPUT);
}

Test(world, a_rank_fails_alone)
{
    for (int r = 0; r < 3; r++)
        start(r, (part){.rank = r, .size = 3, .body = r == 1 ? fail_alone : wait_outside_of_all});
    wait_until_ready(3);
    for (int r = 0; r < 3; r++) cr_expect_eq(wait_for(r), OSV_BAD_INPUT, "rank %d", r);
    cr_expect_eq(outcomes[0].saves, 1);
    cr_expect_eq(outcomes[0].lost[0], '\0', "the one that failed says it");
    cr_expect_eq(outcomes[2].saves, 0);
}
