/* The table of the CUDA filling, its memory, its weights and its graphs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "kernels/host.h"

_Static_assert(sizeof(osv_real) == sizeof(float), "cuda computes in float");

enum { BOX_BYTES = 4 << 20, BOX_ALIGN = 64 };

/* Device memory of one weight. */
struct osv_cuda_block {
    osv_cuda_block *next;
    void *data;
};

/* A copy between host memory and the device inside a graph: it goes through pinned memory of ours, because
 * the caller's may be paged. */
typedef struct {
    void *host, *pinned;
    size_t bytes;
    osv_direction direction;
} transfer;

struct osv_graph {
    osv_device_graph *graph;
    transfer *transfers;
    int count, room;
    size_t run;   /* number of the mark after its last run */
    bool pending; /* what that run copied to the host has not been handed over */
    osv_graph *next;
};

static bool failed(const osv_ops *o)
{
    return o->error->status != OSV_OK;
}

/* ---- memory ---- */

/* Memory of the device for `what`, or an error that says how much there is and what to do. */
static void *take(osv_ops *o, size_t bytes, const char *what)
{
    osv_device *d = osv_cuda_device(o);
    void *p = failed(o) ? NULL : osv_device_alloc(d, bytes);
    size_t available, total;
    if (p || failed(o)) return p;
    osv_device_memory(d, &available, &total);
    OSV_FAIL(o->error, OSV_DEVICE,
             "cuda: out of memory: %.2f GB asked for %s, %.2f of the device's %.2f GB are free: use %sfewer "
             "jobs at once or shorter prompts, or end what else runs there",
             (double)bytes / 1e9, what, (double)available / 1e9, (double)total / 1e9,
             o->dtype == OSV_DTYPE_F32 ? "--dtype bf16, " : "");
    return NULL;
}

static void *cuda_alloc(osv_ops *o, size_t bytes)
{
    return take(o, bytes, "activations, keys and values");
}

static size_t cuda_available(osv_ops *o)
{
    size_t available, total;
    osv_device_memory(osv_cuda_device(o), &available, &total);
    return available;
}

static void cuda_free(osv_ops *o, void *p)
{
    osv_device_free(osv_cuda_device(o), p);
}

static void cuda_zero(osv_ops *o, void *p, size_t bytes)
{
    if (failed(o) || bytes == 0) return;
    osv_device_fill(osv_cuda_device(o), p, 0, bytes);
}

/* Keeps a copy between host and device in the graph that is being recorded. */
static void record_transfer(osv_ops *o, void *device, void *host, size_t bytes, osv_direction direction)
{
    osv_cuda *cuda = o->state;
    osv_graph *g = cuda->recording;
    if (g->count == g->room) {
        int room = g->room ? 2 * g->room : 8;
        transfer *more = realloc(g->transfers, (size_t)room * sizeof *more);
        if (!more) {
            OSV_FAIL(o->error, OSV_DEVICE, "cuda: out of host memory");
            return;
        }
        g->transfers = more;
        g->room = room;
    }
    size_t whole = (bytes + BOX_ALIGN - 1) / BOX_ALIGN * BOX_ALIGN;
    if (whole > BOX_BYTES - cuda->box_used) {
        OSV_FAIL(o->error, OSV_DEVICE, "cuda: recorded graphs copy more than %d bytes from and to the host",
                 BOX_BYTES);
        return;
    }
    void *pinned = cuda->box + cuda->box_used;
    cuda->box_used += whole;
    g->transfers[g->count++] = (transfer){host, pinned, bytes, direction};
    if (direction == OSV_TO_DEVICE)
        osv_device_copy(cuda->device, device, pinned, bytes, direction);
    else
        osv_device_copy(cuda->device, pinned, device, bytes, direction);
}

