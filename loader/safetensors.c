#include "loader/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/json.h"

/* File: 8 bytes n, little endian; n bytes of JSON; the tensors' bytes, to which data_offsets count. */
enum { LENGTH_BYTES = 8 };
static const uint64_t HEADER_LIMIT = 100000000; /* the format's own limit */

struct osv_safetensors {
    char *path;
    void *map;
    size_t map_bytes;
    json_t *header;   /* owns the tensors' names and the metadata */
    json_t *metadata; /* in header, or NULL */
    osv_tensor *tensor;
    int count;
};

static size_t dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        size_t bytes;
    } table[] = {
        {"F32", 4},     {"F16", 2},     {"BF16", 2},    {"F64", 8}, {"I64", 8},  {"I32", 4},
        {"I16", 2},     {"I8", 1},      {"U64", 8},     {"U32", 4}, {"U16", 2},  {"U8", 1},
        {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"C64", 8}, {"BOOL", 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(dtype, table[i].name) == 0) return table[i].bytes;
    return 0;
}

/* *total = bytes of a tensor; false where that does not fit in 63 bits. */
static bool tensor_bytes(size_t *total, size_t element, int rank, const int64_t *shape)
{
    uint64_t bytes = element;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)shape[i], &bytes)) return false;
    *total = bytes;
    return bytes <= INT64_MAX;
}

/* ---- reading ---- */

static int read_shape(osv_tensor *t, const json_t *shape, const char *path, osv_error *e)
{
    if (!json_is_array(shape))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: \"shape\" must be an array", path, t->name);
    if (json_array_size(shape) > OSV_MAX_RANK)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: %zu dimensions, at most %d are supported", path,
                        t->name, json_array_size(shape), OSV_MAX_RANK);
    t->rank = (int)json_array_size(shape);
    for (int i = 0; i < t->rank; i++) {
        const json_t *extent = json_array_get(shape, (size_t)i);
        t->shape[i] = json_integer_value(extent);
        char shown[64];
        if (!json_is_integer(extent) || t->shape[i] < 0)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: bad extent %s in its shape", path, t->name,
                            osv_json_show(extent, shown, sizeof shown));
    }
    return OSV_OK;
}

/* One entry of the header; the tensor's bytes lie in data[0, data_bytes). */
static int read_entry(osv_tensor *t, const char *name, const json_t *entry, const char *data,
                      size_t data_bytes, const char *path, osv_error *e)
{
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: a tensor's name has a control character (0x%02x)", path,
                            *c);
    t->name = name;
    if (!json_is_object(entry))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: its entry in the header is not an object", path,
                        name);
    const json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: \"dtype\" must be a string", path, name);
    size_t element = dtype_bytes(json_string_value(dtype));
    if (!element)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: unknown dtype \"%.32s\"", path, name,
                        json_string_value(dtype));
    snprintf(t->dtype, sizeof t->dtype, "%s", json_string_value(dtype));
    OSV_TRY(read_shape(t, json_object_get(entry, "shape"), path, e));

    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: \"data_offsets\" must be two integers", path, name);
    int64_t from = json_integer_value(first), to = json_integer_value(last);
    if (from < 0 || to < from)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: tensor %s: data_offsets [%" PRId64 ", %" PRId64 "] run backwards", path, name,
                        from, to);
    if ((uint64_t)to > data_bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: tensor %s: ends at byte %" PRId64
                        " of the data, but the file has only %zu (cut short?)",
                        path, name, to, data_bytes);
    if (!tensor_bytes(&t->bytes, element, t->rank, t->shape))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s: its shape is too large to address", path, name);
    if ((uint64_t)(to - from) != t->bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: tensor %s: data_offsets give %" PRId64 " bytes, its dtype %s and shape take %zu",
                        path, name, to - from, t->dtype, t->bytes);
    t->data = data + from;
    return OSV_OK;
}

