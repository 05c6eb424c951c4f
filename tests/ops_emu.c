/* The emulated CUDA backend: the order in which threads, warps and blocks run does not change a byte; graphs
 * with copies from and to the host; every call of the device that can fail. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- graphs ---- */

static osv_ops *must_open(osv_error *error)
{
    osv_ops *o;
    *error = (osv_error){0};
    cr_assert_eq(osv_emu_open(&o, OSV_DTYPE_F32, error), OSV_OK, "%s", error->text);
    return o;
}

enum { D = 6 };

/* to_host = from_host + y, through the device. */
static void add(osv_ops *o, osv_real *x, osv_real *y, const osv_real *from_host, osv_real *to_host)
{
    o->copy(o, x, from_host, D * sizeof *x, OSV_TO_DEVICE);
    o->residual_add(o, x, x, y, NULL, D, 1);
    o->copy(o, to_host, x, D * sizeof *x, OSV_TO_HOST);
}

/* As optim/bin.c does it: two graphs in turn with host memory of their own, results read one run late. */
Test(ops_emu, graphs)
{
    osv_error error;
    osv_ops *o = must_open(&error);
    osv_real in[2][D], out[2][D] = {{0}}, ones[D] = {1, 1, 1, 1, 1, 1};
    osv_real *x = o->alloc(o, sizeof ones), *y = o->alloc(o, sizeof ones);
    osv_graph *graph[2] = {NULL, NULL};
    o->copy(o, y, ones, sizeof ones, OSV_TO_DEVICE);
    o->sync(o, 0);
    size_t outside = 0;
    for (int run = 0; run < 7; run++) {
        int k = run % 2;
        for (int d = 0; d < D; d++) in[k][d] = (osv_real)(10 * run + d);
        if (!graph[k]) {
            cr_assert_not(o->graph_run(o, graph[k]));
            cr_assert(o->graph_begin(o));
            add(o, x, y, in[k], out[k]);
            graph[k] = o->graph_end(o);
            cr_assert_not_null(graph[k], "%s", error.text);
        }
        if (run == 2) outside = osv_emu_count().outside;
        cr_assert(o->graph_run(o, graph[k]));
        if (run == 0) continue;
        o->sync(o, 1);
        cr_assert_eq(osv_ops_status(o), OSV_OK, "%s", error.text);
        for (int d = 0; d < D; d++) {
            cr_expect_eq(out[!k][d], 10 * (run - 1) + d + 1, "run %d: %g", run - 1, (double)out[!k][d]);
            if (run >= 2) cr_expect_eq(out[k][d], 10 * (run - 2) + d + 1, "run %d was read early", run);
        }
    }
    o->sync(o, 0);
    for (int d = 0; d < D; d++) cr_expect_eq(out[0][d], 60 + d + 1);
    cr_expect_eq(osv_emu_count().outside, outside, "something was launched outside of the graphs");
    for (int k = 0; k < 2; k++) o->graph_free(o, graph[k]);
    o->free(o, x);
    o->free(o, y);
    o->close(o);
    cr_expect_eq(osv_emu_bytes(), 0);
}

/* ---- failures ---- */

/* A little of everything. Returns the status; whatever failed, all is released. */
static int little_of_everything(osv_error *error)
{
    osv_ops *o;
    osv_real from[D] = {0}, to[D];
    float weight[4 * D] = {0};
    *error = (osv_error){0};
    OSV_TRY(osv_emu_open(&o, OSV_DTYPE_BF16, error));
    osv_weight w = {weight, OSV_F32, 4, D};
    o->place(o, &w);
    osv_real *x = o->alloc(o, 2 * D * sizeof *x);
    osv_graph *graph = NULL;
    if (!osv_ops_status(o) && o->graph_begin(o)) {
        osv_real *y = x + D;
        const osv_weight *const list[] = {&w};
        o->copy(o, x, from, sizeof from, OSV_TO_DEVICE);
        o->matmul(o, &y, x, list, 1, 1);
        o->zero(o, x, sizeof *x);
        o->copy(o, to, x, sizeof to, OSV_TO_HOST);
        graph = o->graph_end(o);
        o->graph_run(o, graph);
    }
    o->sync(o, 0);
    if (graph) o->graph_free(o, graph);
    if (x) o->free(o, x);
    o->close(o);
    return error->status;
}

/* Each call of each kind fails once: status 4 with a sentence, nothing is left over, and the next try works.
 */
Test(ops_emu, failures, .timeout = 600)
{
    osv_error error;
    cr_assert_eq(little_of_everything(&error), OSV_OK, "%s", error.text);
    for (int kind = 0; kind < OSV_EMU_KINDS; kind++) {
        int n = 1;
        for (;; n++) {
            osv_emu_fail((osv_emu_kind)kind, n);
            int status = little_of_everything(&error);
            cr_expect_eq(osv_emu_bytes(), 0, "kind %d, call %d: %zu bytes were not freed", kind, n,
                         osv_emu_bytes());
            if (status == OSV_OK) break;
            cr_assert_eq(status, OSV_DEVICE, "kind %d, call %d: status %d", kind, n, status);
            cr_expect(strstr(error.text, "injected"), "kind %d, call %d: %s", kind, n, error.text);
        }
        cr_expect(n > 1, "kind %d: no such call", kind);
        osv_emu_fail((osv_emu_kind)kind, 0);
    }
}

/* A head that no kernel has room for is an error that says so, in both directions. */
Test(ops_emu, head_too_large)
{
    osv_attention a = {.heads = {.H = 1, .K = 1, .E = 513, .group = 1}, .scale = 1};
    osv_worklist work = {0};
    for (int dx = 0; dx < 2; dx++) {
        osv_error error = {0};
        osv_ops *o;
        cr_assert_eq(osv_emu_open(&o, OSV_DTYPE_BF16, &error), OSV_OK, "%s", error.text);
        if (dx)
            o->attention_dx(o, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, &work, &a);
        else
            o->attention(o, NULL, NULL, NULL, NULL, NULL, &work, &a);
        cr_expect_eq(osv_ops_status(o), OSV_DEVICE);
        cr_expect(strstr(error.text, "513") && strstr(error.text, "512"), "%s", error.text);
        o->close(o);
    }
}
