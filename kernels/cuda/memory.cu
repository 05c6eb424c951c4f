/* Rows moved and formats changed: bandwidth alone, 4 numbers a thread and access. Blocks go over the whole in
 * steps of the grid, so that a launch has no more blocks than it needs to fill the device. */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256 };

/* out[to[r]] = in[from[r]]; NULL: r itself. V is float4 where rows are whole ones, else float. */
template <typename V>
static __global__ void move_rows(V *out, const V *in, const int *to, const int *from, int D, int rows)
{
    size_t n = (size_t)rows * D, step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int r = (int)(i / D), d = (int)(i % D);
        out[(size_t)(to ? to[r] : r) * D + d] = in[(size_t)(from ? from[r] : r) * D + d];
    }
}

static void move(osv_ops *o, float *out, const float *in, const int *to, const int *from, int D, int rows)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    if (osv_cuda_by_four(out, D) && osv_cuda_by_four(in, D))
        LAUNCH(d, osv_cuda_grid(o, (size_t)rows * D / 4, THREADS), THREADS, 0, move_rows<float4>,
               (float4 *)out, (const float4 *)in, to, from, D / 4, rows);
    else
        LAUNCH(d, osv_cuda_grid(o, (size_t)rows * D, THREADS), THREADS, 0, move_rows<float>, out, in, to,
               from, D, rows);
}

extern "C" void osv_cuda_gather_rows(osv_ops *o, float *out, const float *in, const int *index, int D,
                                     int rows)
{
    move(o, out, in, NULL, index, D, rows);
}

extern "C" void osv_cuda_scatter_rows(osv_ops *o, float *out, const float *in, const int *index, int D,
                                      int rows)
{
    move(o, out, in, index, NULL, D, rows);
}

/* ---- formats ---- */

typedef struct {
    uint16_t bits;
} f16;

/* Shifted into place the exponent is 112 too small; the product mends that, for subnormal numbers too. */
static inline __device__ float to_float(f16 x)
{
    uint32_t magnitude = (uint32_t)(x.bits & 0x7fff) << 13, sign = (uint32_t)(x.bits & 0x8000) << 16;
    if (magnitude >= 0x0f800000u) return __uint_as_float(sign | magnitude | 0x7f800000u);
    return __uint_as_float(sign | __float_as_uint(__uint_as_float(magnitude) * 0x1p112f));
}

template <typename Out, typename In> static __global__ void convert(Out *out, const In *in, size_t n)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        store(out + i, to_float(in[i]));
}

static __global__ void convert_by_four(bf16 *out, const float *in, size_t n)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n / 4; i += step)
        store4(out + 4 * i, load4(in + 4 * i));
}

template <typename Out>
static void convert_to(osv_ops *o, Out *out, const void *in, osv_format format, size_t n)
{
    osv_device *d = osv_cuda_device(o);
    unsigned blocks = osv_cuda_grid(o, n, THREADS);
    switch (format) {
    case OSV_F32: LAUNCH(d, blocks, THREADS, 0, (convert<Out, float>), out, (const float *)in, n); break;
    case OSV_F16: LAUNCH(d, blocks, THREADS, 0, (convert<Out, f16>), out, (const f16 *)in, n); break;
    case OSV_BF16: LAUNCH(d, blocks, THREADS, 0, (convert<Out, bf16>), out, (const bf16 *)in, n); break;
    }
}

extern "C" void osv_cuda_convert(osv_ops *o, void *out, osv_format out_format, const void *in,
                                 osv_format in_format, size_t n)
{
    if (osv_ops_status(o)) return;
    if (out_format == OSV_F32)
        convert_to(o, (float *)out, in, in_format, n);
    else if (in_format == OSV_F32 && osv_cuda_by_four(in, n) && osv_cuda_by_four(out, n))
        LAUNCH(osv_cuda_device(o), osv_cuda_grid(o, n / 4, THREADS), THREADS, 0, convert_by_four, (bf16 *)out,
               (const float *)in, n);
    else
        convert_to(o, (bf16 *)out, in, in_format, n);
}
