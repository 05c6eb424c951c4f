/* kernels/cuda/device.h by CUDA: one stream, its graphs, cuBLASLt. Nothing is decided here that could be
 * decided above, because a machine without a GPU cannot test it. */
#include <cublasLt.h>
#include <cuda_profiler_api.h>
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/device.h"

enum {
    WORKSPACE_BYTES = OSV_CUDA_WORKSPACE, /* what NVIDIA advises for Hopper */
    STATIC_SHARED = 48 << 10,             /* more dynamic shared memory has to be asked for */
    PLANS = 256,
};

/* How a product of some shape is computed, asked of cuBLASLt once. */
typedef struct {
    osv_product shape; /* pointers reduced to their alignment */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
} plan;

/* What a thread of the driver calls; those that are recorded live as long as their graph. */
typedef struct host_call host_call;
struct host_call {
    osv_host_call *f;
    void *context, *x;
    size_t bytes;
    bool recorded;
    host_call *next;
};

struct osv_device {
    osv_error *error;
    int number, processors;
    cudaStream_t stream;
    cudaEvent_t marks[OSV_DEVICE_MARKS];
    cudaEvent_t stamps[OSV_STAMPS]; /* NULL: not taken yet */
    size_t marked;
    bool recording;
    host_call *calls; /* recorded so far */
    cublasLtHandle_t blas;
    void *workspace;
    plan plans[PLANS];
    size_t planned; /* so far */
    char name[640];
};

struct osv_device_graph {
    cudaGraphExec_t run;
    host_call *calls;
};

/* ---- errors ---- */

static bool failed(const osv_device *d)
{
    return d->error->status != OSV_OK;
}

static bool check(osv_device *d, cudaError_t code, const char *what, const char *file, int line)
{
    if (code == cudaSuccess) return !failed(d);
    osv_error_set(d->error, OSV_DEVICE, file, line, "cuda: %s: %s (%s)", what, cudaGetErrorString(code),
                  cudaGetErrorName(code));
    return false;
}

#define CUDA(d, call) check(d, call, #call, __FILE__, __LINE__)

static bool check_blas(osv_device *d, cublasStatus_t code, const char *what, const char *file, int line)
{
    if (code == CUBLAS_STATUS_SUCCESS) return !failed(d);
    osv_error_set(d->error, OSV_DEVICE, file, line, "cuda: %s: %s", what, cublasLtGetStatusString(code));
    return false;
}

#define BLAS(d, call) check_blas(d, call, #call, __FILE__, __LINE__)

/* ---- the device ---- */

static void release_plan(plan *p)
{
    if (p->a) cublasLtMatrixLayoutDestroy(p->a);
    if (p->b) cublasLtMatrixLayoutDestroy(p->b);
    if (p->c) cublasLtMatrixLayoutDestroy(p->c);
    if (p->operation) cublasLtMatmulDescDestroy(p->operation);
    memset(p, 0, sizeof *p);
}

static void describe(osv_device *d)
{
    cudaDeviceProp p;
    int driver = 0;
    if (!CUDA(d, cudaGetDeviceProperties(&p, d->number)) || !CUDA(d, cudaDriverGetVersion(&driver))) return;
    d->processors = p.multiProcessorCount;
    snprintf(d->name, sizeof d->name, "%s, %d multiprocessors, %.1f GB, driver %d.%d", p.name,
             p.multiProcessorCount, (double)p.totalGlobalMem / 1e9, driver / 1000, driver % 1000 / 10);
    if (p.major < 8)
        OSV_FAIL(d->error, OSV_DEVICE, "cuda: %s has compute capability %d.%d, at least 8.0 is needed",
                 p.name, p.major, p.minor);
}

