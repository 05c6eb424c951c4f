/* A weight matrix as an operator sees it. It owns nothing: `data` points into a mapped file or into memory
 * that the backend made in `place`. */
#ifndef OSV_KERNELS_WEIGHT_H
#define OSV_KERNELS_WEIGHT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { OSV_F32, OSV_F16, OSV_BF16 } osv_format;

typedef struct {
    const void *data; /* [rows, cols], row-major; NULL where the model has no such weight */
    osv_format format;
    int rows, cols; /* outputs, inputs; a norm weight or a bias is [1, cols] */
} osv_weight;

size_t osv_format_bytes(osv_format format);
const char *osv_format_name(osv_format format);

/* One element as a double, whatever the format: for `ref` and for tests. */
double osv_weight_get(const osv_weight *w, size_t row, size_t col);

/* Round to nearest even, as hardware and PyTorch do; NaN stays NaN. */
unsigned short osv_bf16_from_float(float x);
float osv_float_from_bf16(unsigned short bits);
float osv_float_from_f16(unsigned short bits);

#ifdef __cplusplus
}
#endif

#endif
