#include "bench/report.h"
#include "bench/timing.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kernels/backend.h"
#include "version.h" /* made by meson: the commit */

/* What nvidia-smi says to a query, its first line; false where it says nothing, as where there is none. */
static bool ask(const char *query, int device, char *answer, int room)
{
    char command[256];
    snprintf(command, sizeof command, "nvidia-smi -i %d --query-gpu=%s --format=csv,noheader 2>/dev/null",
             device < 0 ? 0 : device, query);
    FILE *f = popen(command, "re");
    if (!f) return false;
    bool said = fgets(answer, room, f);
    bool well = pclose(f) == 0;
    answer[said ? strcspn(answer, "\n") : 0] = '\0';
    return said && well;
}

static void print_gpu(const osv_ops *o, const char *when, int device)
{
    static const char *const reasons[] = {"clocks_event_reasons.active", "clocks_throttle_reasons.active"};
    char state[256];
    if (!osv_on_device(o)) return;
    if (strcmp(when, "before") == 0 &&
        ask("name,driver_version,clocks.max.sm,clocks.max.memory,power.limit", device, state, sizeof state))
        printf("# gpu (name, driver, most SM and memory clock, power limit): %s\n", state);
    if (!ask("clocks.sm,clocks.mem,temperature.gpu,power.draw", device, state, sizeof state)) return;
    printf("# gpu %s (SM and memory clock, degrees, power", when);
    char reason[64] = "";
    for (int i = 0; i < 2 && !*reason; i++)
        if (!ask(reasons[i], device, reason, sizeof reason)) *reason = '\0';
    printf("%s): %s%s%s\n", *reason ? ", throttling" : "", state, *reason ? ", " : "", reason);
}

/* What a processor's name may leave out: "family 25, model 1, avx2". */
static void describe_processor(char *text, size_t room)
{
    char line[4096], family[16] = "?", model[16] = "?";
    const char *vectors = "";
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f) && strcmp(line, "\n") != 0) {
        sscanf(line, "cpu family : %15s", family);
        sscanf(line, "model : %15s", model);
        if (strncmp(line, "flags", 5) == 0)
            vectors = strstr(line, " avx512f") ? ", avx512" : strstr(line, " avx2") ? ", avx2" : "";
    }
    if (f) fclose(f);
    snprintf(text, room, "family %s, model %s%s", family, model, vectors);
}

void bench_report_start(const osv_ops *o, const char *program, int threads, int device)
{
    char date[32], processor[64];
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &utc));
    printf("# program: %s %s, commit %s\n", program, OSV_VERSION, OSV_COMMIT);
    describe_processor(processor, sizeof processor);
    printf("# hardware: %s%s%s\n", o->hardware, osv_on_device(o) ? "; host: " : ", ", processor);
    printf("# backend: %s, %s", o->name, o->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32");
    if (osv_on_device(o))
        printf(", CUDA %s\n", osv_backend_cuda());
    else
        printf(", %d thread%s, BLAS %s\n", threads, threads == 1 ? "" : "s", osv_backend_blas());
    printf("# date: %s\n", date);
    print_gpu(o, "before", device);
}

void bench_report_rates(const osv_ops *o, osv_rates r)
{
    printf("# rates: matmul %.1f GFLOP/s, %s %.2f GB/s\n", 1e-9 * r.flops,
           osv_on_device(o) ? "copying" : "reading", 1e-9 * r.bandwidth);
    fflush(stdout);
}

void bench_report_end(const osv_ops *o, int device)
{
    print_gpu(o, "after", device);
}
