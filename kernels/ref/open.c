#include "kernels/ref/ref.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/host.h"

enum { ALIGNMENT = 256 };

double *osv_ref_scratch(osv_ops *o, size_t n)
{
    osv_ref *ref = o->state;
    if (!ref->scratch || n > ref->scratch_length) {
        free(ref->scratch);
        ref->scratch = calloc(n ? n : 1, sizeof(double));
        ref->scratch_length = ref->scratch ? n : 0;
        if (!ref->scratch) {
            OSV_FAIL(o->error, OSV_DEVICE, "ref: out of memory: %zu numbers of scratch", n);
            return NULL;
        }
    }
    return ref->scratch;
}

static void *ref_alloc(osv_ops *o, size_t bytes)
{
    if (osv_ops_status(o)) return NULL;
    size_t whole = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    void *p = whole < bytes ? NULL : aligned_alloc(ALIGNMENT, whole);
    if (!p) OSV_FAIL(o->error, OSV_DEVICE, "ref: out of memory: %zu bytes asked for", bytes);
    return p;
}

/* Also after a failure: what was allocated is given back. */
static void ref_free(osv_ops *o, void *p)
{
    (void)o;
    free(p);
}

static size_t ref_available(osv_ops *o)
{
    (void)o;
    return osv_host_available();
}

static void ref_copy(osv_ops *o, void *dst, const void *src, size_t bytes, osv_direction direction)
{
    (void)direction; /* everything is host memory */
    if (osv_ops_status(o) || bytes == 0) return;
    memmove(dst, src, bytes);
}

static void ref_zero(osv_ops *o, void *p, size_t bytes)
{
    if (osv_ops_status(o) || bytes == 0) return;
    memset(p, 0, bytes);
}

static void ref_on_host(osv_ops *o, void *x, size_t bytes, osv_host_call *f, void *context)
{
    if (osv_ops_status(o) || bytes == 0) return;
    f(context, x, bytes);
}

/* out[r] = in[index[r]] */
static void ref_gather_rows(osv_ops *o, osv_real *out, const osv_real *in, const int *index, int D, int rows)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < rows; r++)
        for (int d = 0; d < D; d++) out[(size_t)r * D + d] = in[(size_t)index[r] * D + d];
}

/* out[index[r]] = in[r] */
static void ref_scatter_rows(osv_ops *o, osv_real *out, const osv_real *in, const int *index, int D, int rows)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < rows; r++)
        for (int d = 0; d < D; d++) out[(size_t)index[r] * D + d] = in[(size_t)r * D + d];
}

/* Weights stay where they are, in the file's format; with OSV_DTYPE_BF16 they are rounded as they are read.
 */
static void ref_place(osv_ops *o, osv_weight *w)
{
    (void)o;
    (void)w;
}

static void ref_sync(osv_ops *o, int behind)
{
    (void)o;
    (void)behind;
}

static bool ref_graph_begin(osv_ops *o)
{
    (void)o;
    return false;
}

static osv_graph *ref_graph_end(osv_ops *o)
{
    (void)o;
    return NULL;
}

static bool ref_graph_run(osv_ops *o, osv_graph *graph)
{
    (void)o;
    (void)graph;
    return false;
}

static void ref_graph_free(osv_ops *o, osv_graph *graph)
{
    (void)o;
    (void)graph;
}

/* No profiler knows this filling's names; one that samples sees its functions. */
static void ref_range(osv_ops *o, const char *name, int number)
{
    (void)o, (void)name, (void)number;
}

static void ref_profiler(osv_ops *o, bool on)
{
    (void)o, (void)on;
}

static void ref_stamp(osv_ops *o, int k)
{
    ((osv_ref *)o->state)->stamp[k] = osv_host_seconds();
}

static double ref_between(osv_ops *o, int a, int b)
{
    const osv_ref *ref = o->state;
    return ref->stamp[b] - ref->stamp[a];
}

static void ref_close(osv_ops *o)
{
    if (!o) return;
    osv_ref *ref = o->state;
    free(ref->scratch);
    free(ref);
    free(o);
}

static const osv_ops table = {
    .name = "ref",
    .close = ref_close,
    .embed = osv_ref_embed,
    .matmul = osv_ref_matmul,
    .matmul_dx = osv_ref_matmul_dx,
    .bias = osv_ref_bias,
    .rmsnorm = osv_ref_rmsnorm,
    .rmsnorm_dx = osv_ref_rmsnorm_dx,
    .rmsnorm_sum = osv_ref_rmsnorm_sum,
    .rmsnorm_split = osv_ref_rmsnorm_split,
    .rmsnorm_dot = osv_ref_rmsnorm_dot,
    .rmsnorm_split_dx = osv_ref_rmsnorm_split_dx,
    .residual_add = osv_ref_residual_add,
    .scale = osv_ref_scale,
    .rope = osv_ref_rope,
    .attention = osv_ref_attention,
    .attention_dx = osv_ref_attention_dx,
    .glu = osv_ref_glu,
    .glu_dx = osv_ref_glu_dx,
    .softcap = osv_ref_softcap,
    .score_max = osv_ref_score_max,
    .score_sum = osv_ref_score_sum,
    .score = osv_ref_score,
    .score_dx = osv_ref_score_dx,
    .kl_sum = osv_ref_kl_sum,
    .kl = osv_ref_kl,
    .kl_dx = osv_ref_kl_dx,
    .distance = osv_ref_distance,
    .distance_dx = osv_ref_distance_dx,
    .objective = osv_ref_objective,
    .multipliers = osv_ref_multipliers,
    .sample = osv_ref_sample,
    .candidates = osv_ref_candidates,
    .apply = osv_ref_apply,
    .apply_dp = osv_ref_apply_dp,
    .apply_dx = osv_ref_apply_dx,
    .adam = osv_ref_adam,
    .norm = osv_ref_norm,
    .penalty = osv_ref_penalty,
    .noise = osv_ref_noise,
    .noise_mean = osv_ref_noise_mean,
    .alloc = ref_alloc,
    .free = ref_free,
    .available = ref_available,
    .copy = ref_copy,
    .zero = ref_zero,
    .on_host = ref_on_host,
    .gather_rows = ref_gather_rows,
    .scatter_rows = ref_scatter_rows,
    .place = ref_place,
    .sync = ref_sync,
    .graph_begin = ref_graph_begin,
    .graph_end = ref_graph_end,
    .graph_run = ref_graph_run,
    .graph_free = ref_graph_free,
    .range = ref_range,
    .profiler = ref_profiler,
    .stamp = ref_stamp,
    .between = ref_between,
};

int osv_ref_open(osv_ops **out, osv_dtype dtype, osv_error *error)
{
    *out = NULL;
    if (error->status) return error->status;
    osv_ops *o = malloc(sizeof *o);
    osv_ref *ref = calloc(1, sizeof *ref);
    if (!o || !ref) {
        free(o);
        free(ref);
        return OSV_FAIL(error, OSV_DEVICE, "ref: out of memory");
    }
    *o = table;
    o->dtype = dtype;
    o->hardware = ref->hardware;
    osv_host_processor(ref->hardware, sizeof ref->hardware);
    ref->dtype = dtype;
    o->error = error;
    o->state = ref;
    *out = o;
    return OSV_OK;
}
