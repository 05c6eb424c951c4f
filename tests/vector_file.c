#include <criterion/criterion.h>
#include <math.h>

#include "files.h"
#include "kernels/form.h"
#include "loader/file.h"
#include "loader/safetensors.h"
#include "optim/vector_file.h"
#include "optim/vector_math.h"

static const float vector[] = {0.5f, -1.25f, 3e-8f};
enum { D = 3 };

static const osv_form add = {.kind = OSV_FORM_ADD};

static osv_vector_info info(void)
{
    static const int layer[] = {12};
    return (osv_vector_info){.layers = 1,
                             .layer = layer,
                             .positions = "prompt:-20:",
                             .chat = "raw",
                             .objective = "promote + suppress one-minus",
                             .model = "owner/name",
                             .model_sha256 = "00ff",
                             .created_by = "test 1",
                             .coldness = 0.7,
                             .norm = 1.5,
                             .loss = 0.25,
                             .iterations = 20,
                             .seed = 18446744073709551615ull};
}

Test(vector_file, metadata, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *key, *value;
    } expected[] = {
        {"format", "osv/1"},
        {"site", "block_input:12"},
        {"apply", "add"},
        {"positions", "prompt:-20:"},
        {"chat", "raw"},
        {"coldness", "0.7"},
        {"norm", "1.5"},
        {"loss", "0.25"},
        {"iterations", "20"},
        {"model", "owner/name"},
        {"model_sha256", "00ff"},
        {"seed", "18446744073709551615"},
        {"objective", "promote + suppress one-minus"},
        {"created_by", "test 1"},
    };
    osv_error e = {0};
    const char *path = temp_path("v.safetensors");
    osv_vector_info i = info();
    cr_assert_eq(osv_vector_write(path, vector, D, &i, &e), OSV_OK, "%s", e.text);
    osv_safetensors *file;
    cr_assert_eq(osv_safetensors_open(&file, path, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(osv_safetensors_count(file), 1);
    for (size_t k = 0; k < sizeof expected / sizeof *expected; k++) {
        const char *value = osv_safetensors_metadata(file, expected[k].key);
        cr_expect(value && strcmp(value, expected[k].value) == 0, "%s: %s, expected %s", expected[k].key,
                  value, expected[k].value);
    }
    cr_expect(osv_safetensors_metadata(file, "clamp") == NULL, "clamp has no meaning for add");
    osv_safetensors_close(file);
}

Test(vector_file, reads_what_it_wrote_same_bytes, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_vector_info i = info();
    i.loss = NAN;
    const char *path[] = {temp_path("a.safetensors"), temp_path("b.safetensors")};
    char *text[2];
    size_t bytes[2];
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(osv_vector_write(path[k], vector, D, &i, &e), OSV_OK, "%s", e.text);
        cr_assert_eq(osv_file_read(&text[k], &bytes[k], path[k], 1 << 20, &e), OSV_OK, "%s", e.text);
    }
    cr_expect(bytes[0] == bytes[1] && memcmp(text[0], text[1], bytes[0]) == 0, "same vector, other bytes");
    float *back;
    cr_assert_eq(osv_vector_read(path[0], &back, D, add, NULL, 1, &e), OSV_OK, "%s", e.text);
    cr_expect(memcmp(back, vector, sizeof vector) == 0);
    free(back);
    free(text[0]);
    free(text[1]);
}

Test(vector_file, only_the_tensor_is_needed, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    const char *path = temp_path("bare.safetensors");
    const osv_tensor_out tensor[] = {
        {.name = "other", .dtype = "F32", .rank = 1, .shape = {1}, .data = vector},
        {.name = "vector", .dtype = "F32", .rank = 1, .shape = {D}, .data = vector},
    };
    cr_assert_eq(osv_safetensors_write(path, tensor, 2, NULL, 0, &e), OSV_OK, "%s", e.text);
    float *back;
    cr_assert_eq(osv_vector_read(path, &back, D, add, NULL, 1, &e), OSV_OK, "%s", e.text);
    cr_expect(memcmp(back, vector, sizeof vector) == 0);
    free(back);
}

/* Every form, for one block, for several that share, and for several with their own. */
Test(vector_file, forms, .init = temp_open, .fini = temp_close)
{
    static const osv_form form[] = {{.kind = OSV_FORM_ADD},
                                    {.kind = OSV_FORM_ADD_NORM},
                                    {.kind = OSV_FORM_CLAMP, .clamp = 0.25},
                                    {.kind = OSV_FORM_CLAMP, .clamp = 0},
                                    {.kind = OSV_FORM_CLAMP, .clamp = 0, .offset = true},
                                    {.kind = OSV_FORM_AFFINE, .rank = 2}};
    static const int layer[] = {3, 7, 8};
    float rows[45];
    for (int i = 0; i < 45; i++) rows[i] = (float)i - 7.5f;
    for (size_t k = 0; k < sizeof form / sizeof *form; k++) {
        for (int layers = 1; layers <= 3; layers += 2) {
            for (int apart = 0; apart < 2; apart++) {
                osv_error e = {0};
                const char *path = temp_path("v.safetensors");
                osv_vector_info i = info();
                osv_vector_file f;
                float *back;
                int blocks = apart ? layers : 1, params = osv_form_params(form[k]);
                i.form = form[k];
                i.layers = layers;
                i.layer = layer;
                i.apart = apart;
                cr_assert_eq(osv_vector_write(path, rows, D, &i, &e), OSV_OK, "%s", e.text);
                cr_assert_eq(osv_vector_open(&f, path, &e), OSV_OK, "%s", e.text);
                cr_expect(f.D == D && f.layers == layers && f.rows == params &&
                          memcmp(f.layer, layer, (size_t)layers * sizeof *layer) == 0);
                cr_expect(f.form.kind == form[k].kind && f.form.clamp == form[k].clamp &&
                          f.form.offset == form[k].offset && f.form.rank == form[k].rank);
                for (int l = 0; l < layers; l++)
                    cr_expect(memcmp(f.vector + l * params * D, rows + (apart ? l : 0) * params * D,
                                     sizeof(float) * (size_t)(params * D)) == 0);
                osv_vector_free(&f);
                cr_assert_eq(osv_vector_read(path, &back, D, form[k], apart ? layer : NULL, blocks, &e),
                             OSV_OK, "%s", e.text);
                cr_expect(memcmp(back, rows, sizeof(float) * (size_t)(blocks * params * D)) == 0);
                free(back);
            }
        }
    }
}