static int by_place(const void *a, const void *b)
{
    const osv_tensor *s = a, *t = b;
    if (s->data != t->data) return (const char *)s->data < (const char *)t->data ? -1 : 1;
    return (s->bytes > t->bytes) - (s->bytes < t->bytes); /* empty tensors come before what starts there */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const osv_tensor *)a)->name, ((const osv_tensor *)b)->name);
}

/* The tensors must follow each other without gap or overlap, from the first byte to the last: then a byte
 * belongs to one tensor only and nothing hides in the file. */
static int check_cover(osv_safetensors *s, const char *data, size_t data_bytes, osv_error *e)
{
    if (s->count) qsort(s->tensor, (size_t)s->count, sizeof *s->tensor, by_place);
    const char *end = data;
    for (int i = 0; i < s->count; i++) {
        const osv_tensor *t = &s->tensor[i];
        if ((const char *)t->data < end)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s overlaps tensor %s", s->path, t->name,
                            s->tensor[i - 1].name);
        if ((const char *)t->data > end)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %td bytes before tensor %s belong to no tensor", s->path,
                            (const char *)t->data - end, t->name);
        end = (const char *)t->data + t->bytes;
    }
    if (end < data + data_bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %td bytes after the last tensor", s->path,
                        data + data_bytes - end);
    return OSV_OK;
}

static int read_metadata(osv_safetensors *s, json_t *metadata, osv_error *e)
{
    if (!metadata || json_is_null(metadata)) return OSV_OK;
    if (!json_is_object(metadata))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"__metadata__\" must be an object", s->path);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"__metadata__\": \"%.64s\" must be a string", s->path,
                            key);
    }
    s->metadata = metadata;
    return OSV_OK;
}

static int read_header(osv_safetensors *s, osv_error *e)
{
    const unsigned char *raw = s->map;
    uint64_t header = 0;
    for (int i = 0; i < LENGTH_BYTES; i++) header |= (uint64_t)raw[i] << 8 * i;
    size_t left = s->map_bytes - LENGTH_BYTES;
    if (header > HEADER_LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: header of %" PRIu64 " bytes, at most %" PRIu64
                        " are allowed (not a safetensors file?)",
                        s->path, header, HEADER_LIMIT);
    if (header > left)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: header of %" PRIu64 " bytes, but only %zu follow (cut short?)",
                        s->path, header, left);
    const char *json = (const char *)s->map + LENGTH_BYTES;
    const char *data = json + header;
    size_t data_bytes = left - header;
    char *where;
    if (asprintf(&where, "%s: header", s->path) < 0) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", s->path);
    int status = osv_json_parse(&s->header, json, header, where, 1, e);
    free(where);
    if (status) return status;
    if (!json_is_object(s->header))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: header: must be a JSON object", s->path);

    s->tensor = calloc(json_object_size(s->header) + 1, sizeof *s->tensor);
    if (!s->tensor) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the table of tensors", s->path);
    const char *name;
    json_t *entry;
    json_object_foreach(s->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            OSV_TRY(read_metadata(s, entry, e));
        else
            OSV_TRY(read_entry(&s->tensor[s->count++], name, entry, data, data_bytes, s->path, e));
    }
    OSV_TRY(check_cover(s, data, data_bytes, e));
    if (s->count) qsort(s->tensor, (size_t)s->count, sizeof *s->tensor, by_name);
    return OSV_OK;
}

static int map_file(osv_safetensors *s, int fd, osv_error *e)
{
    struct stat info;
    if (fstat(fd, &info)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot stat: %s", s->path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: is not a regular file", s->path);
    if (info.st_size < LENGTH_BYTES)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %jd bytes, too short for a safetensors file", s->path,
                        (intmax_t)info.st_size);
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return OSV_FAIL(e, OSV_DEVICE, "%s: cannot map: %s", s->path, strerror(errno));
    s->map = map;
    s->map_bytes = (size_t)info.st_size;
    return OSV_OK;
}

