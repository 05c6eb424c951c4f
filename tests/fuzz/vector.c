#include "engine/config.h"
#include "kernels/form.h"
#include "optim/vector_file.h"

#include <math.h>

#include "fuzz.h"
#include "safetensors_mutate.h"

const char *const fuzz_names[] = {"vector", "vector.0", "vector.1", "vector.3", "vector.511", "left",
                                  "right",  "offset",   "left.1",   "right.1",  NULL};
const char *const fuzz_metadata[] = {"format",
                                     "osv/1",
                                     "format",
                                     "osv/2",
                                     "site",
                                     "block_input:1",
                                     "site",
                                     "block_input:1,3",
                                     "site",
                                     "block_input:511",
                                     "site",
                                     "block_input:3,1",
                                     "apply",
                                     "add",
                                     "apply",
                                     "clamp",
                                     "apply",
                                     "ablate",
                                     "apply",
                                     "affine",
                                     "clamp",
                                     "0.5",
                                     "clamp",
                                     "1e400",
                                     "positions",
                                     "prompt:-2:",
                                     "chat",
                                     "raw",
                                     "model",
                                     "m",
                                     "model_sha256",
                                     "aa",
                                     NULL};

void fuzz_made(const uint8_t *data, size_t bytes, bool whole)
{
    (void)data, (void)bytes, (void)whole; /* a whole file need not be one of a vector */
}

/* Any file is refused, or gives vectors that can be used. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    osv_error e = {0};
    osv_vector_file f;
    const char *path = as_file(data, bytes);
    int status = osv_vector_open(&f, path, &e);
    check_error(status, &e);
    if (!status) {
        MUST(f.D >= 1 && f.layers >= 1 && f.layers <= OSV_MAX_VECTOR_LAYERS);
        MUST(f.layer[0] >= 0 || f.layers == 1);
        for (int i = 0; i < f.layers; i++) {
            MUST(f.layer[i] < OSV_MAX_BLOCKS);
            MUST(i == 0 || f.layer[i] > f.layer[i - 1]);
        }
        MUST(f.rows == osv_form_params(f.form) && isfinite(f.form.clamp));
        for (int i = 0; i < f.layers * f.rows * f.D; i++) MUST(isfinite(f.vector[i]));
        osv_vector_free(&f);
    }
    static const osv_form form[] = {{.kind = OSV_FORM_ADD},
                                    {.kind = OSV_FORM_CLAMP, .offset = true},
                                    {.kind = OSV_FORM_AFFINE, .rank = 1}};
    static const int layer[] = {1, 3};
    for (int i = 0; i < 6; i++) {
        e = (osv_error){0};
        float *rows;
        enum { D = 2 };
        bool apart = i % 2;
        status = osv_vector_read(path, &rows, D, form[i / 2], apart ? layer : NULL, apart ? 2 : 1, &e);
        check_error(status, &e);
        if (status) continue;
        for (int k = 0; k < (apart ? 2 : 1) * osv_form_params(form[i / 2]) * D; k++) MUST(isfinite(rows[k]));
        free(rows);
    }
    return 0;
}
