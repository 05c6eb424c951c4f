/* The emulated CUDA backend: the order in which threads, warps and blocks run does not change a byte. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "kernels/cuda/entries.h"
#include "tests/emu/device_emu.h"
#include "tests/op_cases.h"

/* FNV-1a */
static uint64_t hash_of(uint64_t hash, const void *p, size_t bytes)
{
    const unsigned char *at = p;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

/* Of everything that a call wrote. */
static uint64_t run(const op_case *at, osv_dtype dtype, unsigned order)
{
    osv_error error = {0};
    osv_ops *o;
    op_call c;
    uint64_t hash = 0xcbf29ce484222325u;
    cr_assert_eq(osv_emu_open(&o, dtype, &error), OSV_OK, "%s", error.text);
    if (osv_entry_there(o, at->kind->name)) {
        osv_emu_order(order);
        op_call_make(&c, at->kind, at->shape, o);
        op_call_run(&c);
        for (int i = 0; i < c.buffers; i++) {
            void *x = op_read(&c, i);
            if (c.buffer[i].role != OP_INPUT) hash = hash_of(hash, x, c.buffer[i].bytes);
            free(x);
        }
        cr_assert_eq(osv_ops_status(o), OSV_OK, "%s (%s): %s", at->kind->name, at->text, error.text);
        op_call_free(&c);
    }
    o->close(o);
    return hash;
}

static void any_order(osv_dtype dtype)
{
    for (int list = 0; op_case_lists[list]; list++)
        for (const op_case *at = op_case_lists[list]; at->kind; at++) {
            uint64_t forward = run(at, dtype, 0);
            for (unsigned order = 1; order <= 3; order++)
                cr_expect_eq(run(at, dtype, order), forward, "%s (%s): other bytes in order %u",
                             at->kind->name, at->text, order);
        }
    cr_expect_eq(osv_emu_bytes(), 0, "%zu bytes were not freed", osv_emu_bytes());
}

Test(ops_emu, any_order_f32, .timeout = 600)
{
    any_order(OSV_DTYPE_F32);
}

Test(ops_emu, any_order_bf16, .timeout = 600)
{
    any_order(OSV_DTYPE_BF16);
}
