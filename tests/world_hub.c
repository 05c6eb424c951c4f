/* Rank 0's part of a world, without sockets and clocks: what it tells whom, and when. */
#include "kernels/world/hub.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RANKS = 4, ROOM = 1024, TIMEOUT = 10 };

static const char host[RANKS][OSV_HOST] = {"a", "a", "b", "b"};

/* What a rank was told last, of each kind, and how often. */
typedef struct {
    int count;
    size_t bytes;
    char data[ROOM];
} told;

typedef struct {
    osv_hub *hub;
    told to[RANKS][OSV_END + 1];
    int lost; /* replicas that the service has heard of, as bits */
} fixture;

static void tell(void *context, int rank, uint32_t kind, const void *data, size_t bytes)
{
    told *t = &((fixture *)context)->to[rank][kind];
    t->count++;
    t->bytes = bytes;
    if (bytes > 0) memcpy(t->data, data, bytes);
    t->data[bytes] = '\0';
}

static void start(fixture *f, int size, int tp)
{
    *f = (fixture){0};
    f->hub = osv_hub_open(size, tp, TIMEOUT, host, tell, f, 0);
    cr_assert(f->hub);
}

static void hear(fixture *f, int rank, uint32_t kind, const void *data, size_t bytes, double now)
{
    osv_hub_receive(f->hub, rank, &(osv_frame){kind, bytes, data}, now);
}

static void beat(fixture *f, int rank, double waiting, int outside, double now)
{
    const osv_beat b = {waiting, outside};
    hear(f, rank, OSV_BEAT, &b, sizeof b, now);
}

static void leave(fixture *f, int rank, int status, double now)
{
    hear(f, rank, OSV_LEAVE, &status, sizeof status, now);
}

/* The osv_last_words of a rank, and the text behind them. */
static void expect_lost(const fixture *f, int rank, bool saves, bool speaks, const char *piece)
{
    const told *t = &f->to[rank][OSV_LOST];
    osv_last_words words;
    cr_assert_gt(t->count, 0, "rank %d is told nothing", rank);
    memcpy(&words, t->data, sizeof words);
    cr_expect_eq(words.saves, saves, "rank %d: saves", rank);
    cr_expect_eq(words.speaks, speaks, "rank %d: speaks", rank);
    cr_expect(!piece || strstr(t->data + sizeof words, piece), "rank %d: %s", rank, t->data + sizeof words);
}

static void expect_two(const fixture *f, int rank, uint32_t kind, int first, int second)
{
    const told *t = &f->to[rank][kind];
    int words[2] = {-1, -1};
    cr_assert_eq(t->count, 1, "rank %d: kind %u, %d times", rank, kind, t->count);
    if (t->bytes == sizeof words) memcpy(words, t->data, sizeof words);
    cr_expect(words[0] == first && words[1] == second, "rank %d: %d %d", rank, words[0], words[1]);
}

static void expect_silent(const fixture *f, uint32_t kind)
{
    for (int r = 0; r < RANKS; r++) cr_expect_eq(f->to[r][kind].count, 0, "rank %d: kind %u", r, kind);
}

/* ---- lost ---- */

Test(world_hub, silence)
{
    fixture f;
    start(&f, 3, 3);
    for (int now = 1; now <= TIMEOUT + 1; now++) {
        beat(&f, 1, 0, 0, now);
        osv_hub_look(f.hub, now);
        if (now <= TIMEOUT) expect_silent(&f, OSV_LOST);
    }
    expect_lost(&f, 0, true, true, "rank 2 (host b) is lost: nothing was heard of it for 10 s");
    expect_lost(&f, 1, false, false, NULL);
    cr_expect_eq(f.to[2][OSV_LOST].count, 0);
    cr_expect(osv_hub_is_lost(f.hub, 2));
    osv_hub_look(f.hub, TIMEOUT + 2);
    expect_silent(&f, OSV_END);
    hear(&f, 0, OSV_SAVED, NULL, 0, TIMEOUT + 2);
    osv_hub_look(f.hub, TIMEOUT + 2);
    expect_two(&f, 0, OSV_END, OSV_DEVICE, true);
    expect_two(&f, 1, OSV_END, OSV_DEVICE, true);
    osv_hub_close(f.hub);
}

