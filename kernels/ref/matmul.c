#include "kernels/ref/ref.h"

/* y[i][r, m] = sum over c of x[r, c] w[i][m, c]. A row of w is read once, into scratch, for all rows of x. */
void osv_ref_matmul(osv_ops *o, osv_real *const y[], const osv_real *x, const osv_weight *const w[], int n,
                    int rows)
{
    if (osv_ops_status(o)) return;
    for (int i = 0; i < n; i++) {
        int cols = w[i]->cols, outputs = w[i]->rows;
        double *weight = osv_ref_scratch(o, (size_t)cols);
        if (!weight) return;
        for (int m = 0; m < outputs; m++) {
            for (int c = 0; c < cols; c++) weight[c] = osv_ref_weight(o, w[i], m, c);
            for (int r = 0; r < rows; r++) {
                double sum = 0;
                for (int c = 0; c < cols; c++) sum += osv_ref_round(o, x[(size_t)r * cols + c]) * weight[c];
                y[i][(size_t)r * outputs + m] = (osv_real)sum;
            }
        }
    }
}

/* dx[r, c] = sum over i and m of dy[i][r, m] w[i][m, c]. A column of all w is read once for all rows of dy.
 */
void osv_ref_matmul_dx(osv_ops *o, osv_real *dx, const osv_real *const dy[], const osv_weight *const w[],
                       int n, int rows)
{
    if (osv_ops_status(o) || n == 0) return;
    size_t outputs = 0;
    for (int i = 0; i < n; i++) outputs += (size_t)w[i]->rows;
    double *weight = osv_ref_scratch(o, outputs);
    if (!weight) return;
    int cols = w[0]->cols;
    for (int c = 0; c < cols; c++) {
        double *column = weight;
        for (int i = 0; i < n; column += w[i++]->rows)
            for (int m = 0; m < w[i]->rows; m++) column[m] = osv_ref_weight(o, w[i], m, c);
        for (int r = 0; r < rows; r++) {
            double sum = 0;
            column = weight;
            for (int i = 0; i < n; column += w[i++]->rows)
                for (int m = 0; m < w[i]->rows; m++)
                    sum += osv_ref_round(o, dy[i][(size_t)r * w[i]->rows + m]) * column[m];
            dx[(size_t)r * cols + c] = (osv_real)sum;
        }
    }
}

/* y[r] += b */
void osv_ref_bias(osv_ops *o, osv_real *y, const osv_weight *b, int rows)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < b->cols; c++) {
            osv_real *at = &y[(size_t)r * b->cols + c];
            *at = (osv_real)(*at + osv_weight_get(b, 0, (size_t)c));
        }
}
