#include "loader/stop_ids.h"

#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"

static int add(osv_ids *ids, int id, osv_error *e)
{
    for (int i = 0; i < ids->count; i++)
        if (ids->data[i] == id) return OSV_OK;
    return osv_ids_push(ids, id, e);
}

static int add_value(osv_ids *ids, const json_t *value, int V, const char *where, osv_error *e)
{
    if (!json_is_integer(value))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: eos_token_id must be an id or a list of ids", where);
    json_int_t id = json_integer_value(value);
    return id >= 0 && id < V ? add(ids, (int)id, e) : OSV_OK;
}

/* *found: the file has the key. */
static int read_file(osv_ids *ids, bool *found, const char *dir, const char *name, int V, osv_error *e)
{
    char *path;
    json_t *json = NULL;
    *found = false;
    OSV_TRY(osv_path_join(&path, dir, name, e));
    int status = osv_json_read_optional(&json, path, e);
    const json_t *value = json_object_get(json, "eos_token_id");
    if (!status && value && !json_is_null(value)) {
        *found = true;
        if (!json_is_array(value)) status = add_value(ids, value, V, path, e);
        for (size_t i = 0; i < json_array_size(value) && !status; i++)
            status = add_value(ids, json_array_get(value, i), V, path, e);
    }
    json_decref(json);
    free(path);
    return status;
}

int osv_stop_ids_read(osv_ids *ids, const char *dir, int V, osv_error *e)
{
    bool found;
    OSV_TRY(read_file(ids, &found, dir, "generation_config.json", V, e));
    return found ? OSV_OK : read_file(ids, &found, dir, "config.json", V, e);
}

int osv_stop_ids_add(osv_ids *ids, const osv_tokenizer *t, const char *token, osv_error *e)
{
    osv_ids of_token = {0};
    int status = osv_tokenizer_encode_continuation(t, token, strlen(token), &of_token, e);
    if (!status && of_token.count == 1) {
        const char *piece = osv_tokenizer_piece(t, of_token.data[0]);
        if (piece && strcmp(piece, token) == 0) status = add(ids, of_token.data[0], e);
    }
    osv_ids_free(&of_token);
    return status;
}
