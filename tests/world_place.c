/* Where ranks meet, by what launchers put into the environment (kernels/world/place.h). */
#include "kernels/world/place.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "kernels/comm_filling.h"
#include "kernels/world/socket.h"

enum { MOST = 8 };

static const char *const *environment; /* name, value, name, value, ..., NULL */

static char *get(const char *name)
{
    for (const char *const *at = environment; *at; at += 2)
        if (strcmp(at[0], name) == 0) return (char *)(uintptr_t)at[1];
    return NULL;
}

#define SLURM "SLURM_JOB_ID", "12", "SLURM_STEP_ID", "3"

static const struct {
    const char *by, *environment[2 * MOST], *host;
    int port; /* 0: one made from a job's number */
} rows[] = {
    {"torchrun", {"MASTER_ADDR", "node1", "MASTER_PORT", "29500"}, "node1", 29500},
    {"torchrun",
     {"MASTER_ADDR", "node1", "MASTER_PORT", "29500", "TORCHELASTIC_USE_AGENT_STORE", "True"},
     "node1",
     29501},
    {"torchrun",
     {"MASTER_ADDR", "node1", "MASTER_PORT", "29500", "OSV_RENDEZVOUS", "node2,10.0.0.1:7000"},
     "node2,10.0.0.1",
     7000},
    {"mpirun", {"OSV_RENDEZVOUS", "[fd00::1]:7000"}, "fd00::1", 7000},
    {"srun", {"SLURM_STEP_NODELIST", "n[07-09,11]", SLURM}, "n07", 0},
    {"srun", {"SLURM_STEP_NODELIST", "n07", "SLURM_STEP_NUM_NODES", "1", SLURM}, "127.0.0.1", 0},
};

Test(world_place, by_launcher)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        osv_error e = {0};
        osv_place p;
        const osv_launch l = {.by = rows[i].by, .rank = 1, .size = 2};
        environment = rows[i].environment;
        cr_assert_eq(osv_place_find(&p, &l, get, &e), OSV_OK, "%zu: %s", i, e.text);
        cr_expect_str_eq(p.host, rows[i].host, "%zu: %s", i, p.host);
        cr_expect(rows[i].port ? p.port == rows[i].port : p.port >= 20000 && p.port < 32000, "%zu: %d", i,
                  p.port);
        cr_expect(!p.by_mpi && p.listening < 0);
    }
}

/* Steps meet at ports, and with words, of their own. */
Test(world_place, steps)
{
    const char *const one[] = {"SLURM_STEP_NODELIST", "a", SLURM, NULL};
    const char *const two[] = {"SLURM_STEP_NODELIST", "a", "SLURM_JOB_ID", "12", "SLURM_STEP_ID", "4", NULL};
    const osv_launch l = {.by = "srun", .size = 2};
    osv_place a, b;
    osv_error e = {0};
    environment = one;
    cr_assert_eq(osv_place_find(&a, &l, get, &e), OSV_OK);
    environment = two;
    cr_assert_eq(osv_place_find(&b, &l, get, &e), OSV_OK);
    cr_expect(a.port != b.port && strcmp(a.token, b.token) != 0);
}

Test(world_place, by_mpi)
{
    const char *const nothing[] = {NULL};
    const osv_launch l = {.by = "mpirun", .size = 2, .mpi = true};
    osv_place p;
    osv_error e = {0};
    environment = nothing;
    int status = osv_place_find(&p, &l, get, &e);
    if (osv_mpi_filling_there())
        cr_expect(status == OSV_OK && p.by_mpi);
    else
        cr_expect(status == OSV_USAGE && strstr(e.text, "OSV_RENDEZVOUS=host:port"));
}

/* Rank 0 alone gets the socket that --tp has opened. */
Test(world_place, socket_that_is_there)
{
    const char *const tp[] = {"OSV_RENDEZVOUS", "127.0.0.1:7000", "OSV_RENDEZVOUS_FD", "5", NULL};
    osv_launch l = {.by = "--tp", .size = 2};
    osv_place p;
    osv_error e = {0};
    environment = tp;
    cr_assert_eq(osv_place_find(&p, &l, get, &e), OSV_OK);
    cr_expect_eq(p.listening, 5);
    l.rank = 1;
    cr_assert_eq(osv_place_find(&p, &l, get, &e), OSV_OK);
    cr_expect_eq(p.listening, -1);
}

static const struct {
    const char *by, *environment[2 * MOST], *piece;
} broken[] = {
    {"RANK", {"MASTER_ADDR", "a"}, "but not MASTER_ADDR and MASTER_PORT"},
    {"torchrun", {"MASTER_ADDR", "a", "MASTER_PORT", "x"}, "MASTER_PORT=x"},
    {"torchrun", {"OSV_RENDEZVOUS", "host"}, "expected host:port"},
    {"torchrun", {"OSV_RENDEZVOUS", "host:70000"}, "OSV_RENDEZVOUS=70000"},
    {"srun", {"SLURM_JOB_ID", "12"}, "do not say where"},
};

Test(world_place, what_cannot_be_understood)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        osv_error e = {0};
        osv_place p;
        const osv_launch l = {.by = broken[i].by, .size = 2};
        environment = broken[i].environment;
        cr_expect_eq(osv_place_find(&p, &l, get, &e), OSV_USAGE, "%zu", i);
        cr_expect(strstr(e.text, broken[i].piece), "%zu: %s", i, e.text);
    }
}

Test(world_place, first_node)
{
    static const char *const lists[][2] = {{"a", "a"},
                                           {"a,b", "a"},
                                           {"gpu[003-005,9]", "gpu003"},
                                           {"gpu[3,5]-ib,x[1-2]", "gpu3-ib"},
                                           {"gpu[7]", "gpu7"},
                                           {"gpu[7", "gpu7"},
                                           {"", ""}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char name[32];
        osv_place_first_node(name, sizeof name, lists[i][0]);
        cr_expect_str_eq(name, lists[i][1]);
    }
}

Test(world_place, hosts_in_turn)
{
    char name[16];
    cr_expect(osv_place_host(name, sizeof name, "a,bc", 0) && strcmp(name, "a") == 0);
    cr_expect(osv_place_host(name, sizeof name, "a,bc", 1) && strcmp(name, "bc") == 0);
    cr_expect(!osv_place_host(name, sizeof name, "a,bc", 2));
}

Test(world_place, addresses)
{
    char text[512], one[64];
    osv_socket_addresses(text, sizeof text);
    cr_expect(osv_place_host(one, sizeof one, text, 0), "there is always one");
    osv_socket_addresses(text, 4);
    cr_expect_lt(strlen(text), 4u);
    cr_expect(osv_socket_is_loopback("127.0.1.1") && osv_socket_is_loopback("localhost"));
    cr_expect(!osv_socket_is_loopback("10.0.0.1"));
}
