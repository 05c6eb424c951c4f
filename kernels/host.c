#include "kernels/host.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

double osv_host_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void osv_host_processor(char *name, size_t room)
{
    snprintf(name, room, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, room, "%s", colon + (colon[1] == ' ' ? 2 : 1));
        break;
    }
    if (f) fclose(f);
}