static void cuda_copy(osv_ops *o, void *dst, const void *src, size_t bytes, osv_direction direction)
{
    const osv_cuda *cuda = o->state;
    if (failed(o) || bytes == 0) return;
    if (!cuda->recording || direction == OSV_ON_DEVICE)
        osv_device_copy(cuda->device, dst, src, bytes, direction);
    else if (direction == OSV_TO_DEVICE)
        record_transfer(o, dst, (void *)(uintptr_t)src, bytes, direction);
    else
        record_transfer(o, (void *)(uintptr_t)src, dst, bytes, direction);
}

/* Through pinned memory of its own, which is there before anything is recorded: no training begins with a
 * recorded iteration. */
static void cuda_on_host(osv_ops *o, void *x, size_t bytes, osv_host_call *f, void *context)
{
    osv_cuda *cuda = o->state;
    osv_device *d = cuda->device;
    size_t most = cuda->scratch_bytes / 2;
    if (failed(o) || bytes == 0) return;
    if (!cuda->meeting) cuda->meeting = osv_device_host_alloc(d, most);
    for (size_t at = 0; at < bytes && !failed(o); at += most) {
        size_t part = bytes - at < most ? bytes - at : most;
        osv_device_copy(d, cuda->meeting, (char *)x + at, part, OSV_TO_HOST);
        osv_device_call(d, f, context, cuda->meeting, part);
        osv_device_copy(d, (char *)x + at, cuda->meeting, part, OSV_TO_DEVICE);
    }
}

/* ---- order ---- */

/* Waits for all but the last `behind` marks; what is then known to be done is handed over. */
static void wait(osv_ops *o, int behind)
{
    osv_cuda *cuda = o->state;
    if (behind >= OSV_DEVICE_MARKS) behind = OSV_DEVICE_MARKS - 1;
    osv_device_sync(cuda->device, behind);
    if (failed(o)) return;
    for (osv_graph *g = cuda->graphs; g; g = g->next) {
        if (!g->pending || g->run + (size_t)behind > cuda->marks) continue;
        for (int i = 0; i < g->count; i++)
            if (g->transfers[i].direction == OSV_TO_HOST)
                memcpy(g->transfers[i].host, g->transfers[i].pinned, g->transfers[i].bytes);
        g->pending = false;
    }
}

static void mark(osv_cuda *cuda)
{
    osv_device_mark(cuda->device);
    cuda->marks++;
}

static void cuda_sync(osv_ops *o, int behind)
{
    if (!failed(o)) wait(o, behind > 0 ? behind : 0);
}

static bool cuda_graph_begin(osv_ops *o)
{
    osv_cuda *cuda = o->state;
    if (failed(o)) return false;
    if (!cuda->box) cuda->box = osv_device_host_alloc(cuda->device, BOX_BYTES);
    osv_graph *g = calloc(1, sizeof *g);
    if (!g) OSV_FAIL(o->error, OSV_DEVICE, "cuda: out of host memory");
    if (!failed(o)) osv_device_graph_begin(cuda->device);
    if (failed(o)) {
        free(g);
        return false;
    }
    cuda->recording = g;
    return true;
}

static void cuda_graph_free(osv_ops *o, osv_graph *g)
{
    osv_cuda *cuda = o->state;
    if (!g) return;
    osv_device_graph_free(cuda->device, g->graph);
    for (osv_graph **at = &cuda->graphs; *at; at = &(*at)->next)
        if (*at == g) {
            *at = g->next;
            break;
        }
    if (!cuda->graphs) cuda->box_used = 0;
    free(g->transfers);
    free(g);
}

static osv_graph *cuda_graph_end(osv_ops *o)
{
    osv_cuda *cuda = o->state;
    osv_graph *g = cuda->recording;
    if (!g) return NULL;
    cuda->recording = NULL;
    g->graph = osv_device_graph_end(cuda->device); /* also after a failure: recording has to end */
    g->next = cuda->graphs;
    cuda->graphs = g;
    if (!failed(o)) return g;
    cuda_graph_free(o, g);
    return NULL;
}