/* A process that was stopped has heard nobody, and cannot tell. */
Test(world_hub, forgiven)
{
    fixture f;
    start(&f, 2, 2);
    osv_hub_forgive(f.hub, 100);
    osv_hub_look(f.hub, 100 + TIMEOUT);
    expect_silent(&f, OSV_LOST);
    osv_hub_look(f.hub, 101 + TIMEOUT);
    expect_lost(&f, 0, true, true, "rank 1");
    osv_hub_close(f.hub);
}

Test(world_hub, how_a_connection_ends)
{
    fixture f;
    start(&f, 3, 3);
    osv_hub_closed(f.hub, 1, EHOSTUNREACH, 1);
    expect_lost(&f, 0, true, true, "rank 1 (host a) is lost: the connection to it broke: ");
    osv_hub_closed(f.hub, 2, 0, 1); /* and then another one: said once */
    hear(&f, 0, OSV_SAVED, NULL, 0, 2);
    osv_hub_look(f.hub, 2);
    expect_two(&f, 0, OSV_END, OSV_DEVICE, true);
    cr_expect_eq(f.to[2][OSV_END].count, 0);
    osv_hub_close(f.hub);
}

/* A host, with all its ranks: who saves is told once, and keeps the words. */
Test(world_hub, several_are_lost_at_once)
{
    fixture f;
    start(&f, 4, 4);
    osv_hub_closed(f.hub, 2, 0, 1);
    osv_hub_closed(f.hub, 3, 0, 1);
    cr_expect_eq(f.to[0][OSV_LOST].count, 1);
    expect_lost(&f, 0, true, true, "rank 2 (host b) is lost");
    expect_lost(&f, 1, false, false, NULL);
    osv_hub_close(f.hub);
}

/* Replica 1, whose lowest rank is gone before it has saved: the next one does. */
Test(world_hub, who_saves_may_be_lost_as_well)
{
    fixture f;
    start(&f, 4, 2);
    osv_hub_closed(f.hub, 3, 0, 1);
    expect_lost(&f, 2, true, true, "rank 3 (host b) is lost: its process has ended");
    osv_hub_closed(f.hub, 2, 0, 2);
    for (int r = 0; r < 2; r++) cr_expect_eq(f.to[r][OSV_LOST].count, 0, "replica 0 goes on");
    osv_hub_close(f.hub);

    start(&f, 3, 3);
    osv_hub_closed(f.hub, 1, 0, 1);
    cr_expect_eq(f.to[0][OSV_LOST].count, 1);
    osv_hub_look(f.hub, 19);
    expect_silent(&f, OSV_END);
    beat(&f, 2, 0, 0, 19);
    osv_hub_look(f.hub, 22); /* it takes too long */
    expect_two(&f, 0, OSV_END, OSV_DEVICE, true);
    osv_hub_close(f.hub);
}

/* ---- waiting for each other ---- */

Test(world_hub, who_keeps_others_waiting)
{
    fixture f;
    start(&f, 3, 3);
    beat(&f, 0, 11, 0, 5);
    beat(&f, 1, 0, 0, 5);
    beat(&f, 2, 9, 0, 5);
    osv_hub_look(f.hub, 5);
    expect_lost(&f, 0, true, true, "rank 1 (host a) is lost: the others have waited for it for 10 s");
    expect_lost(&f, 2, false, false, NULL);
    osv_hub_close(f.hub);
}

Test(world_hub, who_waits_for_files_may)
{
    fixture f;
    start(&f, 2, 2);
    beat(&f, 0, 0, 1, 5);
    beat(&f, 1, 100, 0, 5);
    osv_hub_look(f.hub, 5);
    beat(&f, 0, 3, 0, 6);
    beat(&f, 1, 9, 0, 6);
    osv_hub_look(f.hub, 6);
    expect_silent(&f, OSV_LOST);
    beat(&f, 0, 11, 0, 7);
    beat(&f, 1, 11, 0, 7);
    osv_hub_look(f.hub, 7);
    expect_lost(&f, 0, true, true, "ranks 0 to 1 have waited for each other for 10 s");
    osv_hub_close(f.hub);
}

/* ---- leaving ---- */

