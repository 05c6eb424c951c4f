/* The fillings that are held against ref, one line each. A suite runs the same tests on all of them. */
#ifndef OSV_TESTS_OP_FILLINGS_H
#define OSV_TESTS_OP_FILLINGS_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "kernels/ops.h"
#include "tests/emu/device_emu.h"

typedef struct {
    const char *name;
    osv_dtype dtype;
    int (*open)(osv_ops **o, osv_dtype dtype, osv_error *error);
} op_filling;

static int open_cpu(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cpu_open(o, dtype, 2, error);
}

/* ref against itself: guards, inputs left alone, the same bytes twice. */
static const op_filling op_fillings[] = {
    {"ref f32", OSV_DTYPE_F32, osv_ref_open},      {"ref bf16", OSV_DTYPE_BF16, osv_ref_open},
    {"cpu f32", OSV_DTYPE_F32, open_cpu},          {"cpu bf16", OSV_DTYPE_BF16, open_cpu},
    {"cuda-emu f32", OSV_DTYPE_F32, osv_emu_open}, {"cuda-emu bf16", OSV_DTYPE_BF16, osv_emu_open},
};
enum { OP_FILLINGS = sizeof op_fillings / sizeof *op_fillings };

/* Parameters of a Criterion test: indexes, because it starts every test as a process of its own, in which
 * pointers would mean nothing. */
static inline struct criterion_test_params op_filling_numbers(void)
{
    int *number = cr_malloc(OP_FILLINGS * sizeof *number);
    for (int i = 0; i < OP_FILLINGS; i++) number[i] = i;
    return cr_make_param_array(int, number, OP_FILLINGS, NULL);
}

#endif