Test(vector_file, made_of_others, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    const char *path = temp_path("made.safetensors");
    osv_vector_made made = {.layer = -1,
                            .form = {.kind = OSV_FORM_CLAMP, .clamp = 0.1},
                            .objective = "sum of a",
                            .created_by = "t"};
    osv_vector_file f;
    cr_assert_eq(osv_vector_write_made(path, vector, D, &made, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_vector_open(&f, path, &e), OSV_OK, "%s", e.text);
    cr_expect(f.D == D && f.layers == 1 && f.layer[0] == -1 && memcmp(f.vector, vector, sizeof vector) == 0);
    cr_expect(f.form.kind == OSV_FORM_CLAMP && f.form.clamp == 0.1);
    cr_expect(!f.positions && !f.chat && !f.model && !f.model_sha256, "what is not known is not recorded");
    osv_vector_free(&f);
    osv_safetensors *file;
    cr_assert_eq(osv_safetensors_open(&file, path, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(json_object_size(osv_safetensors_metadata_all(file)), 6);
    cr_expect_str_eq(osv_safetensors_metadata(file, "norm"), "1.3462912");
    osv_safetensors_close(file);
    made = (osv_vector_made){.layer = 4,
                             .positions = "all",
                             .chat = "raw",
                             .model = "m",
                             .model_sha256 = "00",
                             .objective = "o",
                             .created_by = "t"};
    cr_assert_eq(osv_vector_write_made(path, vector, D, &made, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_vector_open(&f, path, &e), OSV_OK, "%s", e.text);
    cr_expect(f.layer[0] == 4 && strcmp(f.model, "m") == 0 && strcmp(f.model_sha256, "00") == 0);
    osv_vector_free(&f);
}

Test(vector_file, compared)
{
    static const float a[] = {3, 4}, b[] = {-4, 3}, zero[2];
    cr_expect_eq(osv_vector_norm(a, 2), 5);
    cr_expect_eq(osv_vector_dot(a, b, 2), 0);
    cr_expect_eq(osv_vector_cosine(a, a, 2), 1);
    cr_expect(isnan(osv_vector_cosine(a, zero, 2)));
    float many[1000]; /* a float would not hold the sum: 2^24 + 1 = 2^24 there */
    for (int i = 0; i < 1000; i++) many[i] = i ? 1 : 4096;
    cr_expect_eq(osv_vector_dot(many, many, 1000), 16777216 + 999);
}

static const float with_nan[] = {1, NAN, 2};

/* To add a case: the one tensor of the file, what the message must say. */
static const struct {
    const char *row;
    osv_tensor_out tensor;
    const char *piece;
} broken[] = {
    {"name",
     {.name = "direction", .dtype = "F32", .rank = 1, .shape = {D}, .data = vector},
     "no tensor \"vector\""},
    {"dtype", {.name = "vector", .dtype = "I32", .rank = 1, .shape = {D}, .data = vector}, "is I32"},
    {"rank", {.name = "vector", .dtype = "F32", .rank = 2, .shape = {1, D}, .data = vector}, "2 dimensions"},
    {"empty",
     {.name = "vector", .dtype = "F32", .rank = 1, .shape = {0}, .data = vector},
     "rows of 0 elements, expected 3"},
    {"width",
     {.name = "vector", .dtype = "F32", .rank = 1, .shape = {2}, .data = vector},
     "rows of 2 elements"},
    {"nan", {.name = "vector", .dtype = "F32", .rank = 1, .shape = {D}, .data = with_nan}, "element 1"},
};

Test(vector_file, broken, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        osv_error e = {0};
        const char *path = temp_path("broken.safetensors");
        cr_assert_eq(osv_safetensors_write(path, &broken[i].tensor, 1, NULL, 0, &e), OSV_OK, "%s", e.text);
        float *back;
        int status = osv_vector_read(path, &back, D, add, NULL, 1, &e);
        check_failure(broken[i].row, status, &e, OSV_BAD_INPUT, broken[i].piece);
        check_failure(broken[i].row, status, &e, OSV_BAD_INPUT, "broken.safetensors");
        cr_expect(back == NULL, "%s: a vector in spite of the error", broken[i].row);
    }
}
