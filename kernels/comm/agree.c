/* Decisions that every rank has to take alike. */
#include <string.h>
#include <unistd.h>

#include "kernels/comm.h"

/* What every rank has to say; where it cannot be heard any more, what this one has. */
static void hear(osv_comm *c, long long all[OSV_RANKS], long long x)
{
    for (int r = 0; r < c->size; r++) all[r] = x;
    c->exchange(c, all, &x, sizeof x);
}

size_t osv_comm_least(osv_comm *c, size_t x)
{
    long long all[OSV_RANKS], least = (long long)x;
    hear(c, all, least);
    for (int r = 0; r < c->size; r++)
        if (all[r] < least) least = all[r];
    return (size_t)least;
}

int osv_comm_most(osv_comm *c, int x)
{
    long long all[OSV_RANKS], most = x;
    hear(c, all, most);
    for (int r = 0; r < c->size; r++)
        if (all[r] > most) most = all[r];
    return (int)most;
}

long long osv_comm_told(osv_comm *c, long long x)
{
    long long all[OSV_RANKS];
    hear(c, all, x);
    return all[0];
}

int osv_comm_neighbours(osv_comm *c)
{
    enum { NAME = 64 };
    static char all[OSV_RANKS][NAME];
    char own[NAME] = "";
    int count = 0;
    gethostname(own, sizeof own - 1);
    for (int r = 0; r < c->size; r++) memcpy(all[r], own, sizeof own);
    c->exchange(c, all, own, sizeof own);
    for (int r = 0; r < c->size; r++) count += memcmp(all[r], own, sizeof own) == 0;
    return count;
}
