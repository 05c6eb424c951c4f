/* Runs every case of the operators on the emulated CUDA backend, for the thread sanitizer: it knows the lanes
 * of a block as threads, ordered by __syncthreads and __syncwarp alone, and finds what races between them
 * even where the result is right. First it has to find races that are there. Prints TAP. */
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "tests/emu/device_emu.h"
#include "tests/emu/faults.h"
#include "tests/op_cases.h"

static int number, failures, races;

/* Called by the sanitizer after each report. */
void __tsan_on_report(void *report);
void __tsan_on_report(void *report)
{
    (void)report;
    races++;
}

/* The count of reports decides, not the exit status; blocks use the same shared memory again and again, so a
 * race at an address that has been reported counts too. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "exitcode=0:suppress_equal_addresses=0";
}

static void finds(osv_device *d, fault kind, const char *name)
{
    races = 0;
    float *out = osv_device_alloc(d, FAULT_NUMBERS * sizeof *out);
    fault_launch(d, kind, out);
    osv_device_sync(d, 0);
    osv_device_free(d, out);
    failures += races == 0;
    printf("%sok %d - finds %s\n", races ? "" : "not ", ++number, name);
}

static void run(osv_ops *o, const op_kind *kind)
{
    int cases = 0;
    races = 0;
    for (int list = 0; op_case_lists[list]; list++)
        for (const op_case *at = op_case_lists[list]; at->kind; at++) {
            op_call c;
            if (at->kind != kind) continue;
            op_call_make(&c, at->kind, at->shape, o);
            op_call_run(&c);
            op_call_free(&c);
            cases++;
        }
    bool passed = osv_ops_status(o) == OSV_OK && races == 0;
    failures += !passed;
    printf("%sok %d - %s: %d cases, %d races %s\n", passed ? "" : "not ", ++number, kind->name, cases, races,
           o->error->text);
}

int main(void)
{
    osv_error error = {0};
    osv_ops *o;
    if (osv_emu_open(&o, OSV_DTYPE_BF16, &error)) {
        printf("1..1\nnot ok 1 - open: %s\n", error.text);
        return 1;
    }
    osv_device *d = osv_cuda_device(o);
    finds(d, FAULT_NO_BARRIER_BEFORE_READ, "a missing barrier before a read");
    finds(d, FAULT_NO_BARRIER_BEFORE_OVERWRITE, "a missing barrier before an overwrite");
    finds(d, FAULT_ALL_WRITE_THE_SAME, "threads that write one value to one place");
    for (int list = 0; op_case_lists[list]; list++)
        for (const op_case *at = op_case_lists[list]; at->kind; at++) {
            bool met = false;
            for (int l = 0; l <= list; l++)
                for (const op_case *b = op_case_lists[l]; b->kind && b != at; b++)
                    met = met || b->kind == at->kind;
            if (!met) run(o, at->kind);
        }
    printf("1..%d\n", number);
    o->close(o);
    return failures > 0;
}
