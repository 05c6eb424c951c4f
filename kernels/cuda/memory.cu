/* Rows moved and formats changed: bandwidth alone, 4 numbers a thread and access. */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256 };

/* out[to[r]] = in[from[r]]; NULL: r itself. A block a row. */
static __global__ void move_rows(float *out, const float *in, const int *to, const int *from, int D,
                                 bool by_four)
{
    int r = (int)blockIdx.x;
    out += (size_t)(to ? to[r] : r) * D;
    in += (size_t)(from ? from[r] : r) * D;
    over_row(
        D, by_four, [&](int d) { store4(out + d, load4(in + d)); }, [&](int d) { out[d] = in[d]; });
}

static void move(osv_ops *o, float *out, const float *in, const int *to, const int *from, int D, int rows)
{
    if (osv_ops_status(o)) return;
    bool by_four = osv_cuda_by_four(out, D) && osv_cuda_by_four(in, D);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, move_rows, out, in, to, from, D, by_four);
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
