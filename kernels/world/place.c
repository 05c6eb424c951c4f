#include "kernels/world/place.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/comm_filling.h"

enum { PORTS_FROM = 20000, PORTS = 12000 }; /* below those that Linux hands out by itself */

static int read_port(int *port, const char *name, const char *text, osv_error *e)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 1 || value > 65535)
        return OSV_FAIL(e, OSV_USAGE, "%s=%s in the environment: that is no port", name, text);
    *port = (int)value;
    return OSV_OK;
}

/* "host:port", "[::1]:port" */
static int read_place(osv_place *p, const char *text, osv_error *e)
{
    const char *colon = strrchr(text, ':'), *from = text, *to = colon;
    if (!colon || colon == text)
        return OSV_FAIL(e, OSV_USAGE, "OSV_RENDEZVOUS=%s in the environment: expected host:port", text);
    if (*from == '[' && to[-1] == ']') from++, to--;
    snprintf(p->host, sizeof p->host, "%.*s", (int)(to - from), from);
    return read_port(&p->port, "OSV_RENDEZVOUS", colon + 1, e);
}

void osv_place_first_node(char *name, size_t room, const char *list)
{
    size_t head = strcspn(list, "[,");
    if (list[head] != '[') {
        snprintf(name, room, "%.*s", (int)head, list);
        return;
    }
    const char *number = list + head + 1, *end = strchr(number, ']'), *tail = end ? end + 1 : "";
    snprintf(name, room, "%.*s%.*s%.*s", (int)head, list, (int)strcspn(number, "-,]"), number,
             (int)strcspn(tail, ",["), tail);
}

static bool is_set(char *(*get)(const char *name), const char *name, const char *value)
{
    const char *is = get(name);
    return is && strcmp(is, value) == 0;
}

static int by_torchrun(osv_place *p, char *(*get)(const char *name), osv_error *e)
{
    const char *host = get("MASTER_ADDR"), *port = get("MASTER_PORT"), *run = get("TORCHELASTIC_RUN_ID");
    if (!host || !port)
        return OSV_FAIL(e, OSV_USAGE,
                        "RANK and WORLD_SIZE are set, but not MASTER_ADDR and MASTER_PORT; set them, or "
                        "OSV_RENDEZVOUS=host:port, or start this with torchrun");
    snprintf(p->host, sizeof p->host, "%s", host);
    snprintf(p->token, sizeof p->token, "torchrun %s", run ? run : "");
    OSV_TRY(read_port(&p->port, "MASTER_PORT", port, e));
    p->port += is_set(get, "TORCHELASTIC_USE_AGENT_STORE", "True");
    return OSV_OK;
}

static int by_srun(osv_place *p, char *(*get)(const char *name), osv_error *e)
{
    const char *nodes = get("SLURM_STEP_NODELIST"), *job = get("SLURM_JOB_ID"), *step = get("SLURM_STEP_ID");
    uint32_t hash = 2166136261u; /* FNV-1a */
    if (!nodes || !job || !step)
        return OSV_FAIL(e, OSV_USAGE,
                        "srun started this, but SLURM_STEP_NODELIST, SLURM_JOB_ID and SLURM_STEP_ID do not "
                        "say where; set OSV_RENDEZVOUS=host:port");
    snprintf(p->token, sizeof p->token, "srun %s.%s", job, step);
    for (const char *c = p->token; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    p->port = PORTS_FROM + (int)(hash % PORTS);
    osv_place_first_node(p->host, sizeof p->host,
                         is_set(get, "SLURM_STEP_NUM_NODES", "1") ? "127.0.0.1" : nodes);
    return OSV_OK;
}

int osv_place_find(osv_place *p, const osv_launch *l, char *(*get)(const char *name), osv_error *e)
{
    const char *given = get("OSV_RENDEZVOUS"), *listening = get("OSV_RENDEZVOUS_FD");
    *p = (osv_place){.listening = -1};
    if (listening && l->rank == 0) p->listening = atoi(listening);
    if (given) return read_place(p, given, e);
    if (strcmp(l->by, "torchrun") == 0 || strcmp(l->by, "RANK") == 0) return by_torchrun(p, get, e);
    p->by_mpi = osv_mpi_filling_there() && l->mpi;
    if (p->by_mpi) return OSV_OK;
    if (strcmp(l->by, "srun") == 0) return by_srun(p, get, e);
    return OSV_FAIL(e, OSV_USAGE,
                    "mpirun started this, but this build has no MPI: say where rank 0 is, with "
                    "OSV_RENDEZVOUS=host:port");
}

bool osv_place_host(char *name, size_t room, const char *hosts, int i)
{
    for (; i > 0 && *hosts; i--) {
        hosts += strcspn(hosts, ",");
        hosts += *hosts == ',';
    }
    snprintf(name, room, "%.*s", (int)strcspn(hosts, ","), hosts);
    return *name;
}