Test(world_hub, all_leave)
{
    fixture f;
    start(&f, 4, 2);
    leave(&f, 1, OSV_OK, 1);
    expect_silent(&f, OSV_REPLY);
    leave(&f, 0, OSV_OK, 2);
    expect_two(&f, 0, OSV_REPLY, true, 2);
    expect_two(&f, 1, OSV_REPLY, true, 2);
    osv_hub_look(f.hub, 3);
    expect_silent(&f, OSV_END); /* of replica 1 */
    leave(&f, 2, OSV_BAD_INPUT, 4);
    leave(&f, 3, OSV_BAD_INPUT, 4);
    expect_two(&f, 2, OSV_REPLY, true, 0);
    expect_two(&f, 3, OSV_REPLY, true, 0);
    osv_hub_look(f.hub, 5);
    for (int r = 0; r < 4; r++) expect_two(&f, r, OSV_END, OSV_OK, false);
    osv_hub_closed(f.hub, 3, 0, 6);
    expect_silent(&f, OSV_LOST);
    osv_hub_close(f.hub);
}

/* The one that failed has the message, the others save and end with its status. */
Test(world_hub, one_fails_alone)
{
    fixture f;
    start(&f, 3, 3);
    leave(&f, 1, OSV_BAD_INPUT, 1);
    osv_hub_look(f.hub, 2);
    expect_silent(&f, OSV_LOST);
    osv_hub_look(f.hub, 4);
    expect_lost(&f, 0, true, false, NULL);
    expect_lost(&f, 2, false, false, NULL);
    cr_expect_eq(f.to[1][OSV_LOST].count, 0);
    expect_silent(&f, OSV_REPLY);
    hear(&f, 0, OSV_SAVED, NULL, 0, 5);
    osv_hub_look(f.hub, 5);
    expect_two(&f, 1, OSV_REPLY, false, 0);
    expect_two(&f, 0, OSV_END, OSV_BAD_INPUT, true);
    expect_two(&f, 2, OSV_END, OSV_BAD_INPUT, true);
    osv_hub_close(f.hub);
}

/* One that is lost after its replica has left is missed by those that wait for the end of all. */
Test(world_hub, lost_after_leaving)
{
    fixture f;
    start(&f, 4, 2);
    leave(&f, 2, OSV_OK, 1);
    leave(&f, 3, OSV_OK, 1);
    osv_hub_closed(f.hub, 3, 0, 2);
    expect_silent(&f, OSV_LOST);
    leave(&f, 0, OSV_OK, 3);
    leave(&f, 1, OSV_OK, 3);
    osv_hub_look(f.hub, 3);
    for (int r = 0; r < 3; r++) expect_two(&f, r, OSV_END, OSV_OK, true);
    osv_hub_close(f.hub);
}

/* ---- replicas, and what they ask ---- */

static size_t answer(void *context, int rank, const void *request, size_t bytes, void *reply)
{
    (void)context;
    return (size_t)sprintf(reply, "%d asks %.*s", rank, (int)bytes, (const char *)request);
}

static void note_lost(void *context, int replica)
{
    ((fixture *)context)->lost |= 1 << replica;
}

Test(world_hub, asking)
{
    fixture f;
    start(&f, 4, 2);
    const osv_world_service service = {&f, answer, note_lost};
    hear(&f, 2, OSV_ASK, "early", 5, 1);
    expect_silent(&f, OSV_REPLY);
    osv_hub_serve(f.hub, &service);
    cr_expect_str_eq(f.to[2][OSV_REPLY].data, "2 asks early");
    hear(&f, 0, OSV_ASK, "me", 2, 2);
    cr_expect_str_eq(f.to[0][OSV_REPLY].data, "0 asks me");
    osv_hub_closed(f.hub, 3, 0, 3);
    osv_hub_look(f.hub, 3);
    cr_expect_eq(f.lost, 0, "it may still save");
    hear(&f, 2, OSV_SAVED, NULL, 0, 4);
    osv_hub_look(f.hub, 4);
    cr_expect_eq(f.lost, 1 << 1);
    hear(&f, 1, OSV_ASK, "on", 2, 4);
    cr_expect_str_eq(f.to[1][OSV_REPLY].data, "1 asks on");
    cr_expect_eq(f.to[0][OSV_LOST].count, 0);
    osv_hub_close(f.hub);
}