static bool cuda_graph_run(osv_ops *o, osv_graph *g)
{
    osv_cuda *cuda = o->state;
    if (!g) return false;
    if (failed(o)) return true;
    /* its pinned memory is free again when its last run is done */
    if (g->pending)
        wait(o, cuda->marks - g->run < OSV_DEVICE_MARKS ? (int)(cuda->marks - g->run) : OSV_DEVICE_MARKS);
    for (int i = 0; i < g->count; i++)
        if (g->transfers[i].direction == OSV_TO_DEVICE)
            memcpy(g->transfers[i].pinned, g->transfers[i].host, g->transfers[i].bytes);
    osv_device_graph_run(cuda->device, g->graph);
    mark(cuda);
    g->run = cuda->marks;
    g->pending = true;
    return true;
}

/* ---- weights ---- */

/* Device memory that close releases. */
static void *placed(osv_ops *o, size_t bytes)
{
    osv_cuda *cuda = o->state;
    osv_cuda_block *b = malloc(sizeof *b);
    if (!b) {
        OSV_FAIL(o->error, OSV_DEVICE, "cuda: out of host memory");
        return NULL;
    }
    *b = (osv_cuda_block){.next = cuda->placed, .data = take(o, bytes, "a weight")};
    cuda->placed = b;
    return b->data;
}

/* From the mapped file through two pinned buffers in turn: one is filled while the device reads the other.
 * The format changes on the device. */
static void cuda_place(osv_ops *o, osv_weight *w)
{
    osv_cuda *cuda = o->state;
    if (failed(o) || !w->data) return;
    osv_format format = cuda->dtype == OSV_DTYPE_BF16 && w->rows > 1 ? OSV_BF16 : OSV_F32;
    size_t n = (size_t)w->rows * (size_t)w->cols, chunk = cuda->scratch_bytes / 2;
    size_t from = osv_format_bytes(w->format), to = osv_format_bytes(format), at_once = chunk / from;
    for (int i = 0; i < 2; i++)
        if (!cuda->pinned[i]) cuda->pinned[i] = osv_device_host_alloc(cuda->device, chunk);
    char *data = placed(o, n * to);
    for (size_t i = 0; i < n && !failed(o); i += at_once) {
        int turn = cuda->turn = !cuda->turn; /* goes on from the last weight, whose copy may be under way */
        size_t count = n - i < at_once ? n - i : at_once;
        wait(o, 1);
        osv_host_copy(cuda->pinned[turn], (const char *)w->data + i * from, count * from);
        if (w->format == format) {
            osv_device_copy(cuda->device, data + i * to, cuda->pinned[turn], count * from, OSV_TO_DEVICE);
        } else {
            char *part = (char *)cuda->scratch + (size_t)turn * chunk;
            osv_device_copy(cuda->device, part, cuda->pinned[turn], count * from, OSV_TO_DEVICE);
            osv_cuda_convert(o, data + i * to, format, part, w->format, count);
        }
        mark(cuda);
    }
    w->data = data;
    w->format = format;
}

/* ---- profilers and clocks ---- */

static void cuda_range(osv_ops *o, const char *name, int number)
{
    osv_device_range(osv_cuda_device(o), name, number);
}

static void cuda_profiler(osv_ops *o, bool on)
{
    osv_device_profiler(osv_cuda_device(o), on);
}

static void cuda_stamp(osv_ops *o, int k)
{
    osv_device_stamp(osv_cuda_device(o), k);
}

static double cuda_between(osv_ops *o, int a, int b)
{
    return osv_device_between(osv_cuda_device(o), a, b);
}

/* ---- the table ---- */

static void cuda_close(osv_ops *o)
{
    if (!o) return;
    osv_cuda *cuda = o->state;
    osv_device *d = cuda->device;
    if (cuda->recording) {
        osv_graph *g = cuda->recording;
        osv_device_graph_free(d, osv_device_graph_end(d));
        free(g->transfers);
        free(g);
    }
    while (cuda->graphs) cuda_graph_free(o, cuda->graphs);
    for (osv_cuda_block *b = cuda->placed, *next; b; b = next) {
        next = b->next;
        osv_device_free(d, b->data);
        free(b);
    }
    for (int i = 0; i < 2; i++) osv_device_host_free(d, cuda->pinned[i]);
    osv_device_host_free(d, cuda->box);
    osv_device_host_free(d, cuda->meeting);
    osv_device_free(d, cuda->scratch);
    osv_device_close(d);
    free(cuda);
    free(o);
}

