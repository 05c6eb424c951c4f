#include "safetensors_mutate.h"

#include <jansson.h>

#include "fuzz.h"
#include "loader/safetensors.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);

enum { TENSORS = 10, LARGEST = 1024, NAME = 40 };

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {{"F32", 4}, {"F64", 8}, {"BF16", 2}, {"F16", 2},
              {"I32", 4}, {"I64", 8}, {"U8", 1},   {"BOOL", 1}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

typedef struct {
    char name[NAME]; /* nothing that JSON would escape */
    int dtype, rank;
    int64_t shape[OSV_MAX_RANK];
    size_t at, bytes; /* of the data */
    uint8_t data[LARGEST];
} made_tensor;

typedef struct {
    made_tensor tensor[TENSORS];
    int tensors;
    json_t *metadata; /* NULL: none */
    uint64_t random;
} made_file;

static uint64_t draw(made_file *f, uint64_t below)
{
    uint64_t z = f->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static bool measure(made_tensor *t)
{
    t->bytes = dtypes[t->dtype].bytes;
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0 || t->shape[i] > LARGEST) return false;
        t->bytes *= (size_t)t->shape[i];
        if (t->bytes > LARGEST) return false;
    }
    return true;
}

/* ---- from a file */

static bool take_tensor(made_tensor *t, const char *name, const json_t *entry, const uint8_t *data,
                        size_t bytes)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    json_int_t at = json_integer_value(json_array_get(offsets, 0));
    if (!dtype || !json_is_array(shape) || json_array_size(shape) > OSV_MAX_RANK || strlen(name) >= NAME)
        return false;
    for (const char *c = name; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\' || *c > '~') return false;
    *t = (made_tensor){.dtype = -1, .rank = (int)json_array_size(shape)};
    strcpy(t->name, name);
    for (int i = 0; i < DTYPES; i++)
        if (strcmp(dtypes[i].name, dtype) == 0) t->dtype = i;
    for (int i = 0; i < t->rank; i++) t->shape[i] = json_integer_value(json_array_get(shape, (size_t)i));
    if (t->dtype < 0 || !measure(t)) return false;
    if (at >= 0 && (uint64_t)at < bytes && t->bytes <= bytes - (size_t)at)
        memcpy(t->data, data + at, t->bytes);
    return true;
}

static void take_file(made_file *f, const uint8_t *data, size_t bytes)
{
    uint64_t length;
    const char *name;
    json_t *entry;
    if (bytes < sizeof length) return;
    memcpy(&length, data, sizeof length);
    data += sizeof length;
    bytes -= sizeof length;
    if (length > bytes) return;
    json_t *header = json_loadb((const char *)data, length, 0, NULL);
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            f->metadata = json_is_object(entry) ? json_deep_copy(entry) : NULL;
        else if (f->tensors < TENSORS &&
                 take_tensor(&f->tensor[f->tensors], name, entry, data + length, bytes - length))
            f->tensors++;
    }
    json_decref(header);
    json_t *value;
    void *next;
    if (f->metadata) json_object_foreach_safe(f->metadata, next, name, value)
        {
            if (!json_is_string(value)) json_object_del(f->metadata, name);
        }
}

/* ---- changes that leave it whole */

static void add_tensor(made_file *f)
{
    if (f->tensors == TENSORS) return;
    made_tensor *t = &f->tensor[f->tensors];
    int names = 0;
    while (fuzz_names[names]) names++;
    *t = (made_tensor){.dtype = (int)draw(f, DTYPES), .rank = (int)draw(f, 4)};
    strcpy(t->name, fuzz_names[draw(f, (uint64_t)names)]);
    for (int i = 0; i < t->rank; i++) t->shape[i] = (int64_t)draw(f, 5);
    for (int i = 0; i < f->tensors; i++)
        if (strcmp(f->tensor[i].name, t->name) == 0) return;
    f->tensors += measure(t);
}

static void change_metadata(made_file *f)
{
    int pairs = 0;
    while (fuzz_metadata[2 * pairs]) pairs++;
    if (!f->metadata) f->metadata = json_object();
    const char *key = fuzz_metadata[2 * draw(f, (uint64_t)pairs)];
    if (draw(f, 4) == 0)
        json_object_del(f->metadata, key);
    else /* a key's own value, or another's */
        json_object_set_new(f->metadata, key, json_string(fuzz_metadata[2 * draw(f, (uint64_t)pairs) + 1]));
}

