#include "loader/safetensors.h"

#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>

#include "files.h"

/* Assembles a file: length (header's own where `length` is 0), header, `data` bytes 0 1 2 ... Keeps `keep`
 * bytes of it where that is not 0. */
static const char *assemble(const char *header, uint64_t length, size_t data, size_t keep)
{
    size_t json = strlen(header), bytes = 8 + json + data;
    unsigned char *file = malloc(bytes);
    if (!length) length = json;
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)(length >> 8 * i);
    memcpy(file + 8, header, json);
    for (size_t i = 0; i < data; i++) file[8 + json + i] = (unsigned char)i;
    const char *path = temp_write("x.safetensors", file, keep ? keep : bytes);
    free(file);
    return path;
}

#define ENTRY(dtype, shape, from, to) \
    "{\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": [" #from ", " #to "]}"
#define TWO(first, second) "{\"a\": " first ", \"b\": " second "}"
#define ONE(entry)         "{\"a\": " entry "}"

/* To add a case: name, header, its length where it lies, bytes of data, bytes of the file kept (0: all),
 * what the message must say (NULL: the file is fine). */
static const struct {
    const char *name, *header;
    uint64_t length;
    size_t data, keep;
    const char *piece;
} files[] = {
    {"one tensor", ONE(ENTRY("F32", "[2, 1]", 0, 8)), 0, 8, 0, NULL},
    {"no tensor", "{}", 0, 0, 0, NULL},
    {"padded header", "{}      ", 0, 0, 0, NULL},
    {"scalar", ONE(ENTRY("F16", "[]", 0, 2)), 0, 2, 0, NULL},
    {"empty tensor", TWO(ENTRY("F32", "[0]", 0, 0), ENTRY("U8", "[3]", 0, 3)), 0, 3, 0, NULL},
    {"empty tensor at the end", TWO(ENTRY("U8", "[3]", 0, 3), ENTRY("F32", "[4, 0]", 3, 3)), 0, 3, 0, NULL},
    {"order of data unlike order of names", TWO(ENTRY("U8", "[1]", 4, 5), ENTRY("F32", "[1]", 0, 4)), 0, 5, 0,
     NULL},
    {"metadata", "{\"__metadata__\": {\"format\": \"pt\"}}", 0, 0, 0, NULL},
    {"extra key in an entry",
     "{\"a\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0, 1], \"x\": 1}}", 0, 1, 0, NULL},

    {"shorter than the length", "{}", 0, 0, 7, "7 bytes, too short"},
    {"header cut", ONE(ENTRY("F32", "[1]", 0, 4)), 0, 4, 20, "but only 12 follow (cut short?)"},
    {"header longer than the file", "{}", 3, 0, 0, "header of 3 bytes, but only 2 follow"},
    {"header of 2^64 - 1 bytes", "{}", UINT64_MAX, 0, 0, "header of 18446744073709551615 bytes"},
    {"header beyond the limit", "{}", 100000001, 0, 0, "at most 100000000 are allowed"},
    {"not safetensors", "PK zip archive", 0x04034b50504b0403, 0, 0, "not a safetensors file?"},
    {"length of 0", "        ", 0, 0, 0, "header:1:1: empty"},
    {"not JSON", "hello world", 0, 0, 0, "x.safetensors: header:1:5: JSON"},
    {"header is an array", "[]", 0, 0, 0, "must be a JSON object"},
    {"header with text behind", "{} x", 0, 0, 0, "header:1:4: JSON: end of file expected"},
    {"duplicate name", "{\"a\": " ENTRY("U8", "[1]", 0, 1) ", \"a\": " ENTRY("U8", "[1]", 1, 2) "}", 0, 2, 0,
     "duplicate object key near '\"a\"'"},
    {"control character in a name", "{\"a\\u001b[2J\": " ENTRY("U8", "[1]", 0, 1) "}", 0, 1, 0,
     "control character (0x1b)"},
    {"entry not an object", "{\"a\": 3}", 0, 0, 0, "tensor a: its entry in the header is not an object"},
    {"no dtype", "{\"a\": {\"shape\": [1], \"data_offsets\": [0, 1]}}", 0, 1, 0,
     "tensor a: \"dtype\" must be a string"},
    {"unknown dtype", ONE(ENTRY("F31", "[1]", 0, 4)), 0, 4, 0, "tensor a: unknown dtype \"F31\""},
    {"no shape", "{\"a\": {\"dtype\": \"U8\", \"data_offsets\": [0, 1]}}", 0, 1, 0,
     "\"shape\" must be an array"},
    {"negative extent", ONE(ENTRY("U8", "[-1]", 0, 1)), 0, 1, 0, "bad extent -1"},
    {"fractional extent", ONE(ENTRY("U8", "[1.0]", 0, 1)), 0, 1, 0, "bad extent 1.0"},
    {"too many dimensions", ONE(ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1)), 0, 1, 0,
     "9 dimensions, at most 8"},
    {"shape overflows 64 bits", ONE(ENTRY("F32", "[4294967296, 4294967296]", 0, 0)), 0, 0, 0,
     "too large to address"},
    {"shape overflows through the dtype", ONE(ENTRY("F64", "[2305843009213693952]", 0, 0)), 0, 0, 0,
     "too large to address"},
    {"shape overflows 63 bits", ONE(ENTRY("U8", "[2, 4611686018427387904]", 0, 0)), 0, 0, 0,
     "too large to address"},
    {"no offsets", "{\"a\": {\"dtype\": \"U8\", \"shape\": [1]}}", 0, 1, 0,
     "\"data_offsets\" must be two integers"},
    {"three offsets", "{\"a\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0, 1, 2]}}", 0, 1, 0,
     "must be two integers"},
    {"offsets as reals", ONE(ENTRY("U8", "[1]", 0.0, 1.0)), 0, 1, 0, "must be two integers"},
    {"offsets backwards", ONE(ENTRY("U8", "[1]", 1, 0)), 0, 1, 0, "[1, 0] run backwards"},
    {"negative offset", ONE(ENTRY("U8", "[2]", -1, 1)), 0, 1, 0, "[-1, 1] run backwards"},
    {"data cut", ONE(ENTRY("F32", "[2]", 0, 8)), 0, 7, 0,
     "tensor a: ends at byte 8 of the data, but the file has only 7"},
    {"offset of 2^63 - 1", ONE(ENTRY("U8", "[1]", 0, 9223372036854775807)), 0, 1, 0,
     "ends at byte 9223372036854775807"},
    {"too many bytes for the shape", ONE(ENTRY("F32", "[1]", 0, 8)), 0, 8, 0,
     "give 8 bytes, its dtype F32 and shape take 4"},
    {"too few bytes for the shape", ONE(ENTRY("BF16", "[3]", 0, 4)), 0, 4, 0,
     "give 4 bytes, its dtype BF16 and shape take 6"},
    {"overlap", TWO(ENTRY("U8", "[4]", 0, 4), ENTRY("U8", "[4]", 3, 7)), 0, 7, 0,
     "tensor b overlaps tensor a"},
    {"the same bytes twice", TWO(ENTRY("U8", "[4]", 0, 4), ENTRY("U8", "[4]", 0, 4)), 0, 4, 0, "overlaps"},
    {"gap", TWO(ENTRY("U8", "[4]", 0, 4), ENTRY("U8", "[4]", 6, 10)), 0, 10, 0,
     "2 bytes before tensor b belong to no"},
    {"gap at the start", ONE(ENTRY("U8", "[4]", 1, 5)), 0, 5, 0, "1 bytes before tensor a"},
    {"trailing bytes", ONE(ENTRY("U8", "[4]", 0, 4)), 0, 6, 0, "2 bytes after the last tensor"},
    {"metadata not an object", "{\"__metadata__\": 1}", 0, 0, 0, "\"__metadata__\" must be an object"},
    {"metadata not a string", "{\"__metadata__\": {\"k\": 1}}", 0, 0, 0, "\"k\" must be a string"},
};