/* Rank 0 keeps what the others ask for: with its replica all end, and one rank says why. */
Test(world_hub, replica_of_rank_0)
{
    fixture f;
    start(&f, 4, 2);
    osv_hub_closed(f.hub, 1, 0, 1);
    expect_lost(&f, 0, true, true, "rank 1");
    expect_lost(&f, 2, true, false, NULL);
    expect_lost(&f, 3, false, false, NULL);
    hear(&f, 0, OSV_SAVED, NULL, 0, 2);
    osv_hub_look(f.hub, 2);
    expect_silent(&f, OSV_END); /* rank 0 is the last one: it tells the others */
    hear(&f, 2, OSV_SAVED, NULL, 0, 3);
    osv_hub_look(f.hub, 3);
    osv_hub_look(f.hub, 4);
    for (int r = 0; r < 4; r++)
        if (r != 1) expect_two(&f, r, OSV_END, OSV_DEVICE, true);
    osv_hub_serve(f.hub, &(osv_world_service){&f, answer, note_lost});
    cr_expect_eq(f.lost, 3, "what serves later hears of it, too");
    osv_hub_close(f.hub);
}

/* ---- agreement ---- */

static void say(fixture *f, int rank, const char *what, const char *value)
{
    char frame[256];
    int n = snprintf(frame, sizeof frame, "%s%c%s", what, '\0', value);
    hear(f, rank, OSV_AGREE, frame, (size_t)n + 1, 1);
}

Test(world_hub, agreement)
{
    fixture f;
    start(&f, 3, 3);
    for (int r = 0; r < 3; r++) say(&f, r, "build", "1.0 of today");
    for (int r = 0; r < 3; r++) cr_expect(f.to[r][OSV_REPLY].count == 1 && f.to[r][OSV_REPLY].bytes == 0);
    say(&f, 2, "command line", "--lr 0.1 --layer 4");
    say(&f, 0, "command line", "--lr 0.1 --layer 3");
    say(&f, 1, "command line", "--lr 0.1 --layer 3");
    for (int r = 0; r < 3; r++)
        cr_expect_str_eq(f.to[r][OSV_REPLY].data,
                         "rank 2 (host b) has another command line than rank 0 (host a): 4, not 3");
    say(&f, 0, "model", "abc");
    say(&f, 1, "build", "abc");
    say(&f, 2, "model", "abc");
    cr_expect_str_eq(f.to[1][OSV_REPLY].data,
                     "rank 1 (host a) has come to its build, but rank 0 (host a) to its model");
    osv_hub_close(f.hub);
}

/* One that is lost is not waited for: its replica ends, the other one goes on. */
Test(world_hub, agreement_without_the_lost)
{
    fixture f;
    start(&f, 4, 2);
    for (int r = 0; r < 3; r++) say(&f, r, "model", "abc");
    expect_silent(&f, OSV_REPLY);
    osv_hub_closed(f.hub, 3, 0, 2);
    for (int r = 0; r < 2; r++) cr_expect_eq(f.to[r][OSV_REPLY].count, 1);
    osv_hub_close(f.hub);
}

static void gather(fixture *f, int rank, osv_group g, char blob)
{
    char frame[1 + sizeof g] = {blob};
    memcpy(frame + 1, &g, sizeof g);
    hear(f, rank, OSV_GATHER, frame, sizeof frame, 1);
}

Test(world_hub, gathering)
{
    static const osv_group neighbours = {2, 1}, across = {2, 2};
    fixture f;
    start(&f, 4, 2);
    gather(&f, 3, neighbours, 'd');
    gather(&f, 0, neighbours, 'a');
    expect_silent(&f, OSV_REPLY);
    gather(&f, 2, neighbours, 'c');
    cr_expect_str_eq(f.to[2][OSV_REPLY].data, "cd");
    cr_expect_str_eq(f.to[3][OSV_REPLY].data, "cd");
    gather(&f, 1, neighbours, 'b');
    cr_expect_str_eq(f.to[0][OSV_REPLY].data, "ab");
    for (int r = 3; r >= 0; r--) gather(&f, r, across, (char)('a' + r));
    cr_expect_str_eq(f.to[0][OSV_REPLY].data, "ac");
    cr_expect_str_eq(f.to[3][OSV_REPLY].data, "bd");
    osv_hub_close(f.hub);
}