int osv_devices(void)
{
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

int osv_device_open(osv_device **out, int number, osv_error *error)
{
    int count = 0;
    *out = NULL;
    if (error->status) return error->status;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess || count == 0)
        return OSV_FAIL(error, OSV_DEVICE, "--backend cuda: there is no usable GPU (%s)",
                        code == cudaSuccess ? "no device" : cudaGetErrorString(code));
    if (number < 0 || number >= count)
        return OSV_FAIL(error, OSV_DEVICE, "--device %d: there are %d, counted from 0", number, count);
    osv_device *d = (osv_device *)calloc(1, sizeof *d);
    if (!d) return OSV_FAIL(error, OSV_DEVICE, "cuda: out of host memory");
    d->error = error;
    d->number = number;
    CUDA(d, cudaSetDevice(number));
    if (!failed(d)) describe(d);
    if (!failed(d)) CUDA(d, cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
    for (int i = 0; i < OSV_DEVICE_MARKS && !failed(d); i++)
        CUDA(d, cudaEventCreateWithFlags(&d->marks[i], cudaEventDisableTiming));
    if (!failed(d)) BLAS(d, cublasLtCreate(&d->blas));
    if (!failed(d)) CUDA(d, cudaMalloc(&d->workspace, WORKSPACE_BYTES));
    if (failed(d)) {
        osv_device_close(d);
        return error->status;
    }
    *out = d;
    return OSV_OK;
}

/* Also after a failure; what fails here is not worth a message any more. */
void osv_device_close(osv_device *d)
{
    if (!d) return;
    if (d->stream) cudaStreamSynchronize(d->stream);
    for (int i = 0; i < PLANS; i++) release_plan(&d->plans[i]);
    if (d->blas) cublasLtDestroy(d->blas);
    cudaFree(d->workspace);
    for (int i = 0; i < OSV_DEVICE_MARKS; i++)
        if (d->marks[i]) cudaEventDestroy(d->marks[i]);
    for (int i = 0; i < OSV_STAMPS; i++)
        if (d->stamps[i]) cudaEventDestroy(d->stamps[i]);
    if (d->stream) cudaStreamDestroy(d->stream);
    free(d);
}

const char *osv_device_name(const osv_device *d)
{
    return d->name;
}

int osv_device_processors(const osv_device *d)
{
    return d->processors;
}

size_t osv_device_scratch(const osv_device *d)
{
    (void)d;
    return OSV_CUDA_SCRATCH;
}

/* ---- memory ---- */

void *osv_device_alloc(osv_device *d, size_t bytes)
{
    void *p = NULL;
    if (failed(d)) return NULL;
    cudaError_t code = cudaMalloc(&p, bytes ? bytes : 1);
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* no error of the context: others may still be given */
        return NULL;
    }
    return CUDA(d, code) ? p : NULL;
}

void osv_device_memory(osv_device *d, size_t *available, size_t *total)
{
    *available = *total = 0;
    if (!failed(d)) CUDA(d, cudaMemGetInfo(available, total));
}

void osv_device_free(osv_device *d, void *p)
{
    cudaStreamSynchronize(d->stream);
    cudaFree(p);
}

void *osv_device_host_alloc(osv_device *d, size_t bytes)
{
    void *p = NULL;
    if (failed(d) || !CUDA(d, cudaMallocHost(&p, bytes))) return NULL;
    return p;
}

void osv_device_host_free(osv_device *d, void *p)
{
    if (!p) return;
    cudaStreamSynchronize(d->stream);
    cudaFreeHost(p);
}

void osv_device_copy(osv_device *d, void *dst, const void *src, size_t bytes, osv_direction direction)
{
    cudaMemcpyKind kind = direction == OSV_TO_DEVICE ? cudaMemcpyHostToDevice
                          : direction == OSV_TO_HOST ? cudaMemcpyDeviceToHost
                                                     : cudaMemcpyDeviceToDevice;
    if (!failed(d) && bytes > 0) CUDA(d, cudaMemcpyAsync(dst, src, bytes, kind, d->stream));
}

void osv_device_fill(osv_device *d, void *p, unsigned char byte, size_t bytes)
{
    if (!failed(d) && bytes > 0) CUDA(d, cudaMemsetAsync(p, byte, bytes, d->stream));
}

static void CUDART_CB call_host(void *p)
{
    host_call *c = (host_call *)p;
    c->f(c->context, c->x, c->bytes);
    if (!c->recorded) free(c);
}

static void free_calls(host_call *c)
{
    for (host_call *next; c; c = next) {
        next = c->next;
        free(c);
    }
}

