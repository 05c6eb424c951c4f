#include "optim/orthogonal.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/form.h"

/* Of a vector's length, below which what is left of it is the rounding of floats. */
static const double NOTHING = 1e-6;

int osv_orthogonal_most(const osv_job *job)
{
    return job->befores + job->given;
}

static double length(const double *x, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += x[d] * x[d];
    return sqrt(sum);
}

/* x without its parts along `count` orthonormal rows; once leaves the rounding of what it takes away, twice
 * does not (Giraud, Langou & Rozloznik 2005). */
static void leave(double *x, const double *direction, int count, int D)
{
    for (int k = 0; k < 2 * count; k++) {
        const double *e = direction + (size_t)(k % count) * (size_t)D;
        double part = 0;
        for (int d = 0; d < D; d++) part += e[d] * x[d];
        for (int d = 0; d < D; d++) x[d] -= part * e[d];
    }
}

/* The i-th of the others' vectors at the same block, in double. */
static void copy_other(double *to, const osv_job *job, int i, int vector, const osv_real *const *kept, int D)
{
    const float *given = NULL;
    const osv_real *of_job = NULL;
    if (i < job->given)
        given = job->orthogonal + (size_t)(i * osv_job_vectors(job) + vector) * (size_t)D;
    else
        of_job = kept[job->before[i - job->given]] +
                 (size_t)(vector * osv_form_params(job->form)) * (size_t)D;
    for (int d = 0; d < D; d++) to[d] = given ? (double)given[d] : (double)of_job[d];
}

int osv_orthogonal_make(double *direction, const osv_job *job, int vector, const osv_real *const *kept, int D)
{
    int count = 0;
    for (int i = 0; i < osv_orthogonal_most(job); i++) {
        double *row = direction + (size_t)count * (size_t)D;
        copy_other(row, job, i, vector, kept, D);
        double before = length(row, D);
        leave(row, direction, count, D);
        double after = length(row, D);
        if (!isfinite(after) || !(after > NOTHING * before)) continue;
        for (int d = 0; d < D; d++) row[d] /= after;
        count++;
    }
    return count;
}

/* One vector. `x` [D] is scratch. */
static int start(osv_real *v, double *x, const double *direction, int count, const osv_job *job, int D,
                 osv_error *e)
{
    for (int d = 0; d < D; d++) x[d] = (double)v[d];
    double before = length(x, D);
    leave(x, direction, count, D);
    double after = length(x, D), factor = job->options.init || before == 0 ? 1 : before / after;
    if (before > 0 && !(after > NOTHING * before))
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "job \"%s\": nothing of its start vector is orthogonal to the %d others that it is to "
            "stay orthogonal to, in %d dimensions",
            job->name, count, D);
    for (int d = 0; d < D; d++) v[d] = (osv_real)(factor * x[d]);
    return OSV_OK;
}

int osv_orthogonal_start(osv_real *rows, const osv_job *job, const osv_real *const *kept, int D, osv_error *e)
{
    size_t most = (size_t)osv_orthogonal_most(job);
    if (most == 0) return OSV_OK;
    double *direction = malloc((most + 1) * (size_t)D * sizeof *direction), *x = direction + most * (size_t)D;
    int status = direction ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int k = 0; k < osv_job_vectors(job) && !status; k++) {
        osv_real *v = rows + (size_t)(k * osv_form_params(job->form)) * (size_t)D;
        int count = osv_orthogonal_make(direction, job, k, kept, D);
        status = start(v, x, direction, count, job, D, e);
    }
    free(direction);
    return status;
}
