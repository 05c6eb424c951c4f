/* The fillings that are held against ref, one line each. A suite runs the same tests on all of them; on a GPU
 * where there is one. */
#ifndef OSV_TESTS_OP_FILLINGS_H
#define OSV_TESTS_OP_FILLINGS_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "kernels/backend.h"
#ifndef OSV_DOUBLE
#include "tests/emu/device_emu.h"
#endif

typedef struct {
    const char *name;
    osv_dtype dtype;
    int (*open)(osv_ops **o, osv_dtype dtype, osv_error *error);
} op_filling;

#ifndef OSV_DOUBLE
static int open_cpu(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cpu_open(o, dtype, 2, error);
}

/* The first GPU; by name, because a build may lack the backend. */
static int open_gpu(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_backend_open(o, &(osv_machine){.backend = "cuda", .dtype = (int)dtype, .device = -1}, error);
}
#endif

/* ref against itself: guards, inputs left alone, the same bytes twice. The GPU's come last. */
static const op_filling op_fillings[] = {
    {"ref f32", OSV_DTYPE_F32, osv_ref_open},      {"ref bf16", OSV_DTYPE_BF16, osv_ref_open},
#ifndef OSV_DOUBLE
    {"cpu f32", OSV_DTYPE_F32, open_cpu},          {"cpu bf16", OSV_DTYPE_BF16, open_cpu},
    {"cuda-emu f32", OSV_DTYPE_F32, osv_emu_open}, {"cuda-emu bf16", OSV_DTYPE_BF16, osv_emu_open},
    {"cuda f32", OSV_DTYPE_F32, open_gpu},         {"cuda bf16", OSV_DTYPE_BF16, open_gpu},
#endif
};

/* How many of them there are here. */
static inline int op_fillings_here(void)
{
    int n = sizeof op_fillings / sizeof *op_fillings;
#ifndef OSV_DOUBLE
    if (osv_backend_gpus() == 0) n -= 2;
#endif
    return n;
}

/* Parameters of a Criterion test: indexes, because it starts every test as a process of its own, in which
 * pointers would mean nothing. */
static inline struct criterion_test_params op_filling_numbers(void)
{
    int n = op_fillings_here(), *number = cr_malloc((size_t)n * sizeof *number);
    for (int i = 0; i < n; i++) number[i] = i;
    return cr_make_param_array(int, number, (size_t)n, NULL);
}

/* An f32 filling and one of so many models, as one number: filling * models + model. */
static inline struct criterion_test_params op_filling_numbers_f32(int models)
{
    int *number = cr_malloc((size_t)op_fillings_here() * (size_t)models * sizeof *number), n = 0;
    for (int i = 0; i < op_fillings_here() * models; i++)
        if (op_fillings[i / models].dtype == OSV_DTYPE_F32) number[n++] = i;
    return cr_make_param_array(int, number, (size_t)n, NULL);
}

/* One test a suite that tells whether its other tests ran on a GPU too: "cuda" is a real device then. */
#define TEST_GPU(suite)                                                                         \
    Test(suite, gpu)                                                                            \
    {                                                                                           \
        if (osv_backend_gpus() == 0) cr_skip("there is no GPU here, or no CUDA in this build"); \
        osv_error error = {0};                                                                  \
        osv_ops *o;                                                                             \
        const op_filling *last = &op_fillings[op_fillings_here() - 1];                          \
        cr_assert_eq(last->open(&o, last->dtype, &error), OSV_OK, "%s", error.text);            \
        cr_expect_str_eq(o->name, "cuda");                                                      \
        cr_expect(strstr(o->hardware, "multiprocessors"), "%s is no GPU", o->hardware);         \
        o->close(o);                                                                            \
    }

#endif