Test(safetensors, table, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = assemble(files[i].header, files[i].length, files[i].data, files[i].keep);
        osv_error e = {0};
        osv_safetensors *s;
        int status = osv_safetensors_open(&s, path, &e);
        check_failure(files[i].name, status, &e, files[i].piece ? OSV_BAD_INPUT : OSV_OK, files[i].piece);
        if (status)
            cr_expect(strstr(e.text, path) == e.text, "%s: \"%s\" names no file", files[i].name, e.text);
        cr_expect((s != NULL) == (status == OSV_OK), "%s", files[i].name);
        osv_safetensors_close(s);
    }
}

/* Every cut of a good file must be refused, never read beyond. */
Test(safetensors, every_cut, .init = temp_open, .fini = temp_close)
{
    const char *header = TWO(ENTRY("F32", "[2]", 0, 8), ENTRY("U8", "[3]", 8, 11));
    for (size_t keep = 1; keep < 8 + strlen(header) + 11; keep++) {
        osv_error e = {0};
        osv_safetensors *s;
        cr_expect_eq(osv_safetensors_open(&s, assemble(header, 0, 11, keep), &e), OSV_BAD_INPUT, "cut at %zu",
                     keep);
    }
}

Test(safetensors, nested_without_end, .init = temp_open, .fini = temp_close)
{
    enum { DEEP = 1 << 20 };
    char *header = malloc(DEEP + 1);
    memset(header, '[', DEEP);
    memcpy(header, "{\"a\":", 5);
    header[DEEP] = '\0';
    osv_error e = {0};
    osv_safetensors *s;
    check_failure("deep", osv_safetensors_open(&s, assemble(header, 0, 0, 0), &e), &e, OSV_BAD_INPUT,
                  "nested too deeply");
    free(header);
}

