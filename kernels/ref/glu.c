#include "kernels/ref/ref.h"

#include <math.h>

/* act(x), and its derivative in *slope.
 *     SiLU       x sigmoid(x)                                              (Elfwing et al. 2017)
 *     GELU       x Phi(x), Phi the normal distribution                     (Hendrycks & Gimpel 2016)
 *     GELU tanh  x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2         (the same, its approximation) */
static double activate(osv_activation act, double x, double *slope)
{
    switch (act) {
    case OSV_SILU: {
        double s = 1 / (1 + exp(-x));
        *slope = s * (1 + x * (1 - s));
        return x * s;
    }
    case OSV_GELU_TANH: {
        double t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
        double inner_slope = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
        *slope = (1 + t) / 2 + x * (1 - t * t) * inner_slope / 2;
        return x * (1 + t) / 2;
    }
    case OSV_GELU: {
        double phi = erfc(-x / sqrt(2)) / 2;
        *slope = phi + x * exp(-x * x / 2) / sqrt(2 * M_PI);
        return x * phi;
    }
    }
    *slope = NAN;
    return NAN;
}

/* y = act(gate) up (Shazeer 2020) */
void osv_ref_glu(osv_ops *o, osv_real *y, const osv_real *gate, const osv_real *up, osv_activation act,
                 size_t n)
{
    if (osv_ops_status(o)) return;
    for (size_t i = 0; i < n; i++) {
        double slope;
        y[i] = (osv_real)(activate(act, gate[i], &slope) * up[i]);
    }
}

/* dgate = dy up act'(gate), dup = dy act(gate) */
void osv_ref_glu_dx(osv_ops *o, osv_real *dgate, osv_real *dup, const osv_real *dy, const osv_real *gate,
                    const osv_real *up, osv_activation act, size_t n)
{
    if (osv_ops_status(o)) return;
    for (size_t i = 0; i < n; i++) {
        double slope, value = activate(act, gate[i], &slope);
        double d = dy[i], u = up[i]; /* read before a write: dgate or dup may be their memory */
        dgate[i] = (osv_real)(d * u * slope);
        dup[i] = (osv_real)(d * value);
    }
}
