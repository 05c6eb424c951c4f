#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/widen.h"
#include "kernels/host.h"

_Static_assert(sizeof(osv_real) == sizeof(float), "cpu computes in float");

enum {
    ALIGNMENT = 256,
    LINE = 64,          /* of the cache: two threads' scratch never share one */
    MOST_THREADS = 1024 /* more is a mistake on the command line */
};

/* A weight that `place` made. */
struct osv_cpu_copy {
    osv_cpu_copy *next;
    void *data;
};

static void *aligned(size_t alignment, size_t bytes)
{
    size_t whole = bytes ? (bytes + alignment - 1) / alignment * alignment : alignment;
    return whole < bytes ? NULL : aligned_alloc(alignment, whole);
}

/* Threads that may be inside OpenBLAS at once: each holds one of its work buffers, of which it has twice the
 * number of threads that it was built for, and at least 50. */
static int blas_limit(void)
{
    if (openblas_get_parallel() == OPENBLAS_SEQUENTIAL) return 1; /* see cpu.h */
    static const char key[] = "MAX_THREADS=";
    const char *at = strstr(openblas_get_config(), key);
    return osv_cpu_max(48, at ? atoi(at + sizeof key - 1) : 0);
}

/* ---- scratch ---- */

static bool out_of_memory(osv_ops *o, size_t bytes)
{
    OSV_FAIL(o->error, OSV_DEVICE, "cpu: out of memory: %zu bytes asked for", bytes);
    return false;
}

bool osv_cpu_scratch(osv_ops *o, size_t bytes)
{
    osv_cpu *cpu = o->state;
    if (bytes <= cpu->scratch_bytes) return true;
    cpu->scratch_bytes = 0;
    for (int t = 0; t < cpu->threads; t++) {
        free(cpu->scratch[t]);
        cpu->scratch[t] = aligned(LINE, bytes);
        if (!cpu->scratch[t]) return out_of_memory(o, bytes);
    }
    cpu->scratch_bytes = bytes;
    return true;
}

bool osv_cpu_partial(osv_ops *o, size_t bytes)
{
    osv_cpu *cpu = o->state;
    if (bytes <= cpu->partial_bytes) return true;
    cpu->partial_bytes = 0;
    free(cpu->partial);
    cpu->partial = aligned(LINE, bytes);
    if (!cpu->partial) return out_of_memory(o, bytes);
    cpu->partial_bytes = bytes;
    return true;
}

void *osv_cpu_mine(const osv_ops *o)
{
    const osv_cpu *cpu = o->state;
    return cpu->scratch[omp_get_thread_num()];
}

/* ---- memory ---- */

static void *cpu_alloc(osv_ops *o, size_t bytes)
{
    if (osv_cpu_failed(o)) return NULL;
    void *p = aligned(ALIGNMENT, bytes);
    if (!p) out_of_memory(o, bytes);
    return p;
}

/* Also after a failure: what was allocated is given back. */
static void cpu_free(osv_ops *o, void *p)
{
    (void)o;
    free(p);
}

static size_t cpu_available(osv_ops *o)
{
    (void)o;
    return osv_host_available();
}

static void cpu_copy(osv_ops *o, void *dst, const void *src, size_t bytes, osv_direction direction)
{
    (void)direction; /* everything is host memory */
    if (osv_cpu_failed(o) || bytes == 0) return;
    memmove(dst, src, bytes);
}

static void cpu_zero(osv_ops *o, void *p, size_t bytes)
{
    if (osv_cpu_failed(o) || bytes == 0) return;
    memset(p, 0, bytes);
}

static void cpu_on_host(osv_ops *o, void *x, size_t bytes, osv_host_call *f, void *context)
{
    if (osv_cpu_failed(o) || bytes == 0) return;
    f(context, x, bytes);
}

static void cpu_gather_rows(osv_ops *o, float *out, const float *in, const int *index, int D, int rows)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)rows *D))
    for (int r = 0; r < rows; r++)
        memcpy(out + (size_t)r * D, in + (size_t)index[r] * D, (size_t)D * sizeof *out);
}