int osv_safetensors_open(osv_safetensors **out, const char *path, osv_error *e)
{
    *out = NULL;
    osv_safetensors *s = calloc(1, sizeof *s);
    if (s) s->path = strdup(path);
    if (!s || !s->path) {
        free(s);
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory to open it", path);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    int status;
    if (fd < 0) {
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot open: %s", path, strerror(errno));
    } else {
        status = map_file(s, fd, e);
        close(fd); /* the mapping stays */
    }
    if (!status) status = read_header(s, e);
    if (status) {
        osv_safetensors_close(s);
        return status;
    }
    *out = s;
    return OSV_OK;
}

void osv_safetensors_close(osv_safetensors *s)
{
    if (!s) return;
    if (s->map) munmap(s->map, s->map_bytes);
    json_decref(s->header);
    free(s->tensor);
    free(s->path);
    free(s);
}

int osv_safetensors_count(const osv_safetensors *s)
{
    return s->count;
}

const osv_tensor *osv_safetensors_at(const osv_safetensors *s, int i)
{
    return &s->tensor[i];
}

const osv_tensor *osv_safetensors_find(const osv_safetensors *s, const char *name)
{
    osv_tensor key = {.name = name};
    return bsearch(&key, s->tensor, (size_t)s->count, sizeof *s->tensor, by_name);
}

const char *osv_safetensors_metadata(const osv_safetensors *s, const char *key)
{
    return json_string_value(json_object_get(s->metadata, key));
}

const json_t *osv_safetensors_metadata_all(const osv_safetensors *s)
{
    return s->metadata;
}

const char *osv_safetensors_path(const osv_safetensors *s)
{
    return s->path;
}

/* ---- writing ---- */

typedef struct {
    const osv_tensor_out *tensor;
    size_t element, bytes;
} entry_out;

static int by_layout(const void *a, const void *b)
{
    const entry_out *s = a, *t = b;
    if (s->element != t->element) return s->element > t->element ? -1 : 1;
    return strcmp(s->tensor->name, t->tensor->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const osv_metadata *)a)->key, ((const osv_metadata *)b)->key);
}

/* Adds a member, taking `value` over; a key that is there already, or is not UTF-8, fails. */
static int add(json_t *object, const char *key, json_t *value, const char *path, osv_error *e)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" would be written twice", path, key);
    }
    if (!value || json_object_set_new(object, key, value))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" cannot be written: not UTF-8, or no memory", path, key);
    return OSV_OK;
}

static int lay_out(entry_out *entry, const osv_tensor_out *tensor, int tensors, const char *path,
                   osv_error *e)
{
    for (int i = 0; i < tensors; i++) {
        const osv_tensor_out *t = &tensor[i];
        entry[i] = (entry_out){.tensor = t, .element = dtype_bytes(t->dtype)};
        if (!entry[i].element || t->rank < 0 || t->rank > OSV_MAX_RANK ||
            !tensor_bytes(&entry[i].bytes, entry[i].element, t->rank, t->shape) ||
            strcmp(t->name, "__metadata__") == 0)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s (%s) cannot be written", path, t->name,
                            t->dtype);
    }
    if (tensors) qsort(entry, (size_t)tensors, sizeof *entry, by_layout);
    return OSV_OK;
}

static int make_header(json_t *header, const entry_out *entry, int tensors, const osv_metadata *metadata,
                       int entries, const char *path, osv_error *e)
{
    if (entries) {
        json_t *strings = json_object();
        OSV_TRY(add(header, "__metadata__", strings, path, e));
        for (int i = 0; i < entries; i++)
            OSV_TRY(add(strings, metadata[i].key, json_string(metadata[i].value), path, e));
    }
    json_int_t offset = 0;
    for (int i = 0; i < tensors; i++) {
        const osv_tensor_out *t = entry[i].tensor;
        json_t *shape = json_array();
        for (int d = 0; d < t->rank; d++) json_array_append_new(shape, json_integer(t->shape[d]));
        json_int_t end = offset + (json_int_t)entry[i].bytes;
        OSV_TRY(add(
            header, t->name,
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype, "shape", shape, "data_offsets", offset, end),
            path, e));
        offset = end;
    }
    return OSV_OK;
}

