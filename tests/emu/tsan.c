/* Runs every case of the operators on the emulated CUDA backend, for the thread sanitizer: it knows the lanes
 * of a block as threads, ordered by __syncthreads and __syncwarp alone, and finds what races between them
 * even where the result is right. Prints TAP; the sanitizer ends the program with its report. */
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/entries.h"
#include "tests/emu/device_emu.h"
#include "tests/op_cases.h"

static int number, failures;

static void run(osv_ops *o, const op_kind *kind)
{
    int cases = 0;
    for (int list = 0; op_case_lists[list]; list++)
        for (const op_case *at = op_case_lists[list]; at->kind; at++) {
            op_call c;
            if (at->kind != kind) continue;
            op_call_make(&c, at->kind, at->shape, o);
            op_call_run(&c);
            op_call_free(&c);
            cases++;
        }
    bool passed = osv_ops_status(o) == OSV_OK;
    failures += !passed;
    printf("%sok %d - %s: %d cases%s%s\n", passed ? "" : "not ", ++number, kind->name, cases,
           passed ? "" : ": ", o->error->text);
}

int main(void)
{
    osv_error error = {0};
    osv_ops *o;
    if (osv_emu_open(&o, OSV_DTYPE_BF16, &error)) {
        printf("1..1\nnot ok 1 - open: %s\n", error.text);
        return 1;
    }
    for (int list = 0; op_case_lists[list]; list++)
        for (const op_case *at = op_case_lists[list]; at->kind; at++) {
            bool met = false;
            for (int l = 0; l <= list; l++)
                for (const op_case *b = op_case_lists[l]; b->kind && b != at; b++)
                    met = met || b->kind == at->kind;
            if (!met && osv_entry_there(o, at->kind->name)) run(o, at->kind);
        }
    printf("1..%d\n", number);
    o->close(o);
    return failures > 0;
}