static const osv_ops table = {
    .name = "cuda",
    .close = cuda_close,
    .embed = osv_cuda_embed,
    .matmul = osv_cuda_matmul,
    .matmul_dx = osv_cuda_matmul_dx,
    .bias = osv_cuda_bias,
    .rmsnorm = osv_cuda_rmsnorm,
    .rmsnorm_dx = osv_cuda_rmsnorm_dx,
    .rmsnorm_sum = osv_cuda_rmsnorm_sum,
    .rmsnorm_split = osv_cuda_rmsnorm_split,
    .rmsnorm_dot = osv_cuda_rmsnorm_dot,
    .rmsnorm_split_dx = osv_cuda_rmsnorm_split_dx,
    .residual_add = osv_cuda_residual_add,
    .scale = osv_cuda_scale,
    .rope = osv_cuda_rope,
    .attention = osv_cuda_attention,
    .attention_dx = osv_cuda_attention_dx,
    .glu = osv_cuda_glu,
    .glu_dx = osv_cuda_glu_dx,
    .softcap = osv_cuda_softcap,
    .score_max = osv_cuda_score_max,
    .score_sum = osv_cuda_score_sum,
    .score = osv_cuda_score,
    .score_dx = osv_cuda_score_dx,
    .kl_sum = osv_cuda_kl_sum,
    .kl = osv_cuda_kl,
    .kl_dx = osv_cuda_kl_dx,
    .distance = osv_cuda_distance,
    .distance_dx = osv_cuda_distance_dx,
    .objective = osv_cuda_objective,
    .multipliers = osv_cuda_multipliers,
    .sample = osv_cuda_sample,
    .candidates = osv_cuda_candidates,
    .apply = osv_cuda_apply,
    .apply_dp = osv_cuda_apply_dp,
    .apply_dx = osv_cuda_apply_dx,
    .adam = osv_cuda_adam,
    .norm = osv_cuda_norm,
    .penalty = osv_cuda_penalty,
    .noise = osv_cuda_noise,
    .noise_mean = osv_cuda_noise_mean,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .available = cuda_available,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .on_host = cuda_on_host,
    .gather_rows = osv_cuda_gather_rows,
    .scatter_rows = osv_cuda_scatter_rows,
    .place = cuda_place,
    .sync = cuda_sync,
    .graph_begin = cuda_graph_begin,
    .graph_end = cuda_graph_end,
    .graph_run = cuda_graph_run,
    .graph_free = cuda_graph_free,
    .range = cuda_range,
    .profiler = cuda_profiler,
    .stamp = cuda_stamp,
    .between = cuda_between,
};

int osv_cuda_devices(void)
{
    return osv_devices();
}

int osv_cuda_open(osv_ops **out, osv_dtype dtype, int number, osv_error *error)
{
    *out = NULL;
    osv_device *device;
    OSV_TRY(osv_device_open(&device, number, error));
    osv_ops *o = malloc(sizeof *o);
    osv_cuda *cuda = calloc(1, sizeof *cuda);
    if (!o || !cuda) {
        free(o);
        free(cuda);
        osv_device_close(device);
        return OSV_FAIL(error, OSV_DEVICE, "cuda: out of host memory");
    }
    *o = table;
    o->hardware = osv_device_name(device);
    o->dtype = dtype;
    o->error = error;
    o->state = cuda;
    *cuda = (osv_cuda){.device = device, .dtype = dtype, .scratch_bytes = osv_device_scratch(device)};
    cuda->scratch = take(o, cuda->scratch_bytes, "scratch");
    if (error->status) {
        cuda_close(o);
        return error->status;
    }
    *out = o;
    return OSV_OK;
}