static void cpu_scatter_rows(osv_ops *o, float *out, const float *in, const int *index, int D, int rows)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)rows *D))
    for (int r = 0; r < rows; r++)
        memcpy(out + (size_t)index[r] * D, in + (size_t)r * D, (size_t)D * sizeof *out);
}

/* ---- weights ---- */

OSV_CPU_INLINE uint16_t round_bf16(float x)
{
    uint32_t bits = osv_cpu_bits(x);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)(nan ? bits >> 16 | 0x40 : rounded);
}

OSV_CPU_CLONES
static void round_f32(uint16_t *out, const void *in, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = round_bf16(osv_cpu_load(in, OSV_F32, i));
}

OSV_CPU_CLONES
static void round_f16(uint16_t *out, const void *in, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = round_bf16(osv_cpu_load(in, OSV_F16, i));
}

/* A file may hold numbers at odd addresses, which the loops cannot read where they are. */
static bool misaligned(const osv_weight *w)
{
    return (uintptr_t)w->data % osv_format_bytes(w->format) != 0;
}

/* Memory for n numbers of a format, released by close. */
static void *copy_of(osv_ops *o, osv_format format, size_t n)
{
    osv_cpu *cpu = o->state;
    osv_cpu_copy *copy = malloc(sizeof *copy);
    size_t bytes = n * osv_format_bytes(format);
    void *data = aligned(ALIGNMENT, bytes);
    if (!copy || !data) {
        free(copy);
        free(data);
        out_of_memory(o, bytes);
        return NULL;
    }
    *copy = (osv_cpu_copy){.next = cpu->copies, .data = data};
    cpu->copies = copy;
    return data;
}

/* Matrices are rounded where the dtype asks for it; norm weights and biases, one row, are never part of a
 * matrix product and stay as they are. */
static void cpu_place(osv_ops *o, osv_weight *w)
{
    if (osv_cpu_failed(o) || !w->data) return;
    const osv_cpu *cpu = o->state;
    size_t n = (size_t)w->rows * w->cols;
    if (misaligned(w)) {
        void *data = copy_of(o, w->format, n);
        if (!data) return;
        w->data = memcpy(data, w->data, n * osv_format_bytes(w->format));
    }
    if (cpu->dtype != OSV_DTYPE_BF16 || w->format == OSV_BF16 || w->rows == 1) return;
    uint16_t *out = copy_of(o, OSV_BF16, n);
    if (!out) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, n))
    for (int r = 0; r < w->rows; r++)
        (w->format == OSV_F32 ? round_f32 : round_f16)(out + (size_t)r * w->cols, osv_cpu_at(w, (size_t)r, 0),
                                                       (size_t)w->cols);
    w->data = out;
    w->format = OSV_BF16;
}

/* ---- order ---- */

static void cpu_sync(osv_ops *o, int behind)
{
    (void)o, (void)behind; /* an op has ended when it returns */
}

/* No graphs: not recorded, the caller calls again. */
static bool cpu_graph_begin(osv_ops *o)
{
    (void)o;
    return false;
}

static osv_graph *cpu_graph_end(osv_ops *o)
{
    (void)o;
    return NULL;
}

static bool cpu_graph_run(osv_ops *o, osv_graph *graph)
{
    (void)o, (void)graph;
    return false;
}

static void cpu_graph_free(osv_ops *o, osv_graph *graph)
{
    (void)o, (void)graph;
}

/* No profiler knows this filling's names; one that samples sees its functions. */
static void cpu_range(osv_ops *o, const char *name, int number)
{
    (void)o, (void)name, (void)number;
}

static void cpu_profiler(osv_ops *o, bool on)
{
    (void)o, (void)on;
}

/* One thread is timed by what it had of the processor, so that measurements bear a busy machine. */
static void cpu_stamp(osv_ops *o, int k)
{
    osv_cpu *cpu = o->state;
    cpu->stamp[k] = cpu->threads == 1 ? osv_host_cpu_seconds() : osv_host_seconds();
}

static double cpu_between(osv_ops *o, int a, int b)
{
    const osv_cpu *cpu = o->state;
    return cpu->stamp[b] - cpu->stamp[a];
}