static void change(made_file *f)
{
    int k = f->tensors ? (int)draw(f, (uint64_t)f->tensors) : -1;
    uint64_t what = draw(f, 8);
    if (k < 0 || what == 0) {
        add_tensor(f);
    } else if (what == 1) {
        f->tensor[k] = f->tensor[--f->tensors];
    } else if (what == 2 || what == 3) {
        change_metadata(f);
    } else if (what == 4 && f->tensor[k].bytes > 0) {
        LLVMFuzzerMutate(f->tensor[k].data, f->tensor[k].bytes, f->tensor[k].bytes);
    } else {
        made_tensor old = f->tensor[k], *t = &f->tensor[k];
        if (what == 5)
            t->dtype = (int)draw(f, DTYPES);
        else if (what == 6 && t->rank < OSV_MAX_RANK)
            t->shape[t->rank++] = (int64_t)draw(f, 4);
        else if (t->rank > 0)
            t->shape[draw(f, (uint64_t)t->rank)] = (int64_t)draw(f, 9);
        if (!measure(t)) *t = old;
    }
}

/* Where the data of each tensor lies: in any order. */
static size_t lay_out(made_file *f)
{
    int order[TENSORS];
    size_t at = 0;
    for (int i = 0; i < f->tensors; i++) {
        int j = (int)draw(f, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (int i = 0; i < f->tensors; i++) {
        f->tensor[order[i]].at = at;
        at += f->tensor[order[i]].bytes;
    }
    return at;
}

/* ---- one broken field */

typedef enum {
    BREAK_BEGIN,
    BREAK_END,
    BREAK_BOTH,
    BREAK_OVERLAP,
    BREAK_GAP,
    BREAK_NEGATIVE,
    BREAK_FAR,
    BREAK_REAL,
    BREAK_EXTENT,
    BREAK_MINUS,
    BREAK_HUGE,
    BREAK_RANK,
    BREAK_DTYPE,
    BREAK_DTYPE_NAME,
    BREAK_NO_DTYPE,
    BREAK_NO_SHAPE,
    BREAK_NO_OFFSETS,
    BREAK_TWICE,
    BREAK_NAME,
    BREAK_METADATA,
    BREAK_LONGER_HEADER,
    BREAK_SHORTER_HEADER,
    BREAK_LESS_DATA,
    BREAK_MORE_DATA,
    WHOLE,
} breakage;

/* Can this be broken in tensor t, so that nothing is right about it? */
static bool can_break(breakage b, const made_tensor *t, size_t data_bytes)
{
    if (b <= BREAK_NAME && !t) return false;
    if (b == BREAK_BOTH || b == BREAK_DTYPE || b == BREAK_HUGE) return t->bytes > 0;
    if (b == BREAK_GAP) return t->bytes > 0 && t->at + t->bytes == data_bytes;
    if (b == BREAK_OVERLAP) return t->at > 0 && t->bytes > 0 && t->at + t->bytes == data_bytes;
    if (b == BREAK_EXTENT) return t->rank > 0 && t->bytes > 0;
    if (b == BREAK_MINUS) return t->rank > 1 && t->bytes > 0;
    if (b == BREAK_LESS_DATA) return data_bytes > 0;
    return true;
}

static void print_tensor(FILE *out, const made_tensor *t, breakage b, const char *comma)
{
    int dtype = t->dtype;
    if (b == BREAK_DTYPE) dtype = dtypes[dtype].bytes == 4 ? 1 : 0;
    fprintf(out, "%s\"%s%s\":{", comma, t->name, b == BREAK_NAME ? "\\u0001" : "");
    if (b != BREAK_NO_DTYPE)
        fprintf(out, "\"dtype\":\"%s\",", b == BREAK_DTYPE_NAME ? "F33" : dtypes[dtype].name);
    if (b != BREAK_NO_SHAPE) {
        fputs("\"shape\":[", out);
        for (int i = 0; i < t->rank; i++)
            fprintf(out, "%s%lld", i ? "," : "",
                    b == BREAK_EXTENT && i == 0 ? (long long)t->shape[i] + 1
                    : b == BREAK_MINUS && i < 2 ? -(long long)t->shape[i] /* their product is what it was */
                                                : (long long)t->shape[i]);
        if (b == BREAK_HUGE) fputs(t->rank ? ",4294967296,4294967296" : "4294967296,4294967296", out);
        for (int i = t->rank; b == BREAK_RANK && i <= OSV_MAX_RANK; i++) fputs(i ? ",1" : "1", out);
        fputs("],", out);
    }
    long long from = (long long)t->at, to = from + (long long)t->bytes;
    if (b == BREAK_BEGIN || b == BREAK_BOTH) from++;
    if (b == BREAK_END || b == BREAK_BOTH) to++;
    if (b == BREAK_OVERLAP) from--, to--; /* the last one; the file ends a byte earlier, or later: */
    if (b == BREAK_GAP) from++, to++;
    if (b == BREAK_NEGATIVE) from = -1, to = from + (long long)t->bytes;
    if (b == BREAK_FAR) to = INT64_MAX;
    if (b == BREAK_NO_OFFSETS)
        fputs("\"x\":0}", out);
    else
        fprintf(out, "\"data_offsets\":[%lld%s,%lld]}", from, b == BREAK_REAL ? ".0" : "", to);
}

static char *print_header(const made_file *f, breakage b, int broken, size_t *bytes)
{
    char *text = NULL;
    const char *comma = "";
    FILE *out = open_memstream(&text, bytes);
    MUST(out);
    putc('{', out);
    if (f->metadata || b == BREAK_METADATA) {
        char *metadata = f->metadata ? json_dumps(f->metadata, JSON_COMPACT) : NULL;
        fprintf(out, "\"__metadata__\":%s", b == BREAK_METADATA ? "{\"a\":1}" : metadata);
        free(metadata);
        comma = ",";
    }
    for (int i = 0; i < f->tensors; i++, comma = ",") {
        print_tensor(out, &f->tensor[i], i == broken ? b : WHOLE, comma);
        if (i == broken && b == BREAK_TWICE) print_tensor(out, &f->tensor[i], WHOLE, ",");
    }
    putc('}', out);
    MUST(fclose(out) == 0);
    return text;
}

static size_t print_file(const made_file *f, breakage b, int broken, size_t data_bytes, uint8_t *out,
                         size_t most)
{
    size_t header_bytes;
    char *header = print_header(f, b, broken, &header_bytes);
    uint64_t length = header_bytes + (b == BREAK_LONGER_HEADER) - (b == BREAK_SHORTER_HEADER);
    size_t start = sizeof length + header_bytes;
    size_t all = start + data_bytes + (b == BREAK_MORE_DATA || b == BREAK_GAP) -
                 (b == BREAK_LESS_DATA || b == BREAK_OVERLAP);
    if (all < most) { /* room for the byte that is cut off */
        memcpy(out, &length, sizeof length);
        memcpy(out + sizeof length, header, header_bytes);
        for (int i = 0; i < f->tensors; i++)
            memcpy(out + start + f->tensor[i].at, f->tensor[i].data, f->tensor[i].bytes);
        if (all > start + data_bytes) out[all - 1] = 0;
    }
    free(header);
    return all < most ? all : 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
    static made_file f;
    f = (made_file){.random = seed};
    if (draw(&f, 4) == 0) return LLVMFuzzerMutate(data, bytes, most);
    if (draw(&f, 8) > 0) take_file(&f, data, bytes);
    for (uint64_t changes = draw(&f, 4); changes > 0; changes--) change(&f);
    size_t data_bytes = lay_out(&f);
    breakage b = draw(&f, 2) ? (breakage)draw(&f, WHOLE) : WHOLE;
    int broken = f.tensors ? (int)draw(&f, (uint64_t)f.tensors) : -1;
    if (b != WHOLE && !can_break(b, broken >= 0 ? &f.tensor[broken] : NULL, data_bytes)) b = BREAK_MORE_DATA;
    size_t made = print_file(&f, b, broken, data_bytes, data, most);
    json_decref(f.metadata);
    if (made == 0) return LLVMFuzzerMutate(data, bytes, most);
    fuzz_made(data, made, b == WHOLE);
    return made;
}
