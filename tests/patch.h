/* For suites on config.json: a file that differs from another in a few keys. */
#ifndef OSV_TESTS_PATCH_H
#define OSV_TESTS_PATCH_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

/* `base` changed by `patch` (an object; the value "-" takes a key away); owned by the caller. */
static inline char *patched(const char *base, const char *patch)
{
    json_t *config = json_loads(base, 0, NULL), *changes = json_loads(patch, 0, NULL), *value;
    cr_assert(config && changes, "bad patch: %s", patch);
    const char *key;
    json_object_foreach(changes, key, value)
    {
        const char *text = json_string_value(value);
        if (text && strcmp(text, "-") == 0)
            json_object_del(config, key);
        else
            json_object_set(config, key, value);
    }
    char *text = json_dumps(config, 0);
    json_decref(config);
    json_decref(changes);
    return text;
}

#endif