static void cpu_close(osv_ops *o)
{
    if (!o) return;
    osv_cpu *cpu = o->state;
    for (osv_cpu_copy *copy = cpu->copies, *next; copy; copy = next) {
        next = copy->next;
        free(copy->data);
        free(copy);
    }
    for (int t = 0; t < cpu->threads; t++) free(cpu->scratch[t]);
    free(cpu->scratch);
    free(cpu->partial);
    free(cpu);
    free(o);
}

static const osv_ops table = {
    .name = "cpu",
    .close = cpu_close,
    .embed = osv_cpu_embed,
    .matmul = osv_cpu_matmul,
    .matmul_dx = osv_cpu_matmul_dx,
    .bias = osv_cpu_bias,
    .rmsnorm = osv_cpu_rmsnorm,
    .rmsnorm_dx = osv_cpu_rmsnorm_dx,
    .rmsnorm_sum = osv_cpu_rmsnorm_sum,
    .rmsnorm_split = osv_cpu_rmsnorm_split,
    .rmsnorm_dot = osv_cpu_rmsnorm_dot,
    .rmsnorm_split_dx = osv_cpu_rmsnorm_split_dx,
    .residual_add = osv_cpu_residual_add,
    .scale = osv_cpu_scale,
    .rope = osv_cpu_rope,
    .attention = osv_cpu_attention,
    .attention_dx = osv_cpu_attention_dx,
    .glu = osv_cpu_glu,
    .glu_dx = osv_cpu_glu_dx,
    .softcap = osv_cpu_softcap,
    .score_max = osv_cpu_score_max,
    .score_sum = osv_cpu_score_sum,
    .score = osv_cpu_score,
    .score_dx = osv_cpu_score_dx,
    .kl_sum = osv_cpu_kl_sum,
    .kl = osv_cpu_kl,
    .kl_dx = osv_cpu_kl_dx,
    .distance = osv_cpu_distance,
    .distance_dx = osv_cpu_distance_dx,
    .objective = osv_cpu_objective,
    .multipliers = osv_cpu_multipliers,
    .sample = osv_cpu_sample,
    .candidates = osv_cpu_candidates,
    .apply = osv_cpu_apply,
    .apply_dp = osv_cpu_apply_dp,
    .apply_dx = osv_cpu_apply_dx,
    .adam = osv_cpu_adam,
    .norm = osv_cpu_norm,
    .penalty = osv_cpu_penalty,
    .noise = osv_cpu_noise,
    .noise_mean = osv_cpu_noise_mean,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .available = cpu_available,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .on_host = cpu_on_host,
    .gather_rows = cpu_gather_rows,
    .scatter_rows = cpu_scatter_rows,
    .place = cpu_place,
    .sync = cpu_sync,
    .graph_begin = cpu_graph_begin,
    .graph_end = cpu_graph_end,
    .graph_run = cpu_graph_run,
    .graph_free = cpu_graph_free,
    .range = cpu_range,
    .profiler = cpu_profiler,
    .stamp = cpu_stamp,
    .between = cpu_between,
};

int osv_cpu_open(osv_ops **out, osv_dtype dtype, int threads, osv_error *error)
{
    *out = NULL;
    if (error->status) return error->status;
    if (threads > MOST_THREADS)
        return OSV_FAIL(error, OSV_USAGE, "cpu: %d threads asked for, at most %d", threads, MOST_THREADS);
    if (threads <= 0) threads = osv_cpu_min(omp_get_num_procs(), MOST_THREADS);
    osv_ops *o = malloc(sizeof *o);
    osv_cpu *cpu = calloc(1, sizeof *cpu);
    void **scratch = calloc((size_t)threads, sizeof *scratch);
    if (!o || !cpu || !scratch) {
        free(o);
        free(cpu);
        free(scratch);
        return OSV_FAIL(error, OSV_DEVICE, "cpu: out of memory");
    }
    openblas_set_num_threads(1); /* of the whole process: OpenBLAS knows no other */
    *cpu = (osv_cpu){.dtype = dtype,
                     .threads = threads,
                     .blas_threads = osv_cpu_min(threads, blas_limit()),
                     .scratch = scratch};
    *o = table;
    o->dtype = dtype;
    o->hardware = cpu->hardware;
    osv_host_processor(cpu->hardware, sizeof cpu->hardware);
    o->error = error;
    o->state = cpu;
    *out = o;
    return OSV_OK;
}