/* The header's text with its length in front, blanks behind: the tensors start at a multiple of 8. */
static int print_header(char **text, size_t *bytes, const json_t *header, const char *path, osv_error *e)
{
    size_t json = json_dumpb(header, NULL, 0, JSON_COMPACT);
    size_t padded = (json + 7) / 8 * 8;
    *bytes = LENGTH_BYTES + padded;
    *text = malloc(*bytes);
    if (!json || !*text) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its header", path);
    for (int i = 0; i < LENGTH_BYTES; i++) (*text)[i] = (char)((uint64_t)padded >> 8 * i);
    memset(*text + LENGTH_BYTES, ' ', padded);
    json_dumpb(header, *text + LENGTH_BYTES, json, JSON_COMPACT);
    return OSV_OK;
}

/* What is done with the pieces of a file. */
typedef int sink(void *to, const char *path, const osv_piece *piece, int pieces, osv_error *e);

static int compose(sink *take, void *to, const char *path, const osv_tensor_out *tensor, int tensors,
                   const osv_metadata *metadata, int entries, osv_error *e)
{
    int status;
    char *text = NULL;
    json_t *header = json_object();
    entry_out *entry = calloc((size_t)tensors + 1, sizeof *entry);
    osv_metadata *sorted = calloc((size_t)entries + 1, sizeof *sorted);
    osv_piece *piece = calloc((size_t)tensors + 1, sizeof *piece);
    if (!header || !entry || !sorted || !piece) {
        status = OSV_FAIL(e, OSV_DEVICE, "%s: no memory to write it", path);
        goto done;
    }
    if (entries) {
        memcpy(sorted, metadata, (size_t)entries * sizeof *sorted);
        qsort(sorted, (size_t)entries, sizeof *sorted, by_key);
    }
    if ((status = lay_out(entry, tensor, tensors, path, e))) goto done;
    if ((status = make_header(header, entry, tensors, sorted, entries, path, e))) goto done;
    if ((status = print_header(&text, &piece[0].bytes, header, path, e))) goto done;
    piece[0].data = text;
    for (int i = 0; i < tensors; i++) piece[i + 1] = (osv_piece){entry[i].tensor->data, entry[i].bytes};
    status = take(to, path, piece, tensors + 1, e);
done:
    free(text);
    free(piece);
    free(sorted);
    free(entry);
    json_decref(header);
    return status;
}

static int to_disk(void *to, const char *path, const osv_piece *piece, int pieces, osv_error *e)
{
    (void)to;
    return osv_file_write(path, piece, pieces, e);
}

int osv_safetensors_write(const char *path, const osv_tensor_out *tensor, int tensors,
                          const osv_metadata *metadata, int entries, osv_error *e)
{
    return compose(to_disk, NULL, path, tensor, tensors, metadata, entries, e);
}

static int to_memory(void *to, const char *path, const osv_piece *piece, int pieces, osv_error *e)
{
    osv_packed *packed = to;
    size_t bytes = 0, at = 0;
    for (int i = 0; i < pieces; i++) bytes += piece[i].bytes;
    *packed = (osv_packed){malloc(bytes + 1), bytes};
    if (!packed->data) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its %zu bytes", path, bytes);
    for (int i = 0; i < pieces; at += piece[i++].bytes)
        if (piece[i].bytes > 0) memcpy(packed->data + at, piece[i].data, piece[i].bytes);
    return OSV_OK;
}

int osv_safetensors_pack(osv_packed *packed, const char *path, const osv_tensor_out *tensor, int tensors,
                         const osv_metadata *metadata, int entries, osv_error *e)
{
    *packed = (osv_packed){0};
    return compose(to_memory, packed, path, tensor, tensors, metadata, entries, e);
}
