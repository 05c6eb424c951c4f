/* What a rank holds and reads of a model: its share, and what all ranks have. */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "checkpoint_large.h"
#include "kernels/backend.h"
#include "loader/checkpoint.h"
#include "tests/emu/device_emu.h"
#include "tests/golden_case.h"

/* ---- memory ---- */

/* Of a model as one rank holds it. */
typedef struct {
    size_t all;    /* bytes */
    size_t alike;  /* of weights that every rank has whole */
    size_t twice;  /* of kv heads that the rank before has too */
    size_t device; /* what placing them took of the device's memory */
} held;

static size_t bytes_of(const osv_weight *w)
{
    return w->data ? (size_t)w->rows * (size_t)w->cols * osv_format_bytes(w->format) : 0;
}

static void add(void *context, osv_weight *w)
{
    *(size_t *)context += bytes_of(w);
}

static held hold(const char *model, int rank, int size)
{
    char path[512];
    osv_error e = {0};
    osv_model m;
    osv_checkpoint *c;
    osv_ops *o;
    held h = {0};
    snprintf(path, sizeof path, "%s/models/%s", OSV_GOLDEN, model);
    cr_assert_eq(osv_checkpoint_open(&c, &m, path, rank, size, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_emu_open(&o, OSV_DTYPE_F32, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_model_place(&m, o), OSV_OK, "%s", e.text);
    o->sync(o, 0);
    size_t before = osv_emu_bytes();
    osv_model_each(&m, add, &h.all);
    bool by_width = m.config.qk_norm == OSV_QK_NORM_WIDTH;
    h.alike = bytes_of(&m.final_norm);
    for (int l = 0; l < m.config.N; l++) {
        const osv_block *b = &m.block[l];
        h.alike += bytes_of(&b->attention_norm) + bytes_of(&b->attention_post_norm) + bytes_of(&b->ffn_norm) +
                   bytes_of(&b->ffn_post_norm) + bytes_of(&b->out_bias) + bytes_of(&b->down_bias);
        if (!by_width) h.alike += bytes_of(&b->q_norm) + bytes_of(&b->k_norm);
        size_t kv = bytes_of(&b->k) + bytes_of(&b->v) + bytes_of(&b->k_bias) + bytes_of(&b->v_bias);
        if (by_width) kv += bytes_of(&b->k_norm);
        h.twice += (size_t)m.shard.kv_twice * kv / (size_t)m.shard.K;
    }
    o->close(o);
    h.device = before - osv_emu_bytes();
    osv_model_free(&m);
    osv_checkpoint_close(c);
    return h;
}

/* All ranks together hold the model once, and what they have alike as often as there are ranks. */
Test(slices, memory)
{
    for (int i = 0; i < GOLDEN_MODELS; i++) {
        held whole = hold(golden_models[i], 0, 1);
        cr_expect_eq(whole.twice, 0);
        for (int size = 2; size <= 4; size++) {
            size_t sum = 0;
            for (int rank = 0; rank < size; rank++) {
                held h = hold(golden_models[i], rank, size);
                cr_expect_eq(h.alike, whole.alike, "%s", golden_models[i]);
                cr_expect(h.device >= h.all && h.device - h.all == whole.device - whole.all,
                          "%s, rank %d of %d: %zu bytes of weights take %zu", golden_models[i], rank, size,
                          h.all, h.device);
                sum += h.all - h.alike - h.twice;
            }
            cr_expect_eq(sum, whole.all - whole.alike, "%s on %d ranks", golden_models[i], size);
        }
    }
}

/* ---- files ---- */

/* Pages of a file that are in memory, in bytes. */
static size_t resident(const char *path)
{
    int f = open(path, O_RDONLY);
    size_t bytes = (size_t)lseek(f, 0, SEEK_END), page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    size_t pages = (bytes + page - 1) / page;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, f, 0);
    unsigned char *in = malloc(pages);
    cr_assert(map != MAP_FAILED && in && mincore(map, bytes, in) == 0);
    for (size_t i = 0; i < pages; i++) n += in[i] & 1;
    munmap(map, bytes);
    free(in);
    close(f);
    return n * page;
}

static volatile unsigned seen;

static void look(void *context, osv_weight *w)
{
    const volatile unsigned char *p = w->data;
    (void)context;
    for (size_t i = 0; i < bytes_of(w); i += 64) seen += p[i];
}

/* What the kernel may read behind the end of a slice: a window that is being read, and the next. */
static size_t read_ahead(const char *path)
{
    struct stat info;
    char name[80];
    long kilobytes = 0;
    cr_assert_eq(stat(path, &info), 0);
    snprintf(name, sizeof name, "/sys/class/bdi/%u:%u/read_ahead_kb", major(info.st_dev), minor(info.st_dev));
    FILE *f = fopen(name, "r");
    if (!f || fscanf(f, "%ld", &kilobytes) != 1) kilobytes = 8192;
    if (f) fclose(f);
    return 3 * (size_t)kilobytes << 10;
}

/* What is read of a file: of columns, which are copied when the model is opened, the pages that hold them; of
 * rows, which are read when they are used, also what the kernel reads ahead. */
Test(slices, reading, .init = temp_open, .fini = temp_close)
{
    enum { RANKS = 4, D = 4096, F = 14336, V = 8192, ROW_TENSORS = 7 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), of_columns = 2 * (size_t)D * (D + F) / RANKS;
    for (int rank = 0; rank < RANKS; rank++) {
        osv_error e = {0};
        osv_model m;
        osv_checkpoint *c;
        size_t whole = make_large(1, D, F, V), slices = 0;
        const char *path = temp_path("model.safetensors");
        size_t before = resident(path), ahead = read_ahead(path); /* the header was written just now */
        if (before > 1 << 20) cr_skip("files here are in memory before they are read");
        cr_assert_eq(osv_checkpoint_open(&c, &m, temp_dir, rank, RANKS, &e), OSV_OK, "%s", e.text);
        size_t columns = resident(path) - before;
        osv_model_each(&m, add, &slices);
        osv_model_each(&m, look, NULL);
        size_t all = resident(path) - before;
        osv_model_free(&m);
        osv_checkpoint_close(c);
        cr_log_info("rank %d of %d: %zu MB of %zu; %zu MB of columns, %zu MB in all were read", rank, RANKS,
                    slices >> 20, whole >> 20, columns >> 20, all >> 20);
        cr_expect_leq(slices, whole / RANKS + (1 << 20));
        /* a row's piece of each may begin and end inside a page */
        cr_expect(columns >= of_columns && columns <= of_columns + 4 * (size_t)D * page,
                  "rank %d reads %zu bytes for columns of %zu", rank, columns, of_columns);
        cr_expect(all >= slices && all <= columns + slices - of_columns + ROW_TENSORS * (ahead + page),
                  "rank %d reads %zu bytes for %zu", rank, all, slices);
        remove(path);
    }
}