Test(safetensors, not_files, .init = temp_open, .fini = temp_close)
{
    osv_safetensors *s;
    osv_error e = {0};
    check_failure("missing", osv_safetensors_open(&s, temp_path("none"), &e), &e, OSV_BAD_INPUT,
                  "/none: cannot open");
    e = (osv_error){0};
    check_failure("folder", osv_safetensors_open(&s, temp_dir, &e), &e, OSV_BAD_INPUT,
                  "is not a regular file");
    e = (osv_error){0};
    check_failure("device", osv_safetensors_open(&s, "/dev/null", &e), &e, OSV_BAD_INPUT,
                  "is not a regular file");
    e = (osv_error){0};
    cr_assert_eq(mkfifo(temp_path("pipe"), 0666), 0);
    check_failure("pipe", osv_safetensors_open(&s, temp_path("pipe"), &e), &e, OSV_BAD_INPUT,
                  "is not a regular file");
}

static const float vector[3] = {1.5f, -2.0f, 0.25f};
static const int16_t shorts[1] = {-7};
static const osv_tensor_out out[] = {
    {"small", "I16", 1, {1}, shorts},
    {"vector", "F32", 2, {3, 1}, vector},
    {"empty", "F32", 2, {0, 5}, NULL},
};
static const osv_metadata notes[] = {
    {"site", "block_input:1"}, {"format", "osv/1"}, {"quote", "a \"b\" \xc3\xa9\n"}};

Test(safetensors, round_trip, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    const char *path = temp_path("v.safetensors");
    for (int again = 0; again < 2; again++) /* the second time over the first */
        cr_assert_eq(osv_safetensors_write(path, out, 3, notes, 3, &e), OSV_OK, "%s", e.text);
    osv_safetensors *s;
    cr_assert_eq(osv_safetensors_open(&s, path, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_safetensors_count(s), 3);
    cr_expect_str_eq(osv_safetensors_path(s), path);
    static const char *const names[] = {"empty", "small", "vector"};
    for (int i = 0; i < 3; i++) cr_expect_str_eq(osv_safetensors_at(s, i)->name, names[i]);
    const osv_tensor *t = osv_safetensors_find(s, "vector");
    cr_assert_not_null(t);
    cr_expect(t->rank == 2 && t->shape[0] == 3 && t->shape[1] == 1 && t->bytes == 12);
    cr_expect_str_eq(t->dtype, "F32");
    cr_expect_arr_eq(t->data, vector, sizeof vector);
    cr_expect((uintptr_t)t->data % 8 == 0, "the largest elements start at a multiple of 8");
    t = osv_safetensors_find(s, "small");
    cr_assert_not_null(t);
    cr_expect_arr_eq(t->data, shorts, sizeof shorts);
    cr_expect_null(osv_safetensors_find(s, "none"));
    cr_expect_null(osv_safetensors_find(s, "__metadata__"));
    for (int i = 0; i < 3; i++) cr_expect_str_eq(osv_safetensors_metadata(s, notes[i].key), notes[i].value);
    cr_expect_null(osv_safetensors_metadata(s, "none"));
    osv_safetensors_close(s);
}

Test(safetensors, exact_bytes, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    const char *path = temp_path("v.safetensors");
    cr_assert_eq(osv_safetensors_write(path, out, 2, notes, 2, &e), OSV_OK, "%s", e.text);
    static const char header[] = "{\"__metadata__\":{\"format\":\"osv/1\",\"site\":\"block_input:1\"},"
                                 "\"vector\":{\"dtype\":\"F32\",\"shape\":[3,1],\"data_offsets\":[0,12]},"
                                 "\"small\":{\"dtype\":\"I16\",\"shape\":[1],\"data_offsets\":[12,14]}}";
    unsigned char bytes[512];
    FILE *f = fopen(path, "rb");
    size_t count = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    size_t padded = (sizeof header - 1 + 7) / 8 * 8;
    cr_assert_eq(count, 8 + padded + 14);
    cr_expect_eq(bytes[0], padded);
    cr_expect_arr_eq(bytes + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < padded; i++) cr_expect_eq(bytes[8 + i], ' ');
    cr_expect_arr_eq(bytes + 8 + padded, vector, 12);
    cr_expect_arr_eq(bytes + 8 + padded + 12, shorts, 2);
}

static int entries_of_folder;
static int count_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path, (void)info, (void)walk;
    entries_of_folder += kind == FTW_F;
    return 0;
}

