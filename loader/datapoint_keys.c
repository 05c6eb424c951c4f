#include "loader/datapoint_keys.h"

#include <stdio.h>
#include <string.h>

const osv_completion_list osv_completion_lists[OSV_COMPLETION_KINDS] = {
    [OSV_COMPLETION_PROMOTE] = {"promote", "promote_targets", "promote_weights", false, false, false},
    [OSV_COMPLETION_SUPPRESS] = {"suppress", "suppress_targets", "suppress_weights", false, false, false},
    [OSV_COMPLETION_MATCH] = {"match", "match_targets", "match_weights", true, true, false},
    [OSV_COMPLETION_ANCHOR] = {"anchor", NULL, "anchor_weights", true, true, false},
    [OSV_COMPLETION_CHOSEN] = {"chosen", NULL, NULL, false, false, true},
    [OSV_COMPLETION_REJECTED] = {"rejected", NULL, NULL, false, false, true},
};

static const struct {
    const char *name, *alias; /* alias: the reference implementation's name */
} KEYS[] = {
    {"id", NULL},
    {"job", NULL},
    {"prompt", NULL},
    {"messages", NULL},
    {"prefill", NULL},
    {"promote", "dst_completions"},
    {"suppress", "src_completions"},
    {"promote_targets", "dst_completions_target_losses"},
    {"suppress_targets", "src_completions_target_losses"},
    {"promote_weights", NULL},
    {"suppress_weights", NULL},
    {"promote_from_beam", NULL},
    {"match", NULL},
    {"match_targets", NULL},
    {"match_weights", NULL},
    {"anchor", NULL},
    {"anchor_weights", NULL},
    {"prefer", NULL},
    {"positions", NULL},
    {"negative", "is_negative"},
};
enum { KEY_COUNT = sizeof KEYS / sizeof *KEYS };

/* The index in KEYS; -1: unknown. */
static int find(const char *key, bool *alias)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        *alias = KEYS[i].alias && strcmp(key, KEYS[i].alias) == 0;
        if (*alias || strcmp(key, KEYS[i].name) == 0) return i;
    }
    return -1;
}

bool osv_datapoint_key_known(const char *key)
{
    bool alias;
    return find(key, &alias) >= 0;
}

static int fail_key(const char *key, const char *where, osv_error *e)
{
    char known[512] = "";
    size_t used = 0;
    for (int i = 0; i < KEY_COUNT; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", KEYS[i].name);
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: unknown key \"%.80s\"; known are %s", where, key, known);
}

int osv_datapoint_keys_check(const json_t *json, const char *where, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        bool alias;
        int i = find(key, &alias);
        if (i < 0) return fail_key(key, where, e);
        if (alias && json_object_get(json, KEYS[i].name))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" and \"%s\" are the same key; give one of them",
                            where, KEYS[i].name, key);
    }
    return OSV_OK;
}

const json_t *osv_datapoint_value(const json_t *json, const char *name, const char **spelling)
{
    bool alias;
    *spelling = name;
    if (!name) return NULL;
    int i = find(name, &alias);
    const json_t *value = json_object_get(json, name);
    if (!value && KEYS[i].alias && (value = json_object_get(json, KEYS[i].alias))) *spelling = KEYS[i].alias;
    return json_is_null(value) ? NULL : value;
}
