#include "tests/op_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256 }; /* bytes on either side: as much as the alignment that osv_ops.alloc promises */

/* A quiet NaN as a float, and as the upper half of a double. */
static const uint32_t poison = 0x7ffda5a5u;

/* All sizes here are multiples of 4, so the pattern has one phase. */
static void fill(void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) ((unsigned char *)p)[i] = (unsigned char)(poison >> 8 * (i % 4));
}

double op_uniform(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return (double)(x >> 11) * 0x1p-52 - 1;
}

static void *host_alloc(const op_call *c, size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    return p;
}

/* A buffer that starts as `initial`, which now belongs to it. */
static int add(op_call *c, const char *name, op_role role, bool real, void *initial, size_t bytes)
{
    osv_ops *o = c->o;
    if (c->buffers == OP_BUFFERS) {
        OSV_FAIL(o->error, OSV_USAGE, "a test's operator has more than %d buffers", OP_BUFFERS);
        free(initial);
        return 0;
    }
    char *memory = o->alloc(o, bytes + 2 * (size_t)GUARD);
    char *whole = host_alloc(c, bytes + 2 * (size_t)GUARD);
    if (memory && whole && initial) {
        fill(whole, bytes + 2 * (size_t)GUARD);
        memcpy(whole + GUARD, initial, bytes);
        o->copy(o, memory, whole, bytes + 2 * (size_t)GUARD, OSV_TO_DEVICE);
        o->sync(o, 0);
    }
    free(whole);
    c->buffer[c->buffers] = (op_buffer){
        .name = name, .role = role, .real = real, .bytes = bytes, .initial = initial, .memory = memory};
    return c->buffers++;
}

/* Of n elements only the first OP_FRESH are there yet. */
static void repeat(void *p, size_t n, size_t size)
{
    for (size_t i = OP_FRESH; p && i < n; i += OP_FRESH)
        memcpy((char *)p + i * size, p, (n - i < OP_FRESH ? n - i : OP_FRESH) * size);
}

int op_random(op_call *c, const char *name, op_role role, size_t n, double scale)
{
    osv_real *x = host_alloc(c, n * sizeof *x);
    for (size_t i = 0; x && i < n && i < OP_FRESH; i++) x[i] = (osv_real)(scale * op_uniform(&c->random));
    repeat(x, n, sizeof *x);
    return add(c, name, role, true, x, n * sizeof *x);
}

int op_given(op_call *c, const char *name, op_role role, const osv_real *x, size_t n)
{
    osv_real *copy = host_alloc(c, n * sizeof *x);
    if (copy && n) memcpy(copy, x, n * sizeof *x);
    return add(c, name, role, true, copy, n * sizeof *x);
}

int op_poisoned(op_call *c, const char *name, op_role role, size_t n)
{
    osv_real *x = host_alloc(c, n * sizeof *x);
    if (x) fill(x, n * sizeof *x);
    return add(c, name, role, true, x, n * sizeof *x);
}

int op_poisoned_ints(op_call *c, const char *name, op_role role, size_t n)
{
    int *x = host_alloc(c, n * sizeof *x);
    if (x) fill(x, n * sizeof *x);
    return add(c, name, role, false, x, n * sizeof *x);
}

int op_bytes(op_call *c, const char *name, const void *x, size_t bytes)
{
    void *copy = host_alloc(c, bytes);
    if (copy && bytes) memcpy(copy, x, bytes);
    return add(c, name, OP_INPUT, false, copy, bytes);
}

int op_ints(op_call *c, const char *name, int n, int (*of)(const op_call *c, int i))
{
    int *x = host_alloc(c, (size_t)n * sizeof *x);
    for (int i = 0; x && i < n; i++) x[i] = of(c, i);
    return add(c, name, OP_INPUT, false, x, (size_t)n * sizeof *x);
}

/* Uniform as the other inputs; f16 is drawn bit by bit (exponents 2^-8 to 1, and a subnormal now and then),
 * because nothing here encodes it. */
static void random_element(op_call *c, void *p, size_t i, osv_format format)
{
    double x = op_uniform(&c->random);
    unsigned short bits = (unsigned short)((x + 1) * 0x7fff);
    unsigned exponent = bits % 37 == 0 ? 0 : 7 + (bits >> 10 & 7);
    switch (format) {
    case OSV_F32: ((float *)p)[i] = (float)x; break;
    case OSV_BF16: ((unsigned short *)p)[i] = osv_bf16_from_float((float)x); break;
    case OSV_F16:
        ((unsigned short *)p)[i] = (unsigned short)((bits & 0x8000u) | exponent << 10 | (bits & 0x3ffu));
        break;
    }
}

