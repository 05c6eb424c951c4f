#include "loader/store.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"

static const char SINGLE[] = "model.safetensors";
static const char INDEX[] = "model.safetensors.index.json";

/* ---- files ---- */

static int add_file(osv_store *s, const char *path, osv_error *e)
{
    osv_safetensors **wider = realloc(s->file, ((size_t)s->files + 1) * sizeof *wider);
    if (!wider) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the table of files", path);
    s->file = wider;
    OSV_TRY(osv_safetensors_open(&s->file[s->files], path, e));
    s->files++;
    return OSV_OK;
}

/* A shard is a file of the folder itself; anything else in an index is a mistake or an attack. */
static bool plain_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == '/' || *c == '\\' || *c == 0x7f) return false;
    size_t length = strlen(name), ending = strlen(".safetensors");
    return name[0] != '.' && length > ending && strcmp(name + length - ending, ".safetensors") == 0;
}

/* The file of a shard, opened when it is met first. */
static int shard_file(osv_safetensors **file, osv_store *s, const char *dir, const char *name,
                      const char *index, osv_error *e)
{
    char *path;
    OSV_TRY(osv_path_join(&path, dir, name, e));
    *file = NULL;
    for (int i = 0; i < s->files && !*file; i++)
        if (strcmp(osv_safetensors_path(s->file[i]), path) == 0) *file = s->file[i];
    int status = OSV_OK;
    if (!*file && !osv_path_exists(path))
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: the shard %s that %s names is missing", dir, name, index);
    else if (!*file && !(status = add_file(s, path, e)))
        *file = s->file[s->files - 1];
    free(path);
    return status;
}

static int read_index(osv_store *s, const json_t *json, const char *dir, const char *path, osv_error *e)
{
    const json_t *map = json_object_get(json, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"weight_map\" must be an object with a file for each tensor",
                        path);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        const char *shard = json_string_value(value);
        char shown[80];
        if (!shard || !plain_name(shard))
            return OSV_FAIL(
                e, OSV_BAD_INPUT,
                "%s: \"%.200s\": expected the name of a .safetensors file in the same folder, not %s", path,
                name, osv_json_show(value, shown, sizeof shown));
        osv_safetensors *file;
        OSV_TRY(shard_file(&file, s, dir, shard, INDEX, e));
        if (!osv_safetensors_find(file, name))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: says that tensor %.200s is in %s, but it is not", path,
                            name, shard);
    }
    return OSV_OK;
}

static int open_files(osv_store *s, const char *dir, osv_error *e)
{
    char *single = NULL, *index = NULL;
    int status = osv_path_join(&single, dir, SINGLE, e);
    if (!status) status = osv_path_join(&index, dir, INDEX, e);
    if (status) goto done;
    if (osv_path_exists(single)) {
        status = add_file(s, single, e);
    } else if (osv_path_exists(index)) {
        json_t *json;
        if ((status = osv_json_read(&json, index, e))) goto done;
        status = read_index(s, json, dir, index, e);
        json_decref(json);
    } else {
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: has neither %s nor %s (other weight formats are not read)",
                          dir, SINGLE, INDEX);
    }
done:
    free(single);
    free(index);
    return status;
}

/* ---- tensors ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const osv_stored *)a)->tensor->name, ((const osv_stored *)b)->tensor->name);
}

static int list_tensors(osv_store *s, osv_error *e)
{
    size_t count = 0;
    for (int i = 0; i < s->files; i++) count += (size_t)osv_safetensors_count(s->file[i]);
    s->stored = calloc(count + 1, sizeof *s->stored);
    if (!s->stored) return OSV_FAIL(e, OSV_DEVICE, "no memory for the table of %zu tensors", count);
    for (int i = 0; i < s->files; i++)
        for (int t = 0; t < osv_safetensors_count(s->file[i]); t++)
            s->stored[s->count++] = (osv_stored){
                .tensor = osv_safetensors_at(s->file[i], t),
                .path = osv_safetensors_path(s->file[i]),
            };
    if (count) qsort(s->stored, count, sizeof *s->stored, by_name);
    for (int i = 1; i < s->count; i++)
        if (by_name(&s->stored[i - 1], &s->stored[i]) == 0)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor %s is also in %s", s->stored[i].path,
                            s->stored[i].tensor->name, s->stored[i - 1].path);
    return OSV_OK;
}

int osv_store_open(osv_store *s, const char *dir, osv_error *e)
{
    *s = (osv_store){0};
    int status = open_files(s, dir, e);
    if (!status) status = list_tensors(s, e);
    if (status) osv_store_close(s);
    return status;
}

void osv_store_close(osv_store *s)
{
    for (int i = 0; i < s->files; i++) osv_safetensors_close(s->file[i]);
    free(s->file);
    free(s->stored);
    *s = (osv_store){0};
}

osv_stored *osv_store_find(const osv_store *s, const char *name)
{
    osv_tensor tensor = {.name = name};
    osv_stored key = {.tensor = &tensor};
    return bsearch(&key, s->stored, (size_t)s->count, sizeof *s->stored, by_name);
}

/* ---- SHA-256 ---- */

static bool hash_tensor(EVP_MD_CTX *hash, const osv_tensor *t)
{
    enum { WHOLE = 1 << 20, WINDOW = 1 << 16, WINDOWS = 16 };
    char shape[OSV_MAX_RANK * 21 + 1];
    int used = 0;
    shape[0] = '\0';
    for (int i = 0; i < t->rank; i++)
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%lld", i ? "," : "",
                         (long long)t->shape[i]);
    if (!EVP_DigestUpdate(hash, t->name, strlen(t->name) + 1) ||
        !EVP_DigestUpdate(hash, t->dtype, strlen(t->dtype) + 1) ||
        !EVP_DigestUpdate(hash, shape, (size_t)used + 1))
        return false;
    if (t->bytes <= WHOLE) return EVP_DigestUpdate(hash, t->data, t->bytes);
    for (size_t i = 0; i < WINDOWS; i++) {
        size_t first = i * (t->bytes - WINDOW) / (WINDOWS - 1); /* mapped, so far below 2^60 bytes */
        if (!EVP_DigestUpdate(hash, (const char *)t->data + first, WINDOW)) return false;
    }
    return true;
}

int osv_store_sha256(const osv_store *s, const char *config, size_t config_bytes, char hex[65], osv_error *e)
{
    static const char format[] = "osv-model/1\n";
    unsigned char length[8], digest[EVP_MAX_MD_SIZE];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)config_bytes >> 8 * i);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(hash, format, sizeof format - 1) &&
                EVP_DigestUpdate(hash, length, sizeof length) && EVP_DigestUpdate(hash, config, config_bytes);
    for (int i = 0; good && i < s->count; i++) good = hash_tensor(hash, s->stored[i].tensor);
    good = good && EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    if (!good) return OSV_FAIL(e, OSV_DEVICE, "libcrypto cannot compute SHA-256");
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return OSV_OK;
}