void osv_device_call(osv_device *d, osv_host_call *f, void *context, void *x, size_t bytes)
{
    if (failed(d)) return;
    host_call *c = (host_call *)malloc(sizeof *c);
    if (!c) {
        OSV_FAIL(d->error, OSV_DEVICE, "cuda: out of host memory");
        return;
    }
    *c = {f, context, x, bytes, d->recording, d->recording ? d->calls : NULL};
    if (d->recording) d->calls = c;
    if (!CUDA(d, cudaLaunchHostFunc(d->stream, call_host, c)) && !d->recording) free(c);
}

/* ---- order ---- */

void osv_device_mark(osv_device *d)
{
    if (!failed(d)) CUDA(d, cudaEventRecord(d->marks[d->marked++ % OSV_DEVICE_MARKS], d->stream));
}

void osv_device_sync(osv_device *d, int behind)
{
    if (failed(d)) return;
    if (behind == 0)
        CUDA(d, cudaStreamSynchronize(d->stream));
    else if ((size_t)behind < d->marked)
        CUDA(d, cudaEventSynchronize(d->marks[(d->marked - 1 - (size_t)behind) % OSV_DEVICE_MARKS]));
}

void osv_device_graph_begin(osv_device *d)
{
    if (failed(d)) return;
    d->recording = CUDA(d, cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal));
}

osv_device_graph *osv_device_graph_end(osv_device *d)
{
    cudaGraph_t graph = NULL;
    if (!d->recording) return NULL;
    d->recording = false;
    cudaError_t code = cudaStreamEndCapture(d->stream, &graph); /* also after a failure */
    osv_device_graph *g = failed(d) ? NULL : (osv_device_graph *)calloc(1, sizeof *g);
    host_call *calls = d->calls;
    d->calls = NULL;
    if (g) CUDA(d, code);
    if (g && !failed(d)) CUDA(d, cudaGraphInstantiate(&g->run, graph, 0));
    if (graph) cudaGraphDestroy(graph);
    if (g) g->calls = calls;
    if (g && !failed(d)) return g;
    if (!failed(d)) OSV_FAIL(d->error, OSV_DEVICE, "cuda: out of host memory");
    free_calls(calls);
    free(g);
    return NULL;
}

void osv_device_graph_run(osv_device *d, osv_device_graph *graph)
{
    if (!failed(d)) CUDA(d, cudaGraphLaunch(graph->run, d->stream));
}

void osv_device_graph_free(osv_device *d, osv_device_graph *graph)
{
    if (!graph) return;
    cudaStreamSynchronize(d->stream);
    cudaGraphExecDestroy(graph->run);
    free_calls(graph->calls);
    free(graph);
}

/* ---- profilers and clocks ---- */

void osv_device_stamp(osv_device *d, int k)
{
    if (failed(d)) return;
    if (!d->stamps[k]) CUDA(d, cudaEventCreate(&d->stamps[k]));
    if (!failed(d)) CUDA(d, cudaEventRecord(d->stamps[k], d->stream));
}

double osv_device_between(osv_device *d, int a, int b)
{
    float milliseconds = 0;
    if (!failed(d)) CUDA(d, cudaEventSynchronize(d->stamps[b]));
    if (!failed(d)) CUDA(d, cudaEventElapsedTime(&milliseconds, d->stamps[a], d->stamps[b]));
    return milliseconds * 1e-3;
}

void osv_device_range(osv_device *d, const char *name, int number)
{
    char text[64];
    (void)d;
    if (!name) {
        nvtxRangePop();
    } else if (number < 0) {
        nvtxRangePushA(name);
    } else {
        snprintf(text, sizeof text, "%s %d", name, number);
        nvtxRangePushA(text);
    }
}

void osv_device_profiler(osv_device *d, bool on)
{
    if (failed(d)) return;
    if (on)
        CUDA(d, cudaProfilerStart());
    else
        CUDA(d, cudaProfilerStop());
}

/* ---- kernels ---- */

bool osv_device_launch(osv_device *d, const void *kernel, size_t shared_bytes)
{
    if (failed(d)) return false;
    return shared_bytes <= STATIC_SHARED ||
           CUDA(d,
                cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes));
}

void osv_device_launched(osv_device *d, const char *kernel, const char *file, int line)
{
    check(d, cudaGetLastError(), kernel, file, line);
}