static int files_left(void)
{
    entries_of_folder = 0;
    nftw(temp_dir, count_entry, 8, FTW_PHYS);
    return entries_of_folder;
}

/* To add a case: name, tensors, metadata, what the message must say. */
static const struct {
    const char *name;
    osv_tensor_out tensor[2];
    osv_metadata note[2];
    const char *piece;
} refused[] = {
    {"same name twice",
     {{"a", "U8", 1, {0}, NULL}, {"a", "U8", 1, {0}, NULL}},
     {{"k", "v"}, {"l", "w"}},
     "written twice"},
    {"same key twice",
     {{"a", "U8", 1, {0}, NULL}, {"b", "U8", 1, {0}, NULL}},
     {{"k", "v"}, {"k", "w"}},
     "written twice"},
    {"unknown dtype",
     {{"a", "F31", 1, {0}, NULL}, {"b", "U8", 1, {0}, NULL}},
     {{"k", "v"}, {"l", "w"}},
     "tensor a (F31)"},
    {"negative extent",
     {{"a", "U8", 1, {-1}, NULL}, {"b", "U8", 1, {0}, NULL}},
     {{"k", "v"}, {"l", "w"}},
     "tensor a"},
    {"reserved name",
     {{"__metadata__", "U8", 1, {0}, NULL}, {"b", "U8", 1, {0}, NULL}},
     {{"k", "v"}, {"l", "w"}},
     "cannot be"},
    {"not UTF-8",
     {{"a", "U8", 1, {0}, NULL}, {"b", "U8", 1, {0}, NULL}},
     {{"k", "\xff"}, {"l", "w"}},
     "not UTF-8"},
};

Test(safetensors, refused_writes_leave_nothing, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        osv_error e = {0};
        int status = osv_safetensors_write(temp_path("v"), refused[i].tensor, 2, refused[i].note, 2, &e);
        check_failure(refused[i].name, status, &e, OSV_BAD_INPUT, refused[i].piece);
        cr_expect_eq(files_left(), 0, "%s", refused[i].name);
    }
}

/* A limit on the size of files stands for a full disk. */
Test(safetensors, full_disk_keeps_the_old_file, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    const char *path = temp_path("v.safetensors");
    cr_assert_eq(osv_safetensors_write(path, out, 2, notes, 2, &e), OSV_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 1000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    static const char big[4000];
    osv_tensor_out huge = {"vector", "U8", 1, {sizeof big}, big};
    int status = osv_safetensors_write(path, &huge, 1, NULL, 0, &e);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    check_failure("full", status, &e, OSV_BAD_INPUT, "v.safetensors: cannot write: ");
    cr_expect_eq(files_left(), 1, "the temporary file is left");
    e = (osv_error){0};
    osv_safetensors *s;
    cr_assert_eq(osv_safetensors_open(&s, path, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(osv_safetensors_count(s), 2);
    osv_safetensors_close(s);
}

Test(safetensors, no_such_folder, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    check_failure("folder", osv_safetensors_write(temp_path("none/v"), out, 1, NULL, 0, &e), &e,
                  OSV_BAD_INPUT, "none/v: cannot create: No such file");
    e = (osv_error){0};
    check_failure("target is a folder", osv_safetensors_write(temp_dir, out, 1, NULL, 0, &e), &e,
                  OSV_BAD_INPUT, "cannot rename");
    cr_expect_eq(files_left(), 0);
}

/* Files that this project did not make. */
Test(safetensors, foreign_files)
{
    const char *data = getenv("OSV_TEST_DATA");
    if (!data) cr_skip_test("OSV_TEST_DATA is not set: no foreign safetensors files to read");
    static const struct {
        const char *name, *dtype;
        int rank;
    } foreign[] = {
        {"tensor-1d-int32", "I32", 1},
        {"tensor-2d-float64", "F64", 2},
        {"tensor-3d-float32", "F32", 3},
        {"tensor-4d-float32", "F32", 4},
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/test-vectors/safetensors-tiny/%s.safetensors", data, foreign[i].name);
        osv_error e = {0};
        osv_safetensors *s;
        cr_assert_eq(osv_safetensors_open(&s, path, &e), OSV_OK, "%s", e.text);
        cr_assert_eq(osv_safetensors_count(s), 1);
        cr_expect_str_eq(osv_safetensors_at(s, 0)->dtype, foreign[i].dtype);
        cr_expect_eq(osv_safetensors_at(s, 0)->rank, foreign[i].rank);
        osv_safetensors_close(s);
    }
}