int op_weight(op_call *c, osv_format format, int rows, int cols)
{
    size_t n = (size_t)rows * (size_t)cols;
    void *p = host_alloc(c, n * osv_format_bytes(format));
    for (size_t i = 0; p && i < n && i < OP_FRESH; i++) random_element(c, p, i, format);
    repeat(p, n, osv_format_bytes(format));
    c->weight_memory[c->weights] = p;
    c->weight[c->weights] = (osv_weight){p, format, rows, cols};
    c->o->place(c->o, &c->weight[c->weights]);
    return c->weights++;
}

void op_unit(op_call *c, int buffer, double unit)
{
    c->buffer[buffer].unit = unit;
}

osv_real *op_at(const op_call *c, int buffer)
{
    return (osv_real *)(void *)(c->buffer[buffer].memory + GUARD);
}

int *op_int_at(const op_call *c, int buffer)
{
    return (int *)(void *)(c->buffer[buffer].memory + GUARD);
}

size_t op_count(const op_call *c, int buffer)
{
    return c->buffer[buffer].bytes / sizeof(osv_real);
}

/* The buffer with its guards. */
static char *read_whole(const op_call *c, int buffer)
{
    const op_buffer *b = &c->buffer[buffer];
    size_t bytes = b->bytes + 2 * (size_t)GUARD;
    char *whole = host_alloc(c, bytes);
    if (!whole || !b->memory) return whole;
    c->o->copy(c->o, whole, b->memory, bytes, OSV_TO_HOST);
    c->o->sync(c->o, 0);
    return whole;
}

osv_real *op_read(const op_call *c, int buffer)
{
    char *whole = read_whole(c, buffer);
    if (whole) memmove(whole, whole + GUARD, c->buffer[buffer].bytes);
    return (osv_real *)(void *)whole;
}

bool op_intact(const op_call *c, char *why, size_t size)
{
    unsigned char guard[GUARD];
    bool intact = true;
    fill(guard, GUARD);
    for (int i = 0; intact && i < c->buffers; i++) {
        const op_buffer *b = &c->buffer[i];
        char *whole = read_whole(c, i);
        const char *what = NULL;
        if (!whole || osv_ops_status(c->o)) {
            what = "cannot be read back";
        } else {
            if (memcmp(whole + GUARD + b->bytes, guard, GUARD) != 0) what = "was written beyond its end";
            if (memcmp(whole, guard, GUARD) != 0) what = "was written before its start";
            if (b->role == OP_INPUT && memcmp(whole + GUARD, b->initial, b->bytes) != 0)
                what = "is an input and was changed";
        }
        if (what) snprintf(why, size, "%s %s", b->name, what);
        intact = !what;
        free(whole);
    }
    return intact;
}

double op_error(const osv_real *a, const osv_real *b, size_t n, double unit)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - b[i];
        difference += d * d;
        norm += (double)b[i] * b[i];
    }
    if (difference == 0) return 0; /* NaN is not 0 */
    if (norm < unit * unit * (double)n) norm = unit * unit * (double)n;
    return sqrt(difference / norm);
}

/* FNV-1a of the operator's name, so that operators do not share their inputs. */
static uint64_t seed_of(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

void op_call_make(op_call *c, const op_kind *kind, const void *shape, osv_ops *o)
{
    *c = (op_call){.kind = kind, .shape = shape, .o = o, .random = seed_of(kind->name)};
    kind->make(c);
}

void op_call_run(op_call *c)
{
    c->kind->run(c);
    c->o->sync(c->o, 0);
}

/* The same bytes elsewhere in the filling's memory. */
static void *copied(osv_ops *o, const void *from, size_t bytes)
{
    void *to = o->alloc(o, bytes);
    o->copy(o, to, from, bytes, OSV_ON_DEVICE);
    return to;
}

void op_call_copy(op_call *copy, const op_call *from)
{
    osv_ops *o = from->o;
    *copy = *from;
    copy->copied = true;
    for (int i = 0; i < copy->buffers; i++) {
        op_buffer *b = &copy->buffer[i];
        b->initial = NULL;
        b->memory = copied(o, b->memory, b->bytes + 2 * (size_t)GUARD);
    }
    for (int i = 0; i < copy->weights; i++) {
        osv_weight *w = &copy->weight[i];
        copy->weight_memory[i] = NULL;
        w->data = copied(o, w->data, (size_t)w->rows * (size_t)w->cols * osv_format_bytes(w->format));
    }
}

void op_call_free(op_call *c)
{
    for (int i = 0; i < c->buffers; i++) {
        c->o->free(c->o, c->buffer[i].memory);
        free(c->buffer[i].initial);
    }
    for (int i = 0; i < c->weights; i++) {
        free(c->weight_memory[i]);
        if (c->copied) c->o->free(c->o, (void *)(uintptr_t)c->weight[i].data);
    }
    if (!c->copied) op_forest_free(&c->forest);
    *c = (op_call){0};
}