void *osv_device_stream(osv_device *d)
{
    return d->stream;
}

/* ---- products ---- */

/* The largest power of two up to 256 that divides the address. */
static size_t alignment(const void *p)
{
    size_t bits = (size_t)p | 256;
    return bits & (0 - bits);
}

/* What a plan depends on. */
static osv_product shape_of(const osv_product *p)
{
    osv_product s;
    memset(&s, 0, sizeof s); /* shapes are compared byte by byte */
    s.c = (float *)alignment(p->c);
    s.a = (const void *)alignment(p->a);
    s.b = (const void *)alignment(p->b);
    s.rows = p->rows;
    s.cols = p->cols;
    s.inner = p->inner;
    s.format = p->format;
    s.transposed = p->transposed;
    s.accumulate = p->accumulate;
    return s;
}

static void layout(osv_device *d, cublasLtMatrixLayout_t *m, cudaDataType_t type, int rows, int cols)
{
    if (!failed(d)) BLAS(d, cublasLtMatrixLayoutCreate(m, type, (uint64_t)rows, (uint64_t)cols, rows));
}

/* cuBLASLt counts by columns, so it computes the transpose: c^T [cols, rows] = b^T a^T. */
static void make_plan(osv_device *d, plan *p)
{
    const osv_product *s = &p->shape;
    cudaDataType_t type = s->format == OSV_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t transpose = s->transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    size_t workspace = WORKSPACE_BYTES;
    uint32_t at_a = (uint32_t)(size_t)s->a, at_b = (uint32_t)(size_t)s->b, at_c = (uint32_t)(size_t)s->c;
    /* Sums of parts in the workspace, in order; the scheme in place adds in the order of arrival. */
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    int found = 0;
    BLAS(d, cublasLtMatmulDescCreate(&p->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F)); /* never TF32 */
    if (!failed(d))
        BLAS(d, cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                               sizeof transpose));
    layout(d, &p->b, type, s->transposed ? s->inner : s->cols, s->transposed ? s->cols : s->inner);
    layout(d, &p->a, type, s->inner, s->rows);
    layout(d, &p->c, CUDA_R_32F, s->cols, s->rows);
    if (!failed(d)) BLAS(d, cublasLtMatmulPreferenceCreate(&preference));
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } wishes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &at_b, sizeof at_b},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &at_a, sizeof at_a},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &at_c, sizeof at_c},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &at_c, sizeof at_c},
    };
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes && !failed(d); i++)
        BLAS(d, cublasLtMatmulPreferenceSetAttribute(preference, wishes[i].name, wishes[i].value,
                                                     wishes[i].bytes));
    if (!failed(d))
        BLAS(d, cublasLtMatmulAlgoGetHeuristic(d->blas, p->operation, p->b, p->a, p->c, p->c, preference, 1,
                                               &result, &found));
    if (!failed(d) && found == 0)
        OSV_FAIL(d->error, OSV_DEVICE, "cuda: cuBLASLt knows no way to multiply [%d, %d] by [%d, %d]",
                 s->rows, s->inner, s->inner, s->cols);
    if (!failed(d)) p->algorithm = result.algo;
    if (preference) cublasLtMatmulPreferenceDestroy(preference);
}

/* The plan of a shape, made when it is met first; when the table is full, the one made longest ago goes. */
static const plan *plan_of(osv_device *d, const osv_product *product)
{
    osv_product shape = shape_of(product);
    for (size_t i = 0; i < PLANS && i < d->planned; i++)
        if (memcmp(&d->plans[i].shape, &shape, sizeof shape) == 0) return &d->plans[i];
    plan *p = &d->plans[d->planned++ % PLANS];
    release_plan(p);
    p->shape = shape;
    make_plan(d, p);
    return p;
}

void osv_device_matmul(osv_device *d, const osv_product *product)
{
    if (failed(d)) return;
    const plan *p = plan_of(d, product);
    const float one = 1, beta = product->accumulate ? 1 : 0;
    if (failed(d)) return;
    BLAS(d, cublasLtMatmul(d->blas, p->operation, &one, product->b, p->b, product->a, p->a, &beta, product->c,
                           p->c, product->c, p->c, &p->algorithm, d->workspace, WORKSPACE_BYTES, d->stream));
}
